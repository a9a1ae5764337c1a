"""The part of the fold that belongs to no run: how far the partition has come (design.md 3.2, 3.5, 3.6).

Only ever raised: a record with lower numbers, however it came about, changes nothing (W6).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from perdure_platform.partition.transition.caution import advance_caution
from perdure_schemas.history import Carried, Caution, Checkpoint, Claim, Forget, HistoryRecord, Mark, Strike
from perdure_schemas.live import LiveState


@dataclass(frozen=True, slots=True)
class Positions:
    """`next_offset` is where reading goes on. `time_ms` is recorded time, which never goes back; the rest is as in the records."""

    next_offset: int = 0
    leader_epoch: int = -1
    live: LiveState = field(default_factory=LiveState)
    watermark: int = -1
    released: int = -1
    marks: dict[str, Mark] = field(default_factory=dict)
    time_ms: int = 0
    start: int = 0
    """The checkpoint that was last named as the log's start; 0 where the log has not been trimmed."""
    caution: Caution = field(default_factory=Caution)
    format_level: int = 1
    """What an owner must read to claim the partition (R15)."""


def step_over(positions: Positions, offset: int, leader_epoch: int) -> Positions:
    """A dead record: nothing but the place changes."""
    return replace(positions, next_offset=offset + 1, leader_epoch=leader_epoch)


def advance(positions: Positions, record: HistoryRecord, live: LiveState, offset: int, leader_epoch: int, append_time_ms: int) -> Positions:
    """The positions behind a live record."""
    time_ms = max(positions.time_ms, record.time_ms, append_time_ms)
    caution = advance_caution(positions.caution, record, time_ms)
    if isinstance(record, Claim | Forget | Carried | Strike):
        released = positions.released if isinstance(record, Claim) else max(positions.released, record.released)
        behind = step_over(positions, offset, leader_epoch)
        return replace(behind, released=released, live=live, time_ms=time_ms, caution=caution)
    watermark = positions.watermark if record.watermark is None else max(positions.watermark, record.watermark)
    return Positions(
        offset + 1,
        leader_epoch,
        live,
        watermark,
        max(positions.released, record.released),
        raised(positions.marks, record.marks) if record.marks else positions.marks,
        time_ms,
        max(positions.start, record.start) if isinstance(record, Checkpoint) else positions.start,
        caution,
        max(positions.format_level, record.format_level) if isinstance(record, Checkpoint) else positions.format_level,
    )


def raised(marks: dict[str, Mark], by: dict[str, Mark]) -> dict[str, Mark]:
    """For each source the higher mark."""
    result = dict(marks)
    for source, mark in by.items():
        known = result.get(source)
        if known is None or (mark.offset, mark.index) > (known.offset, known.index):
            result[source] = mark
    return result
