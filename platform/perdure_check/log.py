"""What is read: records and where they lie. The readers are `sqlite_log`, `kafka_log` and `dump`; none of them can write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

Place = tuple[str, int]
"""A topic and a partition."""


class Unreadable(Exception):
    """The log could not be read: not there, not ours, or damaged. No verdict can be given."""


class Trimmed(Unreadable):
    """Records were deleted while they were read, by trimming or a retention: whoever begins again finds the log as it is now."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it lies in the log."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Offset of the first record that is kept, and of the next one to come."""

    start: int
    end: int


class Source(Protocol):
    """A log that can be read. Every method may raise Unreadable."""

    def topics(self, prefix: str) -> dict[str, int]:
        """Topics whose names begin with `prefix`, and how many partitions each has."""

    def bounds(self, topic: str, partition: int) -> Bounds:
        """What a partition holds now."""

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """The records from `start` up to before `end`, in order, a bounded number of them in memory at a time."""

    def close(self) -> None:
        """Let go of the log."""
