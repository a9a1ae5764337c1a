"""A medium in memory that is as bad as a network: appends land late, twice, not at all, or land and are reported as failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum

from perdure._log.errors import LogUnavailable
from perdure._log.memory import MemoryMedium
from perdure._log.memory.medium import Append
from perdure._log.port import Headers, Record, TopicPartition


class Fate(Enum):
    """What becomes of an append."""

    LANDS = "lands"
    LATE = "late"
    LOST = "lost, and reported as failed"
    UNTOLD = "landed, and reported as failed"
    TWICE = "lands, and again later"


class SlowMedium(MemoryMedium):
    """`fate` decides for each append; `watch` sees each record as it lands. What is late lands when `deliver` says so."""

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock, clock)
        self.fate: Callable[[Append], Fate] = lambda append: Fate.LANDS
        self.watch: Callable[[Record], None] = lambda record: None
        self.on_the_way: list[Append] = []
        self.copies: list[Append] = []
        self.deleted: dict[TopicPartition, list[Record]] = defaultdict(list)

    def wait(self, ready: Callable[[], bool], timeout_ms: int) -> bool:
        return ready()  # nothing can happen meanwhile

    def truncate_before(self, topic: str, partition: int, offset: int) -> None:
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

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers = ()) -> Record:
        record = super().append(topic, partition, key, value, headers)
        self.watch(record)
        return record

    def submit(self, append: Append) -> None:
        match self.fate(append):
            case Fate.LANDS:
                super().submit(append)
            case Fate.LATE:
                self.on_the_way.append(append)
            case Fate.LOST:
                append.fail(LogUnavailable("the append was lost"))
            case Fate.UNTOLD:
                self.land(append)
                append.fail(LogUnavailable("the acknowledgement was lost"))
            case Fate.TWICE:
                super().submit(append)
                self.copies.append(append)

    def deliver(self, append: Append) -> None:
        """A late append lands and is acknowledged; a copy just lands."""
        if append in self.copies:
            self.copies.remove(append)
            self.land(append)
        else:
            self.on_the_way.remove(append)
            super().submit(append)
