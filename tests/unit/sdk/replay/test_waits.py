"""Workflow code that waits for threads: refused at once where Python allows, named in the log where it does not (P9, F1, F2)."""

from __future__ import annotations

import concurrent.futures
import logging
import queue
import select
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from kit.code import Code, value
from perdure import workflow
from perdure._replay.host import ActivationError, QueryError
from perdure._replay.runtime import CodeHost

WAITS: dict[str, Callable[[], Any]] = {
    "Event.wait": lambda: threading.Event().wait(),
    "Event.wait with a timeout": lambda: threading.Event().wait(60),
    "Condition.wait": lambda: _held(threading.Condition()).wait(),
    "Condition.wait_for": lambda: _held(threading.Condition()).wait_for(lambda: False),
    "Semaphore": lambda: threading.Semaphore(0).acquire(),
    "Barrier": lambda: threading.Barrier(2).wait(),
    "Queue.get": lambda: queue.Queue[int]().get(),
    "Queue.put": lambda: _full().put(2),
    "SimpleQueue.get": lambda: queue.SimpleQueue[int]().get(),
    "Future.result": lambda: concurrent.futures.Future[int]().result(),
    "Future.exception": lambda: concurrent.futures.Future[int]().exception(),
    "futures.wait": lambda: concurrent.futures.wait([concurrent.futures.Future[int]()]),
    "Thread.join": lambda: threading.main_thread().join(),
    "select": lambda: select.select([], [], []),
}
SHORT_MS = 100


def _held(condition: threading.Condition) -> threading.Condition:
    condition.acquire()
    return condition


def _full() -> queue.Queue[int]:
    full = queue.Queue[int](1)
    full.put(1)
    return full


@workflow.defn
class Waits:
    """Waits for another thread, at once or when asked."""

    @workflow.run
    async def run(self, what: str, at_once: bool) -> None:
        if at_once:
            WAITS[what]()
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def wait(self, what: str) -> None:
        WAITS[what]()


@workflow.defn
class Logs:
    """Logs to a handler that waits for room."""

    @workflow.run
    async def run(self) -> str:
        logging.getLogger("waits").error("one")
        return "done"


@workflow.defn
class BlocksInC:
    """Takes seconds in one call."""

    @workflow.run
    async def run(self) -> None:
        lock = threading.Lock()
        lock.acquire()
        lock.acquire(timeout=3)


def arguments(what: str, at_once: bool) -> Any:
    return (*value(what), *value(at_once))


@pytest.mark.parametrize("what", WAITS)
def test_a_wait_for_another_thread_is_refused_at_once_and_the_error_says_what_to_use(what: str) -> None:
    stuck: list[str] = []
    code = Code(Waits, arguments(what, at_once=True), deadlock_timeout_ms=60_000)
    code.host._watchdog._on_stuck = stuck.append
    with pytest.raises(ActivationError, match=r"is not allowed in workflow code.*: (use|do it in an activity)"):
        code.begin()
    code.close()
    assert not stuck


def test_a_query_that_waits_for_another_thread_fails_alone() -> None:
    code = Code(Waits, arguments("Event.wait", at_once=False), deadlock_timeout_ms=60_000)
    code.begin()
    with pytest.raises(QueryError, match="wait_condition"):
        code.instance.query("wait", value("Event.wait"), {})
    code.close()


def test_handlers_of_the_standard_logging_may_wait() -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            threading.Event().wait(0.001)
            seen.append(record.getMessage())

    seen: list[str] = []
    handler = Handler()
    logging.getLogger("waits").addHandler(handler)
    try:
        Code(Logs, deadlock_timeout_ms=60_000).begin()
    finally:
        logging.getLogger("waits").removeHandler(handler)
    assert seen == ["one"]


def test_threads_outside_of_workflow_code_wait_as_ever() -> None:
    CodeHost([Waits])
    event, simple = threading.Event(), queue.SimpleQueue[int]()

    def give() -> None:
        simple.put(1)
        event.set()

    thread = threading.Thread(target=give)
    thread.start()
    assert event.wait(60)
    assert simple.get(timeout=60) == 1
    thread.join(60)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: 2).result(60) == 2


def test_code_that_cannot_be_interrupted_is_named_in_the_log_with_its_stack_before_the_process_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended: list[str] = []
    told_at_the_end: list[int] = []

    def end(what: str) -> None:
        ended.append(what)
        told_at_the_end.append(sum("does not react" in record.getMessage() for record in caplog.records))

    code = Code(BlocksInC, deadlock_timeout_ms=SHORT_MS)
    code.host._watchdog._on_stuck = end
    with pytest.raises(ActivationError, match=r"interrupted at .*test_waits.py:\d+ in run"):
        code.begin()
    code.close()
    deadline = time.monotonic() + 60
    while not ended and time.monotonic() < deadline:
        time.sleep(0.01)
    told = [record for record in caplog.records if "does not react to an interrupt" in record.getMessage()]
    assert [record.levelname for record in told] == ["ERROR", "CRITICAL"]
    for record in told:
        assert "workflow 'wf-1', run run-1" in record.getMessage()
        assert "lock.acquire(timeout=3)" in record.getMessage(), "where it stands"
    assert ended == ["workflow 'wf-1', run run-1"]
    assert told_at_the_end == [2], "the log says it before the process ends"
