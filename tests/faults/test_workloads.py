"""All workloads at once, while owners, workers and their driver are killed (row L3)."""

import random

import pytest

from kit.namespace import Namespaces, kill
from kit.outside import record_death
from kit.row import Row
from kit.workloads.bank import last_book
from kit.workloads.mixed import SLOTS

pytestmark = [pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(600)]

ROUNDS = 9


@pytest.mark.parametrize("log", ["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def test_every_workload_comes_out_right_although_owners_workers_and_driver_are_killed(namespaces: Namespaces, row: Row, log: str) -> None:
    row.injects("L3", f"kill -9 of one of two owners, one of two workers or the driver, {ROUNDS} times, on {log}")
    mixed = namespaces("mixed", log=log)
    items, mixed.session_ms = 6 * len(SLOTS), 3_000
    chance = random.Random(20261126)
    owners, workers = [mixed.owner(f"store-{number}") for number in range(2)], [mixed.worker() for _ in range(2)]
    load = mixed.load(items, 20)
    for round_number in range(ROUNDS):
        mixed.until_done((round_number + 1) * items // (ROUNDS + 4))
        which = chance.randrange(2)
        match round_number % 3:
            case 0:
                kill(owners[which])
                owners[which] = mixed.owner(f"store-{which}")
            case 1:
                kill(workers[which])
                record_death(mixed.directory, f"worker {which}")
                workers[which] = mixed.worker()
            case _:
                kill(load)
                load = mixed.load(items, 20)
        row.injected()
    mixed.finish(load, items, 240)
    assert last_book("account-5", mixed.directory).movements, "no account has closed"
