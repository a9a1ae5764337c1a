"""Which partition a workflow id belongs to, from the description for other languages (schemas/README.md)."""

from __future__ import annotations

from functools import lru_cache

_SLOTS = 4096


def murmur2(data: bytes) -> int:
    """The hash of Kafka's own clients, as an unsigned number of 32 bits."""
    mask, multiplier = (1 << 32) - 1, 0x5BD1E995
    result = (0x9747B28C ^ len(data)) & mask
    words = len(data) // 4
    for number in range(words):
        part = int.from_bytes(data[4 * number : 4 * number + 4], "little")
        part = part * multiplier & mask
        part ^= part >> 24
        result = (result * multiplier & mask) ^ (part * multiplier & mask)
    rest = data[4 * words :]
    if rest:
        result = (result ^ int.from_bytes(rest, "little")) * multiplier & mask
    result ^= result >> 13
    result = result * multiplier & mask
    return result ^ result >> 15


@lru_cache(maxsize=65_536)
def partition_of(workflow_id: str, partitions: int) -> int:
    """The partition of commands and history that a workflow id belongs to."""
    return (murmur2(workflow_id.encode()) & 0x7FFFFFFF) % _SLOTS * partitions // _SLOTS
