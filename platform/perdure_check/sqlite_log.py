"""Reads a log in a SQLite file by plain SQL, through a connection that cannot write.

A row of `batch` holds several records of one partition: its id is the partition's number and, in the lower 40 bits, the offset of its
first record; its blob is, for each record, the sizes of key (-1: none) and value and the number of headers, then these; the checksum is a
CRC-32 over id and time and the blob.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from perdure_check.log import Bounds, Record, Trimmed, Unreadable

_APPLICATION_ID = 0x50455244
_FORMAT = 1
_OFFSET_BITS = 40
_SIZES = struct.Struct(">iiH")
_HEADER_SIZES = struct.Struct(">Hi")
_IDENTITY = struct.Struct(">qq")
_ROWS_AT_ONCE = 64
_BUSY_TIMEOUT_S = 30.0


class SqliteLog:
    """A file. Transactions are short, so that the write-ahead log of those who write need not grow for this reader."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise Unreadable(f"there is no file {path}")
        try:
            self._connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            (identity,) = self._connection.execute("PRAGMA application_id").fetchone()
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        if (identity, version) != (_APPLICATION_ID, _FORMAT):
            raise Unreadable(f"{path} is no log of Perdure that this release reads (application id {identity:#x}, format {version})")

    def topics(self, prefix: str) -> dict[str, int]:
        """See Source."""
        sql = "SELECT name, count(*) FROM topic JOIN partition ON partition.topic = topic.id GROUP BY name"
        return {name: count for name, count in self._rows(sql) if name.startswith(prefix)}

    def bounds(self, topic: str, partition: int) -> Bounds:
        """See Source."""
        return self._place(topic, partition)[1]

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See Source."""
        number, _ = self._place(topic, partition)
        next_offset = start
        while next_offset < end:
            rows = self._rows(
                # The batch that holds the offset may begin before it.
                "SELECT id, next_offset, timestamp_ms, checksum, records FROM batch WHERE id >= "
                "coalesce((SELECT max(id) FROM batch WHERE id <= ?1 AND id >= ?2), ?1) AND id < ?3 ORDER BY id LIMIT ?4",
                (number << _OFFSET_BITS | next_offset, number << _OFFSET_BITS, number << _OFFSET_BITS | end, _ROWS_AT_ONCE),
            )
            before = next_offset
            for row in rows:
                for record in self._unpack(topic, partition, row):
                    if next_offset == record.offset < end:
                        next_offset += 1
                        yield record
            if next_offset == before:
                if self.bounds(topic, partition).start > next_offset:
                    raise Trimmed(f"{topic}[{partition}] of {self._path}: the record at offset {next_offset} was deleted meanwhile")
                raise Unreadable(f"{topic}[{partition}] of {self._path}: the record at offset {next_offset} is missing")

    def close(self) -> None:
        """See Source."""
        self._connection.close()

    def _place(self, topic: str, partition: int) -> tuple[int, Bounds]:
        rows = self._rows(
            "SELECT partition.id, start_offset, next_offset FROM partition JOIN topic ON topic.id = partition.topic "
            "WHERE name = ? AND partition = ?",
            (topic, partition),
        )
        if not rows:
            raise Unreadable(f"{self._path} has no {topic}[{partition}]")
        return rows[0][0], Bounds(rows[0][1], rows[0][2])

    def _rows(self, sql: str, arguments: tuple[object, ...] = ()) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._connection.execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: sqlite3.Error) -> Unreadable:
        return Unreadable(f"{self._path} cannot be read: {type(error).__name__}: {error}")

    def _unpack(self, topic: str, partition: int, row: tuple[int, int, int, int, bytes]) -> Iterator[Record]:
        identity, end, timestamp_ms, checksum, blob = row
        offset = identity & (1 << _OFFSET_BITS) - 1
        where = f"{topic}[{partition}] of {self._path}, the records from offset {offset} on"
        if zlib.crc32(blob, zlib.crc32(_IDENTITY.pack(identity, timestamp_ms))) != checksum:
            raise Unreadable(f"{where}: they do not have the checksum that they were written with")
        at = 0
        try:
            while at < len(blob):
                key_bytes, value_bytes, header_count = _SIZES.unpack_from(blob, at)
                at += _SIZES.size
                key = None if key_bytes < 0 else blob[at : at + key_bytes]
                at += max(key_bytes, 0)
                value = blob[at : at + value_bytes]
                at += value_bytes
                headers = []
                for _ in range(header_count):
                    name_bytes, content_bytes = _HEADER_SIZES.unpack_from(blob, at)
                    at += _HEADER_SIZES.size
                    headers.append((blob[at : at + name_bytes].decode(), blob[at + name_bytes : at + name_bytes + content_bytes]))
                    at += name_bytes + content_bytes
                yield Record(topic, partition, offset, timestamp_ms, key, value, tuple(headers))
                offset += 1
        except (struct.error, UnicodeDecodeError) as error:
            raise Unreadable(f"{where}: {error}") from error
        if offset != end:
            raise Unreadable(f"{where}: they end at {offset}, and {end} was written")
