"""Reads partitions from the file, and waits for what others write."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import apsw

from perdure._log.errors import LogClosed, OffsetOutOfRange, PartitionDamaged
from perdure._log.port import Record, TopicPartition
from perdure._log.sqlite.batches import batch_id, unpack
from perdure._log.sqlite.catalog import Catalog, Extent
from perdure._log.sqlite.database import Database

_BATCHES_AT_ONCE = 32


@dataclass(slots=True)
class _Cursor:
    position: int
    read_to: int
    """Offset after the last record that was read from the file; `ready` holds those in between."""
    ready: deque[Record] = field(default_factory=deque)
    aligned: bool = False
    """Whether a batch begins at `read_to`."""


class PartitionReader:
    """Positions in partitions and the records that follow them. Belongs to its connection's thread."""

    def __init__(self, connection: apsw.Connection, catalog: Catalog) -> None:
        self._connection = connection
        self._catalog = catalog
        self._cursors: dict[TopicPartition, _Cursor] = {}
        self._version: int | None = None
        self.paused: set[TopicPartition] = set()

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Replace what is read."""
        self._cursors = {where: _Cursor(offset, offset) for where, offset in positions.items()}
        self._version = None

    def add(self, where: TopicPartition, offset: int) -> None:
        """Read one more partition."""
        self._cursors[where] = _Cursor(offset, offset)
        self._version = None

    def remove(self, where: TopicPartition) -> None:
        """Read one partition less."""
        self._cursors.pop(where, None)

    def position(self, where: TopicPartition) -> int:
        """The offset of the next record that is taken."""
        return self._cursors[where].position

    def look_again(self) -> None:
        """Something other than the file has changed."""
        self._version = None

    def take(self, records_max: int) -> list[Record]:
        """What is there. Raises OffsetOutOfRange, TopicNotFound, LogDamaged."""
        taken = self._take_ready(records_max)
        if taken:
            return taken
        version = self._connection.execute("PRAGMA data_version").get
        if version == self._version:
            return []
        self._read(records_max)
        taken = self._take_ready(records_max)
        if not taken:
            self._version = version  # all that there is has been read, and was nothing
        return taken

    def _take_ready(self, records_max: int) -> list[Record]:
        taken: list[Record] = []
        for where, cursor in list(self._cursors.items()):
            if not cursor.ready or where in self.paused:
                continue
            room = records_max - len(taken)
            if room <= 0:
                break
            if len(cursor.ready) <= room:
                taken += cursor.ready
                cursor.ready.clear()
            else:
                taken += (cursor.ready.popleft() for _ in range(room))
            cursor.position = taken[-1].offset + 1
            # Its turn comes last next time, so that a busy partition cannot starve the others.
            self._cursors[where] = self._cursors.pop(where)
        return taken

    def _read(self, records_max: int) -> None:
        wanted = {where: cursor for where, cursor in self._cursors.items() if where not in self.paused}
        if not wanted:
            return
        for where, extent in self._catalog.extents(wanted).items():
            cursor = wanted[where]
            if not extent.start_offset <= cursor.position <= extent.next_offset:
                raise _out_of_range(where, cursor.position, extent)
            if cursor.read_to < extent.next_offset and len(cursor.ready) < records_max:
                self._read_partition(where, cursor, extent)

    def _read_partition(self, where: TopicPartition, cursor: _Cursor, extent: Extent) -> None:
        first = batch_id(extent.partition_id, cursor.read_to)
        if not cursor.aligned:
            first = self._connection.execute(
                "SELECT coalesce(max(id), ?1) FROM batch WHERE id <= ?1 AND id >= ?2", (first, batch_id(extent.partition_id, 0))
            ).get
        rows: list[Any] = self._connection.execute(
            "SELECT id, next_offset, timestamp_ms, checksum, records FROM batch WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
            (first, batch_id(extent.partition_id, extent.next_offset), _BATCHES_AT_ONCE),
        ).fetchall()
        read_to = cursor.read_to
        for row in rows:
            records = unpack(*where, row)
            skipped = read_to - records[0].offset
            if skipped < 0 or (skipped and cursor.aligned):
                break
            cursor.ready.extend(records[skipped:] if skipped else records)
            cursor.read_to = read_to = records[-1].offset + 1
            cursor.aligned = True
        if not rows or cursor.read_to != rows[-1][1]:
            # The records are numbered without gaps: some were deleted since we looked, or the file is broken.
            now = self._catalog.extents([where])[where]
            if cursor.position < now.start_offset:
                raise _out_of_range(where, cursor.position, now)
            raise PartitionDamaged(*where, f"the records from offset {cursor.read_to} on are missing in the file")


def _out_of_range(where: TopicPartition, position: int, extent: Extent) -> OffsetOutOfRange:
    return OffsetOutOfRange(*where, f"offset {position} was asked for, and the log has {extent.start_offset} to {extent.next_offset}")


class SqliteConsumer:
    """A consumer with a connection of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ear = database.ear()
        self._connection = database.connect()
        self._reader = PartitionReader(self._connection, Catalog(database, self._connection))
        self._closed = False

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Consumer."""
        self._check_open()
        self._reader.paused.clear()
        self._reader.assign(positions)

    def poll(self, records_max: int, timeout_ms: int) -> list[Record]:
        """See Consumer."""
        self._check_open()
        with self._database.errors():
            deadline = time.monotonic() + timeout_ms / 1000
            while True:
                records = self._reader.take(records_max)
                if records:
                    self._ear.rest()
                    return records
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return []
                self._ear.wait(left_s)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """See Consumer."""
        self._check_open()
        self._reader.paused.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """See Consumer."""
        self._check_open()
        self._reader.paused.difference_update(partitions)
        self._reader.look_again()

    def close(self) -> None:
        """See Consumer."""
        if not self._closed:
            self._closed = True
            self._ear.close()
            self._connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed(f"{self._database.url}: the consumer is closed")
