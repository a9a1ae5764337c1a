"""The thread that owns the queue's group consumer: hands tasks to the loop in batches, and commits what the loop has settled."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perdure._log.errors import LogError, LogUnavailable
from perdure._log.port import GroupConsumer, Log, Record

_logger = logging.getLogger("perdure.worker")

POLL_MS = 100
"""How long one poll waits; commits and orders to pause are looked at between polls."""

BATCH_MAX = 500


@dataclass(frozen=True, slots=True)
class Delivery:
    """A task record, and whether another worker may have had it before (design.md 7)."""

    record: Record
    may_be_redelivery: bool


class Poller:
    """Runs until `stop`. `arrived` and `failed` are called on the loop."""

    def __init__(
        self,
        log: Log,
        group: str,
        topic: str,
        session_timeout_ms: int,
        loop: asyncio.AbstractEventLoop,
        arrived: Callable[[Sequence[Delivery]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._log = log
        self._group, self._topic, self._session_timeout_ms = group, topic, session_timeout_ms
        self._loop = loop
        self._arrived = arrived
        self._failed = failed
        self._lock = threading.Lock()
        self._positions: dict[int, int] = {}
        self._awaited: list[tuple[dict[int, int], asyncio.Future[bool]]] = []
        self._paused = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"perdure-tasks-{topic}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def commit(self, partition: int, position: int) -> None:
        """Commit before the next poll."""
        with self._lock:
            self._positions[partition] = max(position, self._positions.get(partition, -1))

    async def commit_now(self, partition: int, position: int) -> bool:
        """Commit, and know whether it was recorded."""
        done: asyncio.Future[bool] = self._loop.create_future()
        with self._lock:
            self._awaited.append(({partition: position}, done))
        return await done

    def set_paused(self, paused: bool) -> None:
        """Take nothing, or take tasks again; stay a member."""
        self._paused = paused

    async def stop(self) -> None:
        """Commit what is settled and leave the group."""
        self._stopping.set()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            consumer = self._log.group_consumer(self._group, self._topic, self._session_timeout_ms)
        except Exception as error:  # noqa: BLE001 - raised again on the loop
            self._loop.call_soon_threadsafe(self._failed, error)
            return
        paused = False
        try:
            while not self._stopping.is_set():
                if paused != self._paused:
                    paused = self._paused
                    (consumer.pause if paused else consumer.resume)()
                try:
                    records = consumer.poll(BATCH_MAX, POLL_MS)
                    self._commit(consumer)
                except LogUnavailable as error:
                    _logger.warning("%s cannot be read: %s; trying again", self._topic, error)
                    self._stopping.wait(1)
                    continue
                if records:
                    ends = {partition: _backlog_end(consumer, partition) for partition in {record.partition for record in records}}
                    deliveries = [Delivery(record, record.offset < ends[record.partition]) for record in records]
                    self._loop.call_soon_threadsafe(self._arrived, deliveries)
            self._commit(consumer)
        except Exception as error:  # noqa: BLE001 - raised again on the loop
            self._loop.call_soon_threadsafe(self._failed, error)
        finally:
            consumer.close()

    def _commit(self, consumer: GroupConsumer) -> None:
        with self._lock:
            positions, self._positions = self._positions, {}
            awaited, self._awaited = self._awaited, []
        if positions:
            consumer.commit(positions)
        for wanted, done in awaited:
            try:
                recorded = consumer.commit_now(wanted)
            except LogError:
                recorded = False
            self._loop.call_soon_threadsafe(_resolve, done, recorded)


def _resolve(done: asyncio.Future[bool], recorded: bool) -> None:
    if not done.done():
        done.set_result(recorded)


def _backlog_end(consumer: GroupConsumer, partition: int) -> int:
    try:
        return consumer.backlog_end(partition)
    except KeyError:
        return 1 << 62  # no longer this member's: certainly to be run with care
