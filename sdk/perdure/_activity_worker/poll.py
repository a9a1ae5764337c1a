"""The thread that owns a queue's group consumer: takes tasks, hands them to the loop in batches, commits what is settled.

It knows records and offsets. What a task means, and whether it may run, is decided on the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perdure._activity_worker.progress import Progress
from perdure._activity_worker.set_aside import DeadLetters
from perdure._log.errors import LogBusy, LogError, LogUnauthorized, LogUnavailable, OffsetOutOfRange, TopicNotFound
from perdure._log.port import GroupConsumer, Log, Record, TopicPartition
from perdure._log.progress import GapReadings, ProgressWatch
from perdure._machine import Machine
from perdure_schemas.codec import decode_task
from perdure_schemas.errors import CodecError
from perdure_schemas.headers import TASK_TOKEN
from perdure_schemas.tasks import ActivityTask
from perdure_schemas.topics import UNREPLICATED, history_topic, task_topic, tasks_topic, workers_group

_logger = logging.getLogger("perdure.worker")

_BATCH_MAX = 500
_POLL_MS = 50
"""What is settled meanwhile waits so long for its commit."""
_POLL_BRISK_MS = 2
"""The same where an attempt waits for the commit before it may run."""
_BRISK_S = 1.0
_COMMIT_EVERY_S = 0.1
_COMMIT_AGAIN_S = 5.0
"""What was sent, and that nobody has heard of for so long, is committed once more and awaited: the queue may have no further task."""
_RETRY_FIRST_S = 0.2
_RETRY_LAST_S = 5.0
_LOG_TIMEOUT_MS = 10_000
_WAITED_OUT = (LogUnavailable, LogBusy, OffsetOutOfRange, TopicNotFound)
"""What passes by itself, or by what somebody else does: the group is joined again, after a while."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A task as it came, and its token. One that `may_be_repeated` could have been given to another worker, or to this one, before."""

    task: ActivityTask
    partition: int
    offset: int
    may_be_repeated: bool
    token: bytes


@dataclass(frozen=True, slots=True)
class _Confirmation:
    """Somebody waits until this offset is committed."""

    partition: int
    offset: int
    done: asyncio.Future[bool]


class Poller:
    """Takes at most `capacity` tasks that are not released yet. `on_tasks` and `on_failure` are called on the loop."""

    def __init__(
        self,
        log: Log,
        machine: Machine,
        namespace: str,
        task_queue: str,
        session_timeout_ms: int,
        capacity: int,
        on_tasks: Callable[[Sequence[Delivery]], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._log = log
        self._monotonic_s = machine.monotonic_s
        self._namespace = namespace
        self._task_queue = task_queue
        self._topic = tasks_topic(namespace, task_queue)
        self._session_timeout_ms = session_timeout_ms
        self._capacity = capacity
        self._on_tasks = on_tasks
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        # Each of these has one writer, and whole reads and writes of them are atomic.
        self._handed = 0
        self._released = 0
        self._taking = True
        self._starved = False
        self._is_stopping = False
        self._consumer: GroupConsumer | None = None
        self._paused = False
        self._watch = self._new_watch()
        self._joined_at = 0.0
        self._retry_s = _RETRY_FIRST_S
        self._inbox: deque[tuple[int, int] | _Confirmation] = deque()
        self._progress = Progress()
        self._backlog_ends: dict[int, int | None] = {}  # of the assignments under which `_progress` was taken
        self._gaps: defaultdict[int, GapReadings] = defaultdict(GapReadings)
        self._confirmations: list[_Confirmation] = []
        self._dead_letters = DeadLetters(log, namespace, machine.monotonic_s)
        self._brisk_until = 0.0
        self._commit_at = 0.0
        self._confirm_at = 0.0
        self._has_left = False
        self._last_commit_recorded = False
        self._thread = machine.repeat(self._step, f"perdure-tasks-{task_queue}")

    # -- on the loop

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def settle(self, partition: int, offset: int) -> None:
        """The task needs no other delivery."""
        self._inbox.append((partition, offset))

    def release(self, tasks: int) -> None:
        """So many of the tasks that were handed over are no longer here."""
        self._released += tasks
        if self._starved and self._room() >= self._capacity // 4:
            self._thread.wake()

    def committed(self, partition: int, offset: int) -> asyncio.Future[bool]:
        """Whether the task's offset is committed, once that is known; False if the partition is another member's now."""
        confirmation = _Confirmation(partition, offset, self._loop.create_future())
        self._inbox.append(confirmation)
        self._thread.wake()
        if self._has_left:  # read behind the append, as the thread looks at the inbox behind the write
            _resolve([confirmation], self._is_recorded(confirmation))
        return confirmation.done

    def stop_taking(self) -> None:
        """Take no further tasks, but stay a member and commit."""
        self._taking = False
        self._thread.wake()

    def stop(self) -> None:
        """Commit what is settled and leave the group. Does not wait."""
        self._is_stopping = True
        self._thread.wake()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end."""
        self._thread.join(timeout_s)

    # -- on the thread

    def _room(self) -> int:
        return self._capacity - (self._handed - self._released)

    def _step(self) -> float | None:
        try:
            if not self._is_stopping:
                return self._serve()
            self._leave()
        except Exception as error:  # noqa: BLE001 - raised on the loop
            self._call(self._on_failure, error)
            self._close_consumer()
        self._has_left = True
        self._note()
        for each in tuple(self._confirmations):
            self._answer([each], self._is_recorded(each))
        return None

    def _serve(self) -> float:
        """Be a member of the group, and do one round; how long to rest."""
        try:
            return self._round(self._consumer or self._join_group())
        except _WAITED_OUT as error:
            self._close_consumer()
            if self._monotonic_s() - self._joined_at > _RETRY_LAST_S:
                self._retry_s = _RETRY_FIRST_S
            _logger.warning("tasks of queue %r cannot be taken for now: %s", self._task_queue, error)
            rest_s, self._retry_s = self._retry_s, min(self._retry_s * 2, _RETRY_LAST_S)
            return rest_s

    def _is_recorded(self, confirmation: _Confirmation) -> bool:
        """Whether the offset was committed before this member left its group."""
        return self._last_commit_recorded and self._progress.has_passed(confirmation.partition, confirmation.offset)

    def _join_group(self) -> GroupConsumer:
        self._joined_at = self._monotonic_s()
        self._ensure_topic()
        group = workers_group(self._namespace, self._task_queue)
        consumer = self._consumer = self._log.group_consumer(group, self._topic, self._session_timeout_ms)
        self._paused = False
        self._watch = self._new_watch()
        for partition in self._backlog_ends:
            self._progress.forget(partition)
        self._backlog_ends.clear()
        return consumer

    def _ensure_topic(self) -> None:
        history = history_topic(self._namespace)
        known = self._log.describe_topics([self._topic, history], _LOG_TIMEOUT_MS)
        if self._topic in known:
            return
        replication = known[history].replication if history in known else UNREPLICATED
        try:
            self._log.create_topics([task_topic(self._namespace, self._task_queue, replication=replication)], _LOG_TIMEOUT_MS)
        except LogUnauthorized as error:
            raise TopicNotFound(
                f"{self._log.url} has no topic {self._topic!r} and this worker may not create it ({error}); create it, or let the worker"
            ) from error

    def _round(self, consumer: GroupConsumer) -> float:
        self._starved = False
        self._note()
        self._forget_lost(consumer)
        self._commit(consumer)
        self._set_aside()
        room = self._room() if self._taking else 0
        if self._paused != (room <= 0):
            self._paused = not self._paused
            (consumer.pause if self._paused else consumer.resume)()
            self._watch = self._new_watch()  # who takes nothing stands still by himself
        poll_ms = _POLL_BRISK_MS if self._is_brisk() else _POLL_MS
        if records := consumer.poll(max(1, min(room, _BATCH_MAX)), 0 if self._paused else poll_ms):
            self._hand_over(consumer, records)
        if not self._paused:
            self._look_after(consumer)
            return 0.0
        self._starved = True
        return 0.0 if self._room() >= self._capacity // 4 and self._taking else poll_ms / 1000

    def _new_watch(self) -> ProgressWatch:
        return ProgressWatch(self._log, lambda: self._monotonic_s() * 1000)

    def _look_after(self, consumer: GroupConsumer) -> None:
        """Raise LogUnavailable where reading stands still, although there are tasks: one fetch of the library may never be answered."""
        still = self._watch.stalled(lambda: self._positions(consumer))
        if not still:
            return
        starts, ends = self._log.start_offsets(still, _LOG_TIMEOUT_MS), self._log.end_offsets(still, _LOG_TIMEOUT_MS)
        if left := [place for place in still if starts[place] < ends[place]]:  # and not all has expired
            raise LogUnavailable(f"reading partition {left[0][1]} stands still, although there are more tasks")

    def _positions(self, consumer: GroupConsumer) -> dict[TopicPartition, int]:
        """Where reading goes on: behind what has come here, whatever the consumer has read beyond."""
        positions = consumer.positions() | consumer.begins
        for partition in positions:
            positions[partition] = self._progress.next_of(partition) or positions[partition]
        return {(self._topic, partition): at for partition, at in positions.items()}

    def _leave(self) -> None:
        """Commit what is settled, as far as the log takes it, and leave the group."""
        consumer = self._consumer
        if consumer is None:
            return
        try:
            self._note()
            self._forget_lost(consumer)
            self._confirm(consumer, 0.0)
            self._last_commit_recorded = self._commit_now(consumer)
        except _WAITED_OUT as error:
            _logger.warning("the last commit of queue %r was not made: %s", self._task_queue, error)
        self._close_consumer()

    def _close_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            try:
                consumer.close()
            except LogError:
                _logger.debug("a member of the group of queue %r was closed with an error", self._task_queue, exc_info=True)

    def _is_brisk(self) -> bool:
        return bool(self._confirmations) or self._monotonic_s() < self._brisk_until

    def _note(self) -> None:
        """Take in what the loop has said."""
        while self._inbox:
            said = self._inbox.popleft()
            if isinstance(said, _Confirmation):
                self._confirmations.append(said)
            else:
                self._progress.settle(*said)

    def _commit(self, consumer: GroupConsumer) -> None:
        now = self._monotonic_s()
        if self._confirmations and now >= self._confirm_at:
            self._confirm(consumer, now)
        if now >= self._commit_at and (positions := self._progress.moved()):
            consumer.commit(positions)
            self._progress.sent()
            self._commit_at = now + _COMMIT_EVERY_S
        elif now >= self._commit_at + _COMMIT_AGAIN_S and self._progress.unconfirmed():
            self._commit_now(consumer)
            self._commit_at = now

    def _forget_lost(self, consumer: GroupConsumer) -> None:
        """What another member may have had meanwhile is no longer to be committed: that would take back what it has committed."""
        for partition, end in tuple(self._backlog_ends.items()):
            if end is None or _backlog_end(consumer, partition) != end:
                self._progress.forget(partition)
                del self._backlog_ends[partition]

    def _confirm(self, consumer: GroupConsumer, now: float) -> None:
        self._answer([each for each in self._confirmations if not self._progress.has(each.partition, each.offset)], False)
        if ready := [each for each in self._confirmations if self._progress.has_passed(each.partition, each.offset)]:
            if self._commit_now(consumer):
                self._answer(ready, True)
            else:
                self._confirm_at = now + _RETRY_FIRST_S

    def _commit_now(self, consumer: GroupConsumer) -> bool:
        positions = self._progress.unconfirmed()
        if positions and not consumer.commit_now(positions):
            return False
        self._progress.committed()
        return True

    def _answer(self, confirmations: list[_Confirmation], recorded: bool) -> None:
        if answered := tuple(confirmations):
            self._confirmations = [each for each in self._confirmations if each not in answered]
            self._call(_resolve, answered, recorded)

    def _hand_over(self, consumer: GroupConsumer, records: list[Record]) -> None:
        self._look_for_gaps(consumer, records)
        deliveries: list[Delivery] = []
        for record in records:
            end = _backlog_end(consumer, record.partition)
            is_given_anew = self._backlog_ends.get(record.partition, end) != end
            self._backlog_ends[record.partition] = end
            if is_given_anew:
                self._progress.forget(record.partition)
            if not self._progress.take(record.partition, record.offset) or is_given_anew:
                # Before the tasks: what waits for a commit of the former assignment must learn first that it will not come.
                self._note()
                self._answer([each for each in self._confirmations if each.partition == record.partition], False)
            try:
                task = decode_task(record.value)
            except CodecError as error:
                self._dead_letters.add(record, error)
                continue
            token = next((value for name, value in record.headers if name == TASK_TOKEN), b"")
            deliveries.append(Delivery(task, record.partition, record.offset, end is None or record.offset < end, token))
        if deliveries:
            if any(delivery.may_be_repeated for delivery in deliveries):
                self._brisk_until = self._monotonic_s() + _BRISK_S
            self._handed += len(deliveries)
            self._call(self._on_tasks, deliveries)

    def _look_for_gaps(self, consumer: GroupConsumer, records: list[Record]) -> None:
        """Raise LogUnavailable where the reader has skipped a task: nobody would send it again, and its run would wait for ever. Nothing
        of these records has been taken, so that the group goes on from before the gap once it is joined anew."""
        expected: dict[int, int] = {}
        for record in records:
            partition = record.partition
            if partition not in expected:
                expected[partition] = self._next_of(consumer, partition, record.offset)
            if record.offset > expected[partition] and not self._is_gap(partition, expected[partition], record.offset):
                raise LogUnavailable(f"offset {expected[partition]} of partition {partition} was skipped")
            expected[partition] = record.offset + 1

    def _next_of(self, consumer: GroupConsumer, partition: int, offset: int) -> int:
        """The offset that is due, if it is known: behind what has come here, or where the group goes on; else `offset`."""
        end = _backlog_end(consumer, partition)
        taken = self._progress.next_of(partition) if self._backlog_ends.get(partition, end) == end else None
        return max((at for at in (taken, consumer.begins.get(partition)) if at is not None), default=offset)

    def _is_gap(self, partition: int, first: int, next_offset: int) -> bool:
        """Whether the log has nothing there: tasks expire."""
        place = self._topic, partition
        return self._gaps[partition].is_believed(first) or self._log.start_offsets([place], _LOG_TIMEOUT_MS)[place] >= next_offset

    def _set_aside(self) -> None:
        for record in self._dead_letters.send():
            self._progress.settle(record.partition, record.offset)

    def _call(self, callback: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # how a closed loop answers
            self._is_stopping = True


def _resolve(confirmations: Sequence[_Confirmation], recorded: bool) -> None:
    for confirmation in confirmations:
        if not confirmation.done.done():
            confirmation.done.set_result(recorded)


def _backlog_end(consumer: GroupConsumer, partition: int) -> int | None:
    try:
        return consumer.backlog_end(partition)
    except KeyError:  # no longer this member's
        return None
