"""Which partition a workflow id belongs to; clients of other languages must be able to repeat this (design.md 2)."""

from functools import lru_cache

SLOTS = 4096
"""Ids hash to slots and slots map to partitions, so that neighbouring slots stay together whatever the partition count."""

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


def murmur2(data: bytes) -> int:
    """The 32-bit hash that Kafka's own clients use (MurmurHash2, seed 0x9747b28c), as an unsigned number."""
    length = len(data)
    value = 0x9747B28C ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        word = (word ^ (word >> 24)) * _M & _MASK
        value = (value * _M & _MASK) ^ word
    if tail := data[whole:]:
        value = (value ^ int.from_bytes(tail, "little")) * _M & _MASK
    value = (value ^ (value >> 13)) * _M & _MASK
    return value ^ (value >> 15)


@lru_cache(maxsize=16_384)
def slot_of(workflow_id: str) -> int:
    """The slot of a workflow id, 0 to 4095."""
    return (murmur2(workflow_id.encode()) & 0x7FFFFFFF) % SLOTS


def partition_of(workflow_id: str, partition_count: int) -> int:
    """The partition of `ns.commands` and `ns.history` that a workflow id belongs to."""
    return slot_of(workflow_id) * partition_count // SLOTS
