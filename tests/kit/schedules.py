"""Both kinds of random schedules, as one: by their seed, or by a tape, which says of what kind it is."""

from __future__ import annotations

from kit.chooser import Tape
from kit.real_schedule import RealSchedule
from kit.schedule import Schedule

AnySchedule = Schedule | RealSchedule


def scheduled(source: int | Tape, steps: int, *, trims: bool = False, is_real: bool = False) -> AnySchedule:
    """The schedule of a seed, or of a tape, to which the rest then means nothing."""
    if isinstance(source, Tape):
        return RealSchedule(source) if source.is_real else Schedule(source)
    return RealSchedule(source, steps) if is_real else Schedule(source, steps, trims=trims)


def from_tape(tape: Tape) -> AnySchedule:
    """The schedule that a tape tells."""
    return scheduled(tape, tape.steps)
