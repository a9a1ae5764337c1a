"""Takes tasks of one queue into slots, and lets them end in order when the worker shuts down (design.md 7)."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from perdure._activity_worker.attempt import Attempt, Ending, Key, Services
from perdure._activity_worker.execute import Functions, check_executor
from perdure._activity_worker.poll import Delivery, Poller
from perdure._channel import Channel
from perdure._log.errors import LogError
from perdure._telemetry import metrics, names
from perdure._telemetry.quiet import QuietLogger
from perdure.activity import ActivityCancellationDetails, Event
from perdure.converter import DataConverter
from perdure_schemas.text import text

_logger = QuietLogger("perdure.worker")

CONCURRENT_DEFAULT = 100
"""Slots of a worker that was not told otherwise."""

_QUEUED_MAX = 200
"""Tasks that may wait for a slot, so that one is there when a slot becomes free; they are delivered to others if this worker ends."""
_LEAVE_S = 3.0
"""How long a worker that shuts down waits for its starts to be in the log before it leaves the group."""
_REPORT_S = 10.0
"""How long a worker that shuts down tries to report on what has ended."""
_JOIN_S = 5.0


class ActivityWorker:
    """Runs the activities of one queue."""

    def __init__(
        self,
        channel: Channel,
        task_queue: str,
        activities: Sequence[Callable[..., Any]],
        *,
        data_converter: DataConverter = DataConverter.default,
        executor: Executor | None = None,
        max_concurrent_activities: int | None = None,
        graceful_shutdown_timeout_ms: int = 0,
        identity: str = "",
        session_timeout_ms: int = 10_000,
    ) -> None:
        """Nothing runs yet. Raises ValueError for what is not an activity, two of one name, and a useless number or executor."""
        if max_concurrent_activities is not None and max_concurrent_activities < 1:
            raise ValueError(f"max_concurrent_activities is {max_concurrent_activities}; it must be 1 or more")
        self._channel = channel
        self._task_queue = task_queue
        self._functions = Functions(activities)
        self._converter = data_converter
        self._given_executor = check_executor(executor) if executor is not None else None
        self._slots = max_concurrent_activities or CONCURRENT_DEFAULT
        self._graceful_s = graceful_shutdown_timeout_ms / 1000
        self._identity = text(identity or f"{os.getpid()}@{socket.gethostname()}")
        self._session_timeout_ms = session_timeout_ms
        self._queued: deque[Delivery] = deque()
        self._attempts: dict[Key, Attempt] = {}
        self._is_stopping = False
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()
        self._idle = asyncio.Event()
        self._failure: BaseException | None = None
        self._services: Services | None = None

    async def run(self) -> None:
        """Work until `shutdown`, or until this call is cancelled. Raises what makes work impossible: LogUnauthorized, LogClosed …"""
        if self._services is not None:
            raise RuntimeError("an activity worker runs once; make a new one")
        executor = self._given_executor or ThreadPoolExecutor(self._slots, "perdure-activity")
        poller = Poller(
            self._channel.log,
            self._channel.machine,
            self._channel.namespace,
            self._task_queue,
            self._session_timeout_ms,
            self._slots + min(self._slots, _QUEUED_MAX),
            self._on_tasks,
            self._fail,
        )
        self._services = Services(self._channel, poller, self._functions, self._converter, executor, self._identity, Event())
        poller.start()
        about = {names.LOG_NAMESPACE: self._channel.namespace, names.LOG_TASK_QUEUE: self._task_queue}
        stop_reading = metrics.QUEUE_DEPTH.read_from(lambda: [(len(self._queued) + len(self._attempts), about)])
        try:
            await self._stop.wait()
            await self._wind_down(self._services)
        finally:
            stop_reading()
            self._is_stopping = True
            poller.stop()
            for attempt in self._attempts.values():
                attempt.abort()
            await asyncio.to_thread(poller.join, _JOIN_S)
            if executor is not self._given_executor:
                executor.shutdown(wait=False, cancel_futures=True)
            self._ended.set()
        if self._failure is not None:
            raise self._failure

    async def shutdown(self) -> None:
        """Take nothing more, give what runs the graceful timeout, then cancel it; returns when all of it has ended and is reported."""
        self._stop.set()
        if self._services is not None:
            await self._ended.wait()

    # -- slots

    def _on_tasks(self, deliveries: Sequence[Delivery]) -> None:
        self._queued.extend(deliveries)
        self._fill()

    def _fill(self) -> None:
        while self._queued and len(self._attempts) < self._slots and not self._is_stopping:
            self._begin(self._queued.popleft())

    def _begin(self, delivery: Delivery) -> None:
        assert self._services is not None
        task = delivery.task
        known = self._attempts.get((task.run_id, task.scheduled_event_id, task.attempt))
        if known is not None:
            known.attach(delivery)
            return
        attempt = Attempt(self._services, delivery)
        self._attempts[attempt.key] = attempt
        attempt.start().add_done_callback(lambda ended: self._end(attempt, ended))

    def _end(self, attempt: Attempt, ended: asyncio.Task[Ending]) -> None:
        del self._attempts[attempt.key]
        assert self._services is not None
        if not ended.cancelled() and (error := ended.exception()) is not None:
            if isinstance(error, Exception) and not isinstance(error, LogError):
                # Not even its failure could be reported. The task stays unsettled, so that another delivery may fare better.
                _logger.critical("a defect in the worker: %s has no report", attempt.name, exc_info=error)
            else:
                self._fail(error)
        elif not ended.cancelled() and ended.result() is Ending.LOST and attempt.again:
            # It has not run, and the later delivery is the one that counts.
            self._services.poller.release(1)
            self._queued.extendleft(reversed(attempt.again))
            self._fill()
            return
        self._services.poller.release(1 + len(attempt.again))
        if not self._attempts:
            self._idle.set()
        self._fill()

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._stop.set()

    # -- the end

    async def _wind_down(self, services: Services) -> None:
        """Leave the group as soon as the log knows what runs here, so that others take the queue over; then wait for what runs."""
        self._is_stopping = True
        self._queued.clear()
        services.shutdown.set()
        services.poller.stop_taking()
        for attempt in self._attempts.values():
            attempt.announce()
        graceful_until = asyncio.get_running_loop().time() + self._graceful_s
        if self._failure is None:
            await self._until_settled()
        services.poller.stop()
        await asyncio.to_thread(services.poller.join, _JOIN_S)
        await self._until_idle(graceful_until - asyncio.get_running_loop().time())
        for attempt in tuple(self._attempts.values()):
            attempt.cancel(ActivityCancellationDetails(worker_shutdown=True))
        while self._attempts:
            stuck = [attempt for attempt in self._attempts.values() if attempt.is_abortable]
            await self._until_idle(_REPORT_S)
            if self._failure is not None:
                return
            for attempt in tuple(self._attempts.values()):
                if attempt in stuck:
                    _logger.error("the worker ends without a report on %s, which the log does not take", attempt.name)
                    attempt.abort()
                else:
                    _logger.warning("the worker still waits for %s, which does not end", attempt.name)

    async def _until_settled(self) -> None:
        """Wait, not for long, until no start of what runs here is missing in the log."""
        waiting = [asyncio.ensure_future(attempt.settled.wait()) for attempt in self._attempts.values()]
        if waiting:
            await asyncio.wait(waiting, timeout=_LEAVE_S)
            for each in waiting:
                each.cancel()

    async def _until_idle(self, timeout_s: float) -> None:
        self._idle.clear()
        if self._attempts and timeout_s > 0:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._idle.wait()
            except TimeoutError:
                return
