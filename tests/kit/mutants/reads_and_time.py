"""Misreadings of what has to be waited for: before an answer, before a timeout, before a timer (design.md 3.7, 3.9, R12, R13)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from perdure_platform.partition.barrier import Barrier, Question
from perdure_platform.partition.clock import PartitionClock
from perdure_platform.partition.timers import DueRuns
from perdure_platform.partition.transition import deadlines
from perdure_platform.partition.transition.draft import Draft
from perdure_schemas import events


def no_barrier(patch: pytest.MonkeyPatch) -> None:
    """Reads are answered at once."""
    patch.setattr(Barrier, "ask", lambda self, answer, sequence: answer())


def barrier_before_turn(patch: pytest.MonkeyPatch) -> None:
    """Reads do not wait for the records of their own turn."""

    def mutant(self: Any, answer: Any, sequence: int) -> None:
        self._questions.append(Question(answer, 0, self._numbers_made + 1))

    patch.setattr(Barrier, "ask", mutant)


def no_drain(patch: pytest.MonkeyPatch) -> None:
    """Timeouts fire by the clock alone."""
    original = deadlines.fire

    def mutant(draft: Draft) -> bool:
        draft.context = replace(draft.context, caught_up_ms=draft.context.now_ms)
        return original(draft)

    patch.setattr(deadlines, "fire", mutant)


def barrier_before_command(patch: pytest.MonkeyPatch) -> None:
    """The end of history that was fetched last will do for a read that arrives later."""
    original_collect = Barrier._collect

    def ask(self: Any, answer: Any, sequence: int) -> None:
        self._questions.append(Question(answer, sequence, self._numbers_made, getattr(self, "known_end", None)))

    def collect(self: Any, now_ms: int) -> None:
        ends = self._ends

        def remembered(request: Any) -> Any:
            found = ends(request)
            if found is not None:
                self.known_end = found[0]
            return found

        self._ends = remembered
        try:
            original_collect(self, now_ms)
        finally:
            self._ends = ends

    patch.setattr(Barrier, "ask", ask)
    patch.setattr(Barrier, "_collect", collect)


EARLY_MS = 5


def timers_early(patch: pytest.MonkeyPatch) -> None:
    """Timers fire a little early."""
    original_take, original_next, original_fire = DueRuns.take, DueRuns.next_ms, deadlines.fire

    def fire(draft: Draft) -> bool:
        is_done = original_fire(draft)
        run, now_ms = draft.open_run, draft.context.now_ms
        if run is not None and draft.context.caught_up_ms:
            for event_id, timer in sorted(run.timers.items()):
                if timer.due_ms <= now_ms + EARLY_MS:
                    draft.inbound(events.TimerFired(timer.timer_id, event_id))
        return is_done

    patch.setattr(DueRuns, "take", lambda self, now_ms: original_take(self, now_ms + EARLY_MS))
    patch.setattr(DueRuns, "next_ms", lambda self: original_next(self) - EARLY_MS)
    patch.setattr(deadlines, "fire", fire)


def clock_restarts(patch: pytest.MonkeyPatch) -> None:
    """A takeover's time begins with its own claim, wherever recorded time had got to."""
    original_init, original_observe = PartitionClock.__init__, PartitionClock.observe

    def init(self: Any, monotonic_ms: Callable[[], float], start_ms: int) -> None:
        original_init(self, monotonic_ms, 0)
        self.has_begun = False

    def observe(self: Any, append_time_ms: int) -> None:
        if self.has_begun:
            original_observe(self, append_time_ms)
        self.has_begun = True  # the first is recorded time

    patch.setattr(PartitionClock, "__init__", init)
    patch.setattr(PartitionClock, "observe", observe)
