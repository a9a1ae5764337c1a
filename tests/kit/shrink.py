"""From a schedule that fails to a tape of little more than what makes it fail: fewer steps, fewer choices that are not plain (ddmin).

python -m kit.shrink --mutant NAME [--trims | --real]   makes the tape that catches a misreading of the protocol anew
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kit.chooser import Place, Tape
from kit.mutants.registry import MUTANTS
from kit.schedule import LONG
from kit.schedules import AnySchedule, from_tape, scheduled

SEEDS_MAX = 1_000
TAPES = Path("tests/sim/tapes")

RUNS_MAX = 1_000
"""After so many runs, what is found by then is taken."""


def failure_of(schedule: AnySchedule) -> Exception | None:
    """Run it; what it fails with."""
    try:
        schedule.run()
    except Exception as error:
        return error
    return None


def kind_of(error: Exception) -> str:
    """What stays the same of an error when the schedule gets shorter: its class, and how it begins, without numbers."""
    return f"{type(error).__name__}: {re.sub('[0-9]+', '', str(error))[:40]}"


def shrink(schedule: AnySchedule, runs_max: int = RUNS_MAX) -> Tape:
    """A small tape that fails as this schedule, which has not run yet, does. Raises ValueError if it does not fail."""
    error = failure_of(schedule)
    if error is None:
        raise ValueError("it keeps every promise")
    return Shrinker(schedule.written, kind_of(error), runs_max).run()


class Shrinker:
    """Holds the smallest tape that was seen to fail."""

    def __init__(self, tape: Tape, kind: str, runs_max: int) -> None:
        self.tape = tape
        self._kind = kind
        self._runs_left = runs_max

    def run(self) -> Tape:
        """Shrink until nothing more can be left out, or enough was tried."""
        size = -1
        while size != self._size() and self._runs_left > 0:
            size = self._size()
            self._fewer_steps()
            self._fewer_choices()
            self._plainer_choices()
        return self.tape

    def _size(self) -> int:
        return self.tape.steps + sum(self.tape.choices.values())

    def _fewer_steps(self) -> None:
        less = self.tape.steps // 2
        while less:
            if not (less < self.tape.steps and self._still_fails(replace(self.tape, steps=self.tape.steps - less))):
                less //= 2

    def _fewer_choices(self) -> None:
        at_once = len(self.tape.choices) // 2
        while at_once:
            for places in _chunks(list(self.tape.choices), at_once):
                self._still_fails(self._with({place: choice for place, choice in self.tape.choices.items() if place not in places}))
            at_once //= 2

    def _plainer_choices(self) -> None:
        for place, choice in list(self.tape.choices.items()):
            for less in {1, choice // 2, choice - 1} - {0, choice}:
                if place in self.tape.choices and less < self.tape.choices[place]:
                    self._still_fails(self._with({**self.tape.choices, place: less}))

    def _with(self, choices: dict[Place, int]) -> Tape:
        return replace(self.tape, choices=choices)

    def _still_fails(self, tape: Tape) -> bool:
        """Whether it fails in the same way; then what was really chosen in it is the tape to go on with."""
        if self._runs_left <= 0 or (tape.choices == self.tape.choices and tape.steps == self.tape.steps):
            return False
        self._runs_left -= 1
        schedule = from_tape(tape)
        error = failure_of(schedule)
        if error is None or kind_of(error) != self._kind:
            return False
        self.tape = schedule.written
        return True


def _chunks(places: Sequence[Place], at_once: int) -> Iterator[set[Place]]:
    """From the end, where less depends on it."""
    for end in range(len(places), 0, -at_once):
        yield set(places[max(0, end - at_once) : end])


def main() -> int:
    """Make the tape of a mutant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutant", required=True)
    parser.add_argument("--trims", action="store_true", help="look among schedules that trim all the time")
    parser.add_argument("--real", action="store_true", help="look among schedules with real clients and workers")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)

    def of(seed: int) -> AnySchedule:
        return scheduled(seed, LONG, trims=arguments.trims, is_real=arguments.real)

    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[arguments.mutant](patch)
        for seed in range(SEEDS_MAX):
            if failure_of(of(seed)) is not None:
                tape = shrink(of(seed))
                error = failure_of(from_tape(tape))
                tape.save(TAPES / f"mutant-{arguments.mutant}.tape", [f"{type(error).__name__}: {error}"])
                return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
