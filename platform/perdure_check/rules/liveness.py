"""I8: what was begun ends. It can only be said of a namespace that was given the time for it."""

from __future__ import annotations

import re

from perdure_check.facts import Run
from perdure_check.fold import Fold
from perdure_check.rules.base import Rule

BOUND_MS = 30_000
"""By how much a timer may be late before the run counts as stuck."""


class Liveness(Rule):
    """Where all is said to be quiet: no run has inputs that its code has not seen, or is overdue; the others are closed."""

    invariant = "I8"
    title = "liveness"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._open = 0
        self._blocked: list[str] = []
        self._parked: list[str] = []

    def partition_read(self, fold: Fold) -> None:
        """See Rule."""
        pattern = self.context.options.may_stay_open
        now_ms = self.context.positions[fold.partition].time_ms
        for run in fold.runs.values():
            if not run.is_open:
                continue
            self._open += 1
            if run.parked:
                self._parked.append(run.workflow_id)
            elif run.blocked:
                self._blocked.append(run.workflow_id)
            elif self.context.options.quiescent:
                self._look(run, now_ms, pattern)

    def _look(self, run: Run, now_ms: int, pattern: str) -> None:
        if run.pending and not run.started.get("first_activation_delay_ms"):
            self.breaks(f"its code has not seen {run.pending} events", None, run)
        elif run.timers and min(run.timers.values()) + BOUND_MS < now_ms:
            self.breaks(f"a timer was due at {min(run.timers.values())}, and it is {now_ms}", None, run)
        elif pattern and not re.fullmatch(pattern, run.workflow_id):
            self.breaks("it is open, and does not wait for anybody", None, run)

    def finish(self) -> None:
        """See Rule."""
        self.detail = f"{self._open} runs are open"
        for ids, what in ((self._blocked, "blocked by their code"), (self._parked, "parked until somebody resumes them")):
            if ids:
                self.detail += f"; {len(ids)} are {what}: {', '.join(sorted(ids)[:5])}"
        if not self.context.options.quiescent:
            self.not_checked = f"the namespace is not said to be quiet (--quiescent); {self.detail}"
