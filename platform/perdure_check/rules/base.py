"""What all rules have in common: they are told facts, remember what breaks them, and say a verdict at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from perdure_check.context import Context
from perdure_check.facts import Arrived, Entry, Fact, Run
from perdure_check.fold import Fold
from perdure_check.verdict import WITNESSES_MAX, State, Verdict, Witness

Watcher = Callable[[Fact], None]


class Rule:
    """One invariant of faults.md 4. Order: every history, partition by partition, then commands, tasks, replies and dead letters."""

    invariant: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, context: Context) -> None:
        self.context = context
        self.broken = 0
        self.witnesses: list[Witness] = []
        self.detail = ""
        self.not_checked = ""
        """Why it could not be judged; empty if it was."""

    def watches(self) -> Mapping[str, Watcher]:
        """Kind of event or note -> who is told of it."""
        return {}

    def entry(self, entry: Entry) -> None:
        """A record of a history, live or dead; the events of a live one come after it."""

    def forgotten(self, run: Run, entry: Entry) -> None:
        """A run was forgotten by a live record."""

    def partition_read(self, fold: Fold) -> None:
        """A history was read to its end; `fold` has its runs."""

    def command(self, arrived: Arrived) -> None:
        """A record of the commands topic."""

    def task(self, arrived: Arrived) -> None:
        """A record of a tasks topic."""

    def reply(self, arrived: Arrived) -> None:
        """A record of the replies topic."""

    def dead_letter(self, arrived: Arrived) -> None:
        """A record of the dead letters topic."""

    def finish(self) -> None:
        """Everything was read: what can only be said now."""

    def breaks(self, sentence: str, entry: Entry | None = None, run: Run | None = None, *offsets: int) -> None:
        """The invariant is broken, and this shows it."""
        places = (*((entry.offset,) if entry is not None else ()), *offsets)
        partition = entry.partition if entry is not None else run.partition if run is not None else -1
        self.witness(Witness(sentence, partition, places, *((run.workflow_id, run.run_id) if run is not None else ("", ""))))

    def witness(self, witness: Witness) -> None:
        """The invariant is broken, and this shows it."""
        self.broken += 1
        if len(self.witnesses) < WITNESSES_MAX:
            self.witnesses.append(witness)

    def verdict(self) -> Verdict:
        """What is to be said in the end."""
        state = State.BROKEN if self.broken else State.NOT_CHECKED if self.not_checked else State.HOLDS
        detail = self.not_checked if state is State.NOT_CHECKED else self.detail
        return Verdict(self.invariant, self.title, state, detail, self.broken, tuple(self.witnesses))
