"""Workers that die, at the worst moments, beside a ledger that shows every execution (rows X1 X2 X5)."""

import time

import pytest

from kit.namespace import Namespaces, kill
from kit.outside import record_death
from kit.row import Row
from kit.workloads.killer import ATTEMPTS
from kit.workloads.ledger import lines

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]


@pytest.mark.parametrize("after_ms", [10, pytest.param(100, marks=pytest.mark.sharp)])
def test_a_worker_killed_soon_after_it_took_a_task_costs_an_attempt_at_most(namespaces: Namespaces, row: Row, after_ms: int) -> None:
    row.injects("X1 X5", f"kill -9 of the worker {after_ms} ms after an execution began, four times; owner killed once")
    ledger = namespaces("ledger")
    entries, ledger.session_ms = 150, 3_000
    owner, worker = ledger.owner(), ledger.worker()
    load = ledger.load(entries, 10)
    for death in range(4):
        before = len(lines(ledger.directory)) if (ledger.directory / "ledger").exists() else 0
        ledger.until(lambda before=before: (ledger.directory / "ledger").exists() and len(lines(ledger.directory)) > before, "an execution")  # type: ignore[misc]
        time.sleep(after_ms / 1000)
        kill(worker)
        record_death(ledger.directory, "worker")
        row.injected()
        if death == 2:
            kill(owner)
            owner = ledger.owner()
        worker = ledger.worker()
    ledger.finish(load, entries)
    row.figures["executed_again"] = len(lines(ledger.directory)) - len({number for number, _ in lines(ledger.directory)})


def test_a_task_that_kills_every_worker_uses_up_its_attempts_and_the_others_flow(namespaces: Namespaces, row: Row) -> None:
    row.injects("X2", "an activity that calls os._exit; the worker is started again whenever it has died")
    tasks = namespaces("killer")
    items = 60
    tasks.owner()
    worker, load = tasks.worker(), tasks.load(items, 10)
    deadline = time.monotonic() + 200
    while load.poll() is None:
        assert time.monotonic() < deadline, f"{tasks.done()} of {items} are done\n{tasks.outputs()}"
        if worker.poll() is not None:
            row.injected()
            worker = tasks.worker()
        time.sleep(0.1)
    tasks.finish(load, items)
    attempts = [int(line.split()[0]) for line in (tasks.directory / "killed").read_text().splitlines()]
    row.figures["deaths"] = len(attempts)
    assert set(attempts) == set(range(1, ATTEMPTS + 1)), attempts
    assert len(attempts) <= 2 * ATTEMPTS, f"a task killed workers under attempts {attempts}"
