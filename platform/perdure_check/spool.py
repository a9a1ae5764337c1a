"""A partition as it was at one moment, in a temporary file.

A trimmed history is read several times, to find where it may be begun and to begin there; its owner may trim it again meanwhile.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from typing import IO

from perdure_check.log import Bounds, Place, Record, Source

_HEAD = struct.Struct(">qqii")
"""Offset, time, bytes of the key or -1, bytes of the value. Headers of histories say nothing and are left out."""


class Spooled:
    """A log of which some partitions lie in temporary files; what is not spooled is read from where it is."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._files: dict[Place, tuple[IO[bytes], Bounds]] = {}

    def spool(self, topic: str, partition: int, bounds: Bounds) -> None:
        """Copy what lies within `bounds`. Raises Trimmed if it goes while it is read."""
        file = tempfile.TemporaryFile(prefix="perdure-check-")  # noqa: SIM115 - it lives as long as this object
        try:
            for record in self._source.read(topic, partition, bounds.start, bounds.end):
                key = record.key or b""
                file.write(_HEAD.pack(record.offset, record.timestamp_ms, -1 if record.key is None else len(key), len(record.value)))
                file.write(key)
                file.write(record.value)
        except BaseException:
            file.close()
            raise
        self._files[topic, partition] = file, bounds

    def topics(self, prefix: str) -> dict[str, int]:
        """See Source."""
        return self._source.topics(prefix)

    def bounds(self, topic: str, partition: int) -> Bounds:
        """See Source."""
        return self._source.bounds(topic, partition)

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See Source."""
        spooled = self._files.get((topic, partition))
        if spooled is None or not spooled[1].start <= start <= end <= spooled[1].end:
            yield from self._source.read(topic, partition, start, end)
            return
        file, _ = spooled
        at = 0
        while True:
            file.seek(at)  # another reader may be in the middle of it
            head = file.read(_HEAD.size)
            if not head:
                return
            offset, timestamp_ms, key_bytes, value_bytes = _HEAD.unpack(head)
            at += _HEAD.size + max(key_bytes, 0) + value_bytes
            if offset >= end:
                return
            if offset >= start:
                key = None if key_bytes < 0 else file.read(key_bytes)
                yield Record(topic, partition, offset, timestamp_ms, key, file.read(value_bytes))

    def close(self) -> None:
        """Delete the files; the log itself stays open."""
        for file, _ in self._files.values():
            file.close()
        self._files.clear()
