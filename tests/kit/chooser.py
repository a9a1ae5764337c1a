"""The one source of order and chance of a simulation: every choice has a name, comes from a seed or from a tape, and is written down.

A tape holds only what was chosen otherwise than plainly (0), under the step in which it was. So anything may be cut out of it without
moving what stands behind, a part that the code no longer asks for is passed over, and a new question gets the plain answer.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Place(NamedTuple):
    """Where a choice was made: the step, what was asked, and how often that had been asked before in this step."""

    step: str
    what: str
    nth: int


@dataclass
class Tape:
    """Choices that were not plain, in the order in which they were made, and what is not chosen: how long to go on, with what bias, and
    whether clients and workers are real."""

    steps: int
    trims: bool = False
    is_real: bool = False
    choices: dict[Place, int] = field(default_factory=dict)

    def save(self, path: Path, about: Iterable[str] = ()) -> None:
        """Write it to a file, one choice a line, below lines that say what it is about."""
        lines = [f"# {line}" for text in about for line in text.splitlines()]
        lines += [f"steps {self.steps}", f"trims {int(self.trims)}", f"real {int(self.is_real)}"]
        lines += [f"{place.step}\t{place.what}\t{place.nth}\t{choice}" for place, choice in self.choices.items()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> Tape:
        """Read what `save` wrote."""
        lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
        about = dict(line.split(" ") for line in lines if "\t" not in line)
        tape = cls(int(about["steps"]), about["trims"] == "1", about.get("real") == "1")
        for line in (line for line in lines if "\t" in line):
            step, what, nth, choice = line.split("\t")
            tape.choices[Place(step, what, int(nth))] = int(choice)
        return tape


class Chooser:
    """Draws from a seed, or reads a tape; `written` is a tape of what it chose. Choices are made within a `part` of the schedule."""

    def __init__(self, source: int | Tape, written: Tape) -> None:
        self.written = written
        self._tape = source.choices if isinstance(source, Tape) else None
        self._chance = random.Random() if isinstance(source, Tape) else random.Random(source)
        self._part = ""
        self._asked: Counter[str] = Counter()
        self._parts_within = 0

    @contextmanager
    def part(self, name: str = "") -> Iterator[str]:
        """What is chosen meanwhile belongs to this part: without a name, to the next step, or to the next one within the step under way."""
        if not name:
            self._parts_within += 1
            name = f"{self._part}.{self._parts_within}" if self._part else str(self._parts_within)
        around = self._part, self._asked, self._parts_within
        self._part, self._asked, self._parts_within = name, Counter(), 0
        try:
            yield name
        finally:
            self._part, self._asked, self._parts_within = around

    def happens(self, what: str, rate: float) -> bool:
        """Whether it happens, which from a seed it does at this rate; plainly, it does not."""
        return self._made(what, 2, int(self._chance.random() < rate) if self._tape is None else -1) == 1

    def number(self, what: str, below: int) -> int:
        """A number from 0, evenly; 0 is the plain one."""
        return self._made(what, below, int(self._chance.random() * below) if self._tape is None else -1)

    def among(self, what: str, options: Sequence[T]) -> T:
        """One of them, evenly; the first is the plain one."""
        return options[self.number(what, len(options))]

    def order(self, what: str, options: Sequence[T]) -> list[T]:
        """All of them in some order; plainly, in theirs."""
        left = list(options)
        return [left.pop(self.number(what, len(left))) for _ in range(len(left) - 1)] + left

    def _made(self, what: str, options: int, drawn: int) -> int:
        place = Place(self._part, what, self._asked[what])
        self._asked[what] += 1
        choice = drawn
        if self._tape is not None:
            choice = self._tape.get(place, 0)
            choice = choice if 0 <= choice < options else 0
        if choice:
            self.written.choices[place] = choice
        return choice
