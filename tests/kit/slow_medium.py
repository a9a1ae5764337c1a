"""A medium in memory that is as bad as a broker and a client library can be: appends land late, twice or not at all, or are reported as
failed and land all the same; they are acknowledged late; deletes are refused, or happen when nobody counts on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from perdure._log.errors import LogUnauthorized, LogUnavailable
from perdure._log.memory import MemoryMedium
from perdure._log.memory.medium import Append
from perdure._log.memory.producer import MemoryProducer
from perdure._log.port import Headers, Record, TopicPartition


class Fate(Enum):
    """What becomes of an append."""

    LANDS = "lands"
    LATE = "late"
    LOST = "lost, and reported as failed"
    UNTOLD = "landed, and reported as failed"
    TWICE = "lands, and again later"
    TOLD_LATE = "lands, and is acknowledged later"
    FAILED_LATE = "reported as failed, and lands later"
    STALLED = "late, and so is everything behind it from this producer, in order"
    REFUSED = "not allowed"


class Deletion(Enum):
    """What becomes of deleting a prefix."""

    DONE = "done"
    REFUSED = "refused"
    UNTOLD = "done, and reported as failed"
    LATE = "reported as failed, and done later"


STALLED_QUEUE = "stalled queue"


@dataclass(slots=True, eq=False)
class Later:
    """Something that is still to happen, to an append if it is one's that has not left its process."""

    what: str
    append: Append | None
    due_ms: int
    happen: Callable[[], object]

    @property
    def producer(self) -> MemoryProducer | None:
        """Whose append it is."""
        return None if self.append is None else self.append.producer


class SlowMedium(MemoryMedium):
    """`fate` decides for each append, `deletion` for each delete, `delay_ms` for all that comes late; `watch` sees each record as it lands.

    What is late is `on_the_way` until `pass_time` finds that it is due, or `deliver` says so.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock, clock)
        self.fate: Callable[[Append], Fate] = lambda append: Fate.LANDS
        self.deletion: Callable[[TopicPartition], Deletion] = lambda place: Deletion.DONE
        self.delay_ms: Callable[[str], int] = lambda what: 0
        self.watch: Callable[[Record], None] = lambda record: None
        self.on_the_way: list[Later] = []
        self.deleted: dict[TopicPartition, list[Record]] = defaultdict(list)
        self.landed: Counter[str] = Counter()
        """How many records each topic was given."""
        self.is_copying = False
        """Whether what lands now has landed before."""
        self._stalled: dict[MemoryProducer, list[Append]] = {}

    def wait(self, ready: Callable[[], bool], timeout_ms: int) -> bool:
        return ready()  # nothing can happen meanwhile

    # -- appends

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers = ()) -> Record:
        record = super().append(topic, partition, key, value, headers)
        self.landed[topic] += 1
        self.watch(record)
        return record

    def submit(self, append: Append) -> None:
        if append.producer in self._stalled:
            self._stalled[append.producer].append(append)
            return
        match self.fate(append):
            case Fate.LANDS:
                super().submit(append)
            case Fate.LATE:
                self._later("late append", append, lambda: self._land_and_tell(append))
            case Fate.LOST:
                append.fail(LogUnavailable("the append was lost"))
            case Fate.UNTOLD:
                self.land(append)
                append.fail(LogUnavailable("the acknowledgement was lost"))
            case Fate.TWICE:
                super().submit(append)
                self._later("copy", append, lambda: self._land_again(append))
            case Fate.TOLD_LATE:
                self.land(append)
                self._later("acknowledgement", None, append.acknowledge)
            case Fate.FAILED_LATE:
                self._later("failed append", append, lambda: self.land(append))
                append.fail(LogUnavailable("no acknowledgement came in time"))
            case Fate.STALLED:
                self._stalled[append.producer] = [append]
                self._later(STALLED_QUEUE, append, lambda: self._go_on(append.producer))
            case Fate.REFUSED:
                append.fail(LogUnauthorized("the append is not allowed"))

    def _land_and_tell(self, append: Append) -> None:
        super().submit(append)

    def _land_again(self, append: Append) -> None:
        self.is_copying = True
        try:
            self.land(append)
        finally:
            self.is_copying = False

    def _go_on(self, producer: MemoryProducer) -> None:
        for append in self._stalled.pop(producer):
            super().submit(append)

    # -- what is late

    def _later(self, what: str, append: Append | None, happen: Callable[[], object]) -> None:
        self.on_the_way.append(Later(what, append, self.now_ms() + self.delay_ms(what), happen))

    def pass_time(self) -> None:
        """Let happen what is due, in due order."""
        while due := [later for later in self.on_the_way if later.due_ms <= self.now_ms()]:
            self.deliver(min(due, key=lambda later: later.due_ms))

    def deliver(self, later: Later) -> None:
        """Let it happen now."""
        self.on_the_way.remove(later)
        later.happen()

    def lose(self, later: Later) -> None:
        """It never happens: its process died before it left."""
        self.on_the_way.remove(later)
        if later.what == STALLED_QUEUE and later.producer is not None:
            del self._stalled[later.producer]

    # -- deletes

    def truncate_before(self, topic: str, partition: int, offset: int) -> None:
        match self.deletion((topic, partition)):
            case Deletion.DONE:
                self._delete(topic, partition, offset)
            case Deletion.REFUSED:
                raise LogUnavailable("the delete was refused")
            case Deletion.UNTOLD:
                self._delete(topic, partition, offset)
                raise LogUnavailable("the delete was not answered")
            case Deletion.LATE:
                self._later("delete", None, lambda: self._delete(topic, partition, offset))
                raise LogUnavailable("the delete was not answered in time")

    def _delete(self, topic: str, partition: int, offset: int) -> None:
        log = self._partition(topic, partition)
        before = list(log.records)
        super().truncate_before(topic, partition, offset)
        self.deleted[topic, partition] += before[: len(before) - len(log.records)]

    def move_start_back(self, topic: str, partition: int, records: int) -> None:
        """The last deleted records are there again, as after a broker that died before it wrote down where its log begins."""
        log, deleted = self._partition(topic, partition), self.deleted[topic, partition]
        back = deleted[len(deleted) - min(records, len(deleted)) :]
        del deleted[len(deleted) - len(back) :]
        log.records[:0] = back
        log.start -= len(back)

    def lose_tail(self, topic: str, partition: int, records: int) -> None:
        """The newest records are gone, as after a power loss at a single broker."""
        log = self._partition(topic, partition)
        del log.records[max(0, len(log.records) - records) :]

    @contextmanager
    def nothing_deleted(self, topic: str, partition: int) -> Iterator[None]:
        """Show the partition as if nothing had ever been deleted."""
        log = self._partition(topic, partition)
        kept, start = log.records, log.start
        log.records, log.start = [*self.deleted[topic, partition], *kept], 0
        try:
            yield
        finally:
            log.records, log.start = kept, start
