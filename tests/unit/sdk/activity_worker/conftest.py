from __future__ import annotations

from collections.abc import Iterator

import pytest

from kit.activity_bench import Bench
from kit.scripted_owner import ScriptedOwner
from perdure._log.memory import MemoryLog, MemoryMedium


@pytest.fixture
def bench() -> Iterator[Bench]:
    log = MemoryLog(MemoryMedium())
    with ScriptedOwner(log) as owner:
        yield Bench(log, owner)
    log.close()
