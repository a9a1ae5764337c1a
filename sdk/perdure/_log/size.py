"""How large a record may be: one limit for every medium, so that what fits into one log fits into another."""

from __future__ import annotations

from perdure._log.errors import RecordTooLarge
from perdure._log.port import Headers
from perdure_schemas.topics import RECORD_BYTES_MAX

_FRAME_BYTES = 512
"""What a medium may add around a record and its batch; Kafka's limit counts that too."""


def check_size(topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers) -> int:
    """The record's size in bytes. Raises RecordTooLarge if no medium would take it."""
    size = len(value)
    if key is not None:
        size += len(key)
    for name, content in headers:
        size += len(name) + len(content) + 10
    if size + _FRAME_BYTES > RECORD_BYTES_MAX:
        raise RecordTooLarge(
            f"a record of {size:,} bytes for {topic}[{partition}] exceeds the limit of {RECORD_BYTES_MAX - _FRAME_BYTES:,}"
        )
    return size
