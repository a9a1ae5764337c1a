"""All workloads at once on a SQLite file, whose owner dies once: bank, ledger, timers, signals, chains, fan-out, sagas, notes, queries."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.namespace import Namespace, kill
from kit.workloads.bank import last_book
from kit.workloads.mixed import SLOTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ITEMS = 2 * len(SLOTS)
"""So many have each of them in its share, and an account that closes."""


@pytest.fixture
def mixed(tmp_path: Path) -> Iterator[Namespace]:
    made = Namespace("", "mixed", tmp_path, "mixed")
    yield made.create(4)
    made.stop()


def test_every_workload_comes_out_right_although_the_owner_is_killed(mixed: Namespace) -> None:
    owner, load = mixed.owner(), mixed.load(ITEMS, 20)
    mixed.worker()
    mixed.until_done(ITEMS // 4)
    kill(owner)
    mixed.owner()
    mixed.finish(load, ITEMS, 240)
    assert last_book("account-1", mixed.directory).movements, "no account has closed"
