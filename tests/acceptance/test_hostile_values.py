"""Values that are none, in real processes on a SQLite file, beside neighbours, with an owner that is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.namespace import Namespace
from kit.workloads.hostile import hostility

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

NEIGHBOURS = 40


async def test_hostile_values_hurt_whoever_hands_them_over_and_nobody_else(tmp_path: Path) -> None:
    hostile = Namespace("", "hostile", tmp_path, "hostile").create(partitions=1)
    try:
        await hostility(hostile, NEIGHBOURS)
    finally:
        hostile.stop()
