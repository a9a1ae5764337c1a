"""Takes tasks into slots, runs them, reports on them, and lets the log know which need no other delivery (design.md 7)."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from perdure._activity_worker.attempt import ANNOUNCE_AFTER_S, Attempt
from perdure._activity_worker.execute import Executing, Functions
from perdure._activity_worker.poll import Delivery, Poller
from perdure._activity_worker.progress import Progress
from perdure._channel import Channel
from perdure._log.port import Delivery as Sending
from perdure._log.port import Record
from perdure._telemetry.spans import activity_attempt
from perdure.activity import ActivityCancellationDetails, Event
from perdure.converter import DataConverter
from perdure_schemas.codec import decode_task, encode_dead_letter
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.errors import CodecError
from perdure_schemas.tasks import ActivityTask
from perdure_schemas.topics import dead_letters_topic, task_topic, tasks_topic, workers_group

_logger = logging.getLogger("perdure.worker")

CONCURRENT_DEFAULT = 100
"""Slots of a worker that was not told otherwise."""

QUEUED_MAX = 1_000
"""Tasks that wait for a slot in this process; above it no more are taken from the log."""

_CANCEL_WAIT_S = 10.0


class ActivityWorker:
    """Runs the activities of one queue. Raises ValueError for what is not an activity, or for two of one name."""

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
        self._channel = channel
        self._task_queue = task_queue
        self._functions = Functions(tuple(activities))
        self._converter = data_converter
        self._slots = max_concurrent_activities or CONCURRENT_DEFAULT
        self._own_executor = ThreadPoolExecutor(self._slots, "perdure-activity") if executor is None else None
        self._executor = executor or self._own_executor
        self._graceful_s = graceful_shutdown_timeout_ms / 1000
        self._identity = identity or f"{os.getpid()}@{socket.gethostname()}"
        self._session_timeout_ms = session_timeout_ms
        self._progress = Progress()
        self._waiting: deque[Delivery] = deque()
        self._running: dict[tuple[str, int, int], asyncio.Task[None]] = {}
        self._attempts: dict[tuple[str, int, int], Attempt] = {}
        self._stop = asyncio.Event()
        self._finished = asyncio.Event()
        self._grown = asyncio.Event()
        self._started = False
        self._stopping = False
        self._failure: Exception | None = None
        self._poller: Poller | None = None
        self._executing: Executing | None = None
        self._shutdown_event: Event | None = None

    async def run(self) -> None:
        """Work until `shutdown`, or until this call is cancelled. Raises what ended the reading of tasks."""
        self._started = True
        loop = asyncio.get_running_loop()
        self._shutdown_event = Event()
        assert self._executor is not None
        self._executing = Executing(
            self._functions, self._converter, self._executor, self._channel.namespace, self._identity, self._shutdown_event
        )
        try:
            await asyncio.to_thread(self._ensure_topic)
            self._poller = Poller(
                self._channel.log,
                workers_group(self._channel.namespace, self._task_queue),
                tasks_topic(self._channel.namespace, self._task_queue),
                self._session_timeout_ms,
                loop,
                self._arrived,
                self._failed,
            )
            self._poller.start()
            await self._stop.wait()
        finally:
            await self._wind_down()
            self._finished.set()
        if self._failure is not None:
            raise self._failure

    async def shutdown(self) -> None:
        """Take nothing more, give what runs the graceful timeout, then cancel it; returns when all is reported."""
        self._stop.set()
        if self._started:
            await self._finished.wait()

    def _ensure_topic(self) -> None:
        log, namespace = self._channel.log, self._channel.namespace
        name = tasks_topic(namespace, self._task_queue)
        deadline = time.monotonic() + 30
        while name not in log.describe_topics([name], 10_000):
            log.create_topics([task_topic(namespace, self._task_queue)], 10_000)
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)

    # -- taking

    def _failed(self, error: Exception) -> None:
        self._failure = error
        self._stop.set()

    def _arrived(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if self._progress.take(delivery.record.partition, delivery.record.offset):
                self._waiting.append(delivery)
        self._fill()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._slots and not self._stopping:
            self._begin(self._waiting.popleft())
        if self._poller is not None:
            self._poller.set_paused(self._stopping or len(self._waiting) >= QUEUED_MAX)

    def _begin(self, delivery: Delivery) -> None:
        try:
            task = decode_task(delivery.record.value)
        except CodecError as error:
            asyncio.get_running_loop().create_task(self._bury(delivery.record, error))
            return
        key = (task.run_id, task.scheduled_event_id, task.attempt)
        if key in self._running:
            self._settle(delivery.record)
            return
        runner = asyncio.get_running_loop().create_task(self._run_one(delivery, task, key))
        self._running[key] = runner
        runner.add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: tuple[str, int, int]) -> None:
        self._running.pop(key, None)
        self._attempts.pop(key, None)
        self._fill()

    # -- one task

    async def _run_one(self, delivery: Delivery, task: ActivityTask, key: tuple[str, int, int]) -> None:
        assert self._executing is not None
        record = delivery.record
        attempt = self._attempts[key] = Attempt(self._channel, task, self._identity, lambda: self._settle(record))
        timer: asyncio.TimerHandle | None = None
        try:
            names = (task.activity_type, task.workflow_id, task.run_id, task.activity_id, task.scheduled_event_id, task.attempt)
            with activity_attempt(task.trace_parent, *names):
                if task.announce_first or delivery.may_be_redelivery:
                    if not await self._may_run(attempt, delivery):
                        return
                else:
                    timer = asyncio.get_running_loop().call_later(ANNOUNCE_AFTER_S, attempt.announce)
                report = await self._executing.execute(attempt)
                if timer is not None:
                    timer.cancel()
                if report is None or await attempt.send(report):
                    self._settle(record)
        except asyncio.CancelledError:
            return
        except Exception:
            _logger.exception("activity %r of %r ended without a report; it will be delivered again", task.activity_type, task.workflow_id)
        finally:
            if timer is not None:
                timer.cancel()
            attempt.close()

    async def _may_run(self, attempt: Attempt, delivery: Delivery) -> bool:
        """What may be a redelivery runs only once its start is acknowledged and its offset is committed (R21)."""
        record = delivery.record
        if not await attempt.ask_to_run():
            self._settle(record)
            return False
        attempt.announce()
        self._settle(record)
        if delivery.may_be_redelivery and self._poller is not None:
            while (position := self._progress.position_behind(record.partition, record.offset)) is None:
                await self._grown.wait()
            await self._poller.commit_now(record.partition, position)
        return True

    def _settle(self, record: Record) -> None:
        position = self._progress.settle(record.partition, record.offset)
        if position is not None and self._poller is not None:
            self._poller.commit(record.partition, position)
            grown, self._grown = self._grown, asyncio.Event()
            grown.set()

    async def _bury(self, record: Record, error: CodecError) -> None:
        """A task that cannot be read goes to the dead letters, and the queue goes on (P9)."""
        letter = DeadLetter(
            record.topic,
            record.partition,
            record.offset,
            "undecodable",
            str(error),
            record.key or b"",
            record.value,
            self._channel.log.now_ms(),
        )
        _logger.error("%s[%d] offset %d is not a task: %s", record.topic, record.partition, record.offset, error)
        if await asyncio.to_thread(self._send_dead_letter, letter):
            self._settle(record)

    def _send_dead_letter(self, letter: DeadLetter) -> bool:
        producer = self._channel.log.producer(Sending.PIPELINED)
        try:
            key = f"{letter.source_topic}/{letter.source_partition}/{letter.source_offset}".encode()
            producer.append(dead_letters_topic(self._channel.namespace), 0, key, encode_dead_letter(letter), (), letter)
            producer.flush(10_000)
            acknowledged, _ = producer.poll(0)
            return bool(acknowledged)
        finally:
            producer.close()

    # -- the end

    async def _wind_down(self) -> None:
        self._stopping = True
        self._waiting.clear()
        if self._poller is not None:
            self._poller.set_paused(True)
        if self._shutdown_event is not None:
            self._shutdown_event.set()
        if self._running and self._graceful_s:
            await asyncio.wait(list(self._running.values()), timeout=self._graceful_s)
        for attempt in list(self._attempts.values()):
            attempt.cancel(ActivityCancellationDetails(worker_shutdown=True))
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=_CANCEL_WAIT_S)
        for runner in list(self._running.values()):
            runner.cancel()
        if self._poller is not None:
            await self._poller.stop()
        if self._own_executor is not None:
            self._own_executor.shutdown(wait=False, cancel_futures=True)
