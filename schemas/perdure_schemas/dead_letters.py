"""What could not be used, kept for operators: the records of `ns.dead-letters`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was set aside, where it came from and why. `value` is its bytes as they were."""

    source_topic: str
    source_partition: int
    source_offset: int
    reason: str
    message: str
    key: bytes
    value: bytes
    recorded_at_ms: int
