"""Cancelling activities while their worker is cut off, and workers that come and go with all slots busy (rows X6 X7)."""

import time
from collections.abc import Callable

import pytest

from kit import raw
from kit.namespace import Namespaces, kill
from kit.proxy import Proxy
from kit.row import Row
from kit.workloads import beats

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]


def test_a_cancel_reaches_a_worker_that_was_cut_off_or_its_activity_ends_without_it(
    namespaces: Namespaces, row: Row, door: Callable[[], Proxy]
) -> None:
    row.injects(
        "X6", "the worker's network vanishes before, while and after activities are cancelled; its heartbeats and the cancels are lost"
    )
    cancels, proxy, items = namespaces("cancels"), door(), 60
    owner, worker = cancels.owner(), cancels.worker(through=proxy)
    load = cancels.load(items, 12)
    cancels.until_done(5)
    for _ in range(3):
        proxy.black_hole()
        time.sleep(4)
        row.injected(proxy.swallowed_bytes > 0)
        proxy.heal()
        before = cancels.done()
        cancels.until_done(min(before + 5, items), 60)
        row.during += cancels.done() - before
    cancels.finish(load, items)
    assert owner.poll() is None
    assert worker.poll() is None


def test_workers_that_come_and_go_with_all_slots_busy_lose_and_double_nothing(namespaces: Namespaces, row: Row) -> None:
    row.injects("X7", "six rebalances of the workers' group, by SIGTERM and by kill -9, while attempts are under way")
    work = namespaces("beats")
    items, work.session_ms = 80, 3_000
    work.owner()
    workers = [work.worker(), work.worker()]
    load = work.load(items, 30)
    work.until(lambda: len(beats.executions(work.directory)) >= 30, "attempts under way")
    with row.fault(work):
        for change in range(6):
            leaving = workers.pop(0)
            (kill if change % 3 == 2 else type(leaving).terminate)(leaving)
            row.injected()
            workers.append(work.worker())
            before = work.done()
            work.until_done(min(before + 5, items))
    row.during = work.done()
    work.finish(load, items)
    executed = [(one.number, one.attempt) for one in beats.executions(work.directory)]
    row.figures["attempts_after_the_first"] = sum(attempt > 1 for _, attempt in set(executed))
    row.figures["executed_twice"] = len(executed) - len(set(executed))


def test_tasks_that_somebody_deleted_are_passed_over_and_those_behind_them_run(namespaces: Namespaces, row: Row) -> None:
    row.injects("X7", "DeleteRecords of tasks that nobody has taken; their attempts are the owner's to dispatch again (after days)")
    work = namespaces("beats")
    work.owner()
    worker, first = work.worker(), work.load(1, 1, first=50)
    work.until(lambda: first.poll() is not None, "the first one, with which the topic comes")
    worker.terminate()
    worker.wait(30)
    load = work.load(20, 20)
    work.until(lambda: sum(raw.ends(work, "tasks.work")) >= 21, "tasks that nobody takes")
    lost = raw.ends(work, "tasks.work")
    for partition, end in enumerate(lost):
        raw.delete_records(work, "tasks.work", partition, end)
        row.injected(end)
    worker = work.worker()
    more = work.load(20, 20, first=100)
    work.until(lambda: more.poll() is not None, "the tasks behind them")
    assert work.done_numbers() == {50, *range(100, 120)}
    row.during = 20
    assert worker.poll() is None, "a worker ended because tasks were gone"
    kill(load)
    work.verify()
