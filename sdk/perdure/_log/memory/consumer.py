"""Reads the medium in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from perdure._log.errors import LogClosed
from perdure._log.memory.medium import MemoryMedium
from perdure._log.port import Record, TopicPartition


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
