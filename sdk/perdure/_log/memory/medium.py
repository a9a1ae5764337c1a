"""What is simulated in a simulation: the medium in memory, and nothing else of Perdure.

`MemoryMedium` is what Kafka's brokers are to Kafka: several logs (`MemoryLog`, a connection) share it. It has no thread of its own,
nothing happens in it between calls, and without its clocks it is deterministic. Faults are made by subclassing it: every append of
every producer passes `submit`, every wait passes `wait`, and the clocks are arguments.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perdure._log.errors import LogError, OffsetOutOfRange, TopicNotFound
from perdure._log.memory.sessions import Group
from perdure._log.port import GroupDescription, Headers, Record, TopicDescription
from perdure_schemas.topics import TopicSpec

if TYPE_CHECKING:
    from perdure._log.memory.producer import MemoryProducer


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

    def describe_group(self, group: str, topic: str) -> GroupDescription:
        """The group's members and committed offsets. Raises TopicNotFound."""
        with self.changed:
            self._partition(topic, 0)
            found = self.groups.get(group)
            if found is None:
                return GroupDescription((), {})
            return GroupDescription(found.members(self.monotonic_ms()), dict(found.committed))

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


_MEDIA: dict[str, MemoryMedium] = {}
_MEDIA_LOCK = threading.Lock()


def shared_medium(name: str) -> MemoryMedium:
    """The medium that `memory://name` means in this process; it lasts as long as the process."""
    with _MEDIA_LOCK:
        return _MEDIA.setdefault(name, MemoryMedium(name=name))
