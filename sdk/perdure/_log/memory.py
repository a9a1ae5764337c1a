"""The Log in memory: for tests and for simulation, where it is the medium that is simulated and nothing else.

`MemoryMedium` is what Kafka's brokers are to Kafka: several logs (`MemoryLog`, a connection) share it. It has no thread of its own,
nothing happens in it between calls, and without its clocks it is deterministic. Faults are made by subclassing it: every append of
every producer passes `submit`, every wait passes `wait`, and the clocks are arguments.
"""

# ruff: noqa: ARG002 - memory answers at once and has no use for a timeout

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from perdure._log.errors import LogBusy, LogClosed, LogError, LogUnavailable, OffsetOutOfRange, TopicNotFound
from perdure._log.memory_groups import Group, MemoryGroupConsumer, MemoryMembership
from perdure._log.port import (
    Consumer,
    Delivery,
    EndOffsetsRequest,
    FailedAppend,
    GroupConsumer,
    Headers,
    Membership,
    Producer,
    Record,
    TopicDescription,
    TopicPartition,
)
from perdure._log.size import check_size
from perdure_schemas.topics import TopicSpec

_QUEUE_RECORDS_MAX = 100_000


@dataclass(slots=True)
class _Partition:
    start: int = 0
    records: list[Record] = field(default_factory=list)
    timestamp_ms: int = 0

    @property
    def end(self) -> int:
        return self.start + len(self.records)


@dataclass(slots=True)
class _Topic:
    topic_id: str
    settings: dict[str, str]
    partitions: list[_Partition]


@dataclass(slots=True, eq=False)
class Append:
    """One record on its way from a producer. It ends with one call of `acknowledge` or `fail`, at once or at any later time."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: Headers
    token: object
    producer: MemoryProducer

    def acknowledge(self) -> None:
        """Tell the producer that the record is in the log."""
        self.producer.settle(self, None)

    def fail(self, error: LogError) -> None:
        """Tell the producer that it is not known whether the record is in the log."""
        self.producer.settle(self, error)


class MemoryMedium:
    """Topics in memory, for any number of logs and threads. `now_ms` stamps records, `monotonic_ms` judges members' sessions."""

    def __init__(
        self,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic_ms: Callable[[], float] = lambda: time.monotonic() * 1000,
        *,
        name: str = "",
    ) -> None:
        self.now_ms = now_ms
        self.monotonic_ms = monotonic_ms
        self.url = f"memory://{name}"
        self.changed = threading.Condition()
        """Held while anything here is read or changed, notified after each change."""
        self.groups: dict[str, Group] = {}
        self.numbers = itertools.count(1)
        self._topics: dict[str, _Topic] = {}

    def wait(self, ready: Callable[[], bool], timeout_ms: int) -> bool:
        """Wait until `ready` or the time is up. Called with `changed` held. A simulation, whose time stands still, overrides it."""
        return self.changed.wait_for(ready, max(0, timeout_ms) / 1000)

    def submit(self, append: Append) -> None:
        """What becomes of an append, all of which come through here: it lands and is acknowledged. Called with `changed` held.

        A test overrides this to lose, double, delay or refuse records and acknowledgements: `land`, `append.acknowledge` and
        `append.fail` may be called in any combination, now or later.
        """
        try:
            self.land(append)
        except LogError as error:
            append.fail(error)
        else:
            append.acknowledge()

    def land(self, append: Append) -> Record:
        """Put the record into the log, for every reader to see."""
        return self.append(append.topic, append.partition, append.key, append.value, append.headers)

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers = ()) -> Record:
        """Add one record. Raises TopicNotFound."""
        with self.changed:
            log = self._partition(topic, partition)
            log.timestamp_ms = max(log.timestamp_ms, self.now_ms())
            record = Record(topic, partition, log.end, log.timestamp_ms, key, value, headers)
            log.records.append(record)
            self.changed.notify_all()
            return record

    def read(self, topic: str, partition: int, offset: int, records_max: int) -> list[Record]:
        """Records from `offset` on. Raises TopicNotFound, OffsetOutOfRange."""
        with self.changed:
            log = self._partition(topic, partition)
            if not log.start <= offset <= log.end:
                raise OffsetOutOfRange(topic, partition, f"offset {offset} was asked for, and the log has {log.start} to {log.end}")
            first = offset - log.start
            return log.records[first : first + records_max]

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Offset of the first record that is kept, and of the next one to come. Raises TopicNotFound."""
        with self.changed:
            log = self._partition(topic, partition)
            return log.start, log.end

    def describe(self, names: Sequence[str]) -> dict[str, TopicDescription]:
        """Those topics among `names` that exist."""
        with self.changed:
            found = {name: self._topics[name] for name in names if name in self._topics}
            return {
                name: TopicDescription(name, topic.topic_id, len(topic.partitions), dict(topic.settings)) for name, topic in found.items()
            }

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Make the topics that are not there."""
        with self.changed:
            for spec in specs:
                if spec.name not in self._topics:
                    partitions = [_Partition() for _ in range(spec.partitions)]
                    self._topics[spec.name] = _Topic(f"memory-{next(self.numbers)}", dict(spec.settings), partitions)
            self.changed.notify_all()

    def names(self, prefix: str) -> list[str]:
        """Names of the topics that begin with `prefix`, sorted."""
        with self.changed:
            return sorted(name for name in self._topics if name.startswith(prefix))

    def truncate_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete the records below `offset`. Raises OffsetOutOfRange above the end."""
        with self.changed:
            log = self._partition(topic, partition)
            if offset > log.end:
                raise OffsetOutOfRange(topic, partition, f"cannot delete up to {offset}: the log ends at {log.end}")
            if offset > log.start:
                del log.records[: offset - log.start]
                log.start = offset
            self.changed.notify_all()

    def _partition(self, topic: str, partition: int) -> _Partition:
        found = self._topics.get(topic)
        if found is None or not 0 <= partition < len(found.partitions):
            raise TopicNotFound(f"{self.url} has no {topic}[{partition}]; create its topics first")
        return found.partitions[partition]


class MemoryProducer:
    """A producer; `Append` objects carry its records through the medium."""

    def __init__(self, medium: MemoryMedium, delivery: Delivery, queue_records_max: int) -> None:
        self._medium = medium
        self._ordered = delivery is Delivery.ORDERED
        self._queue_records_max = queue_records_max
        self._unsettled: dict[TopicPartition, deque[Append]] = {}
        self._open: set[Append] = set()  # neither acknowledged nor failed
        self._waiting: deque[Append] = deque()  # ORDERED only: behind the one in flight
        self._in_flight: Append | None = None  # ORDERED only
        self._sending = False
        self._tokens: list[object] = []
        self._failed: list[FailedAppend] = []
        self._broken: LogError | None = None
        self._closed = False

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers = (), token: object = None) -> None:
        """See Producer."""
        with self._medium.changed:
            if self._closed:
                raise LogClosed("the producer is closed")
            if len(self._open) >= self._queue_records_max:
                raise LogBusy(f"{len(self._open)} appends wait for their acknowledgement")
            check_size(topic, partition, key, value, headers)
            append = Append(topic, partition, key, value, tuple(headers), token, self)
            self._unsettled.setdefault((topic, partition), deque()).append(append)
            self._open.add(append)
            if self._broken is not None:
                self.settle(append, _stopped(self._broken))
            elif self._ordered:
                self._waiting.append(append)
                self._send_next()
            else:
                self._medium.submit(append)

    def poll(self, timeout_ms: int = 0) -> tuple[list[object], list[FailedAppend]]:
        """See Producer."""
        with self._medium.changed:
            if timeout_ms > 0:
                self._medium.wait(lambda: bool(self._tokens or self._failed) or not self._open, timeout_ms)
            tokens, self._tokens = self._tokens, []
            failed, self._failed = self._failed, []
            return tokens, failed

    def flush(self, timeout_ms: int) -> bool:
        """See Producer."""
        with self._medium.changed:
            return self._medium.wait(lambda: not self._open, timeout_ms)

    def outstanding(self) -> int:
        """See Producer."""
        return len(self._open)

    def drop(self) -> None:
        """See Producer."""
        with self._medium.changed:
            self._unsettled.clear()
            self._open.clear()
            self._waiting.clear()
            self._in_flight = None
            self._tokens.clear()
            self._failed.clear()

    def close(self) -> None:
        """See Producer."""
        self.drop()
        self._closed = True

    def settle(self, append: Append, error: LogError | None) -> None:
        """What `append` tells of itself."""
        with self._medium.changed:
            if append not in self._open:
                return  # dropped, or settled before
            self._open.remove(append)
            unsettled = self._unsettled[append.topic, append.partition]
            if error is not None:
                unsettled.remove(append)
                self._failed.append(FailedAppend(append.token, append.topic, append.partition, error))
                if self._ordered and self._broken is None:
                    self._stop(error)
            # A token speaks for all before it, so one that was acknowledged early waits for them.
            while unsettled and unsettled[0] not in self._open:
                done = unsettled.popleft()
                if done.token is not None:
                    self._tokens.append(done.token)
            if append is self._in_flight:
                self._in_flight = None
                self._send_next()
            self._medium.changed.notify_all()

    def _send_next(self) -> None:
        if self._sending:
            return  # called by an acknowledgement within `submit`: the loop below goes on
        self._sending = True
        try:
            while self._waiting and self._in_flight is None:
                append = self._in_flight = self._waiting.popleft()
                self._medium.submit(append)
        finally:
            self._sending = False

    def _stop(self, error: LogError) -> None:
        self._broken = error
        waiting, self._waiting = self._waiting, deque()
        for append in waiting:
            self.settle(append, _stopped(error))


def _stopped(error: LogError) -> LogError:
    return LogUnavailable(f"not sent, because an earlier append failed ({error}); go on with a new producer")


class MemoryConsumer:
    """A consumer."""

    def __init__(self, medium: MemoryMedium) -> None:
        self._medium = medium
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._closed = False

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Consumer."""
        self._check_open()
        self._positions = dict(positions)
        self._paused.clear()

    def poll(self, records_max: int, timeout_ms: int) -> list[Record]:
        """See Consumer."""
        self._check_open()
        with self._medium.changed:
            records = self._take(records_max)
            if not records and timeout_ms > 0:
                self._medium.wait(self._has_news, timeout_ms)
                records = self._take(records_max)
            return records

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """See Consumer."""
        self._check_open()
        self._paused.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """See Consumer."""
        self._check_open()
        self._paused.difference_update(partitions)

    def close(self) -> None:
        """See Consumer."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed("the consumer is closed")

    def _has_news(self) -> bool:
        return any(position != self._medium.bounds(*where)[1] for where, position in self._positions.items() if where not in self._paused)

    def _take(self, records_max: int) -> list[Record]:
        taken: list[Record] = []
        for where in list(self._positions):
            if len(taken) >= records_max:
                break
            if where in self._paused:
                continue
            position = self._positions[where]
            records = self._medium.read(*where, position, records_max - len(taken))
            if records:
                taken += records
                # Its turn comes last next time, so that a busy partition cannot starve the others.
                del self._positions[where]
                self._positions[where] = records[-1].offset + 1
        return taken


class _EndOffsets:
    def __init__(self, medium: MemoryMedium, partitions: Sequence[TopicPartition]) -> None:
        self._medium = medium
        self._partitions = partitions

    def result(self) -> dict[TopicPartition, int] | None:
        """See EndOffsetsRequest."""
        return {where: self._medium.bounds(*where)[1] for where in self._partitions}


class MemoryLog:
    """A connection to a medium in memory; without one given, to a new one."""

    creates_namespaces = True
    default_partitions = 4

    def __init__(self, medium: MemoryMedium | None = None, *, queue_records_max: int = _QUEUE_RECORDS_MAX) -> None:
        self.medium = medium or MemoryMedium()
        self.url = self.medium.url
        self._queue_records_max = queue_records_max
        self._closed = False

    def producer(self, delivery: Delivery) -> Producer:
        """See Log."""
        self._check_open()
        return MemoryProducer(self.medium, delivery, self._queue_records_max)

    def consumer(self) -> Consumer:
        """See Log."""
        self._check_open()
        return MemoryConsumer(self.medium)

    def membership(self, group: str, topic: str, session_timeout_ms: int) -> Membership:
        """See Log."""
        self._check_open()
        return MemoryMembership(self.medium, group, topic, session_timeout_ms)

    def group_consumer(self, group: str, topic: str, session_timeout_ms: int) -> GroupConsumer:
        """See Log."""
        self._check_open()
        return MemoryGroupConsumer(self.medium, group, topic, session_timeout_ms)

    def request_end_offsets(self, partitions: Sequence[TopicPartition]) -> EndOffsetsRequest:
        """See Log."""
        self._check_open()
        return _EndOffsets(self.medium, tuple(partitions))

    def end_offsets(self, partitions: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """See Log."""
        self._check_open()
        return {where: self.medium.bounds(*where)[1] for where in partitions}

    def start_offsets(self, partitions: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """See Log."""
        self._check_open()
        return {where: self.medium.bounds(*where)[0] for where in partitions}

    def describe_topics(self, names: Sequence[str], timeout_ms: int) -> dict[str, TopicDescription]:
        """See Log."""
        self._check_open()
        return self.medium.describe(names)

    def create_topics(self, specs: Sequence[TopicSpec], timeout_ms: int) -> None:
        """See Log."""
        self._check_open()
        self.medium.create(specs)

    def list_topics(self, prefix: str, timeout_ms: int) -> list[str]:
        """See Log."""
        self._check_open()
        return self.medium.names(prefix)

    def truncate_before(self, topic: str, partition: int, offset: int, timeout_ms: int) -> None:
        """See Log."""
        self._check_open()
        self.medium.truncate_before(topic, partition, offset)

    def now_ms(self) -> int:
        """See Log."""
        return self.medium.now_ms()

    def close(self) -> None:
        """See Log."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed(f"the log {self.url} is closed")


_MEDIA: dict[str, MemoryMedium] = {}
_MEDIA_LOCK = threading.Lock()


def shared_medium(name: str) -> MemoryMedium:
    """The medium that `memory://name` means in this process; it lasts as long as the process."""
    with _MEDIA_LOCK:
        return _MEDIA.setdefault(name, MemoryMedium(name=name))
