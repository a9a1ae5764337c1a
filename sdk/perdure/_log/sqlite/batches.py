"""Several records of one partition as one blob, and where it lies."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from perdure._log.errors import PartitionDamaged
from perdure._log.port import Headers, Record

OFFSET_BITS = 40

_RECORD = struct.Struct(">iiH")
"""Bytes of the key or -1, bytes of the value, number of headers; then key, value and headers."""
_HEADER = struct.Struct(">Hi")
"""Bytes of the name and of the content; then both."""
_PLACE = struct.Struct(">qq")


def batch_id(partition_id: int, offset: int) -> int:
    """Key of the batch that begins with `offset`; batches of a partition are neighbours, in order."""
    return partition_id << OFFSET_BITS | offset


def pack(records: Iterable[tuple[bytes | None, bytes, Headers]]) -> bytes:
    """The records' keys, values and headers as one blob."""
    parts: list[bytes] = []
    for key, value, headers in records:
        parts.append(_RECORD.pack(-1 if key is None else len(key), len(value), len(headers)))
        if key is not None:
            parts.append(key)
        parts.append(value)
        for name, content in headers:
            encoded = name.encode()
            parts += (_HEADER.pack(len(encoded), len(content)), encoded, content)
    return b"".join(parts)


def checksum(identity: int, timestamp_ms: int, blob: bytes) -> int:
    """Tells a batch that was changed or put elsewhere."""
    return zlib.crc32(blob, zlib.crc32(_PLACE.pack(identity, timestamp_ms)))


def unpack(topic: str, partition: int, row: tuple[int, int, int, int, bytes]) -> list[Record]:
    """The records of a row of `batch` (id, next offset, time, checksum, blob). Raises PartitionDamaged."""
    identity, next_offset, timestamp_ms, expected, blob = row
    first = offset = identity & (1 << OFFSET_BITS) - 1
    if checksum(identity, timestamp_ms, blob) != expected:
        raise PartitionDamaged(topic, partition, f"the records from offset {first} on do not have the checksum they were written with")
    records: list[Record] = []
    at = 0
    while at < len(blob):
        key_bytes, value_bytes, header_count = _RECORD.unpack_from(blob, at)
        at += _RECORD.size
        key = None
        if key_bytes >= 0:
            key = blob[at : at + key_bytes]
            at += key_bytes
        value = blob[at : at + value_bytes]
        at += value_bytes
        headers = []
        for _ in range(header_count):
            name_bytes, content_bytes = _HEADER.unpack_from(blob, at)
            at += _HEADER.size
            headers.append((blob[at : at + name_bytes].decode(), blob[at + name_bytes : at + name_bytes + content_bytes]))
            at += name_bytes + content_bytes
        records.append(Record(topic, partition, offset, timestamp_ms, key, value, tuple(headers)))
        offset += 1
    if offset != next_offset:
        raise PartitionDamaged(topic, partition, f"{offset - first} records at offset {first}, and {next_offset - first} were written")
    return records
