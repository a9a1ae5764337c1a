"""Misreadings of how workflow code is run, and of how inputs that end their owner are kept apart (design.md 5, 6, R14)."""

from __future__ import annotations

from typing import Any

import pytest

from perdure._replay import border
from perdure._replay.loop import WorkflowLoop
from perdure_platform.partition.cautious import Admitted, Cautious, ProcessCaution
from perdure_platform.partition.owner import PartitionOwner
from perdure_schemas.history import Caution


def ready_set(patch: pytest.MonkeyPatch) -> None:
    """The dispatcher keeps what is ready in a set."""

    def mutant(self: Any, handles_max: int | None = None) -> None:
        while self._ready:
            for handle in set(self._ready):
                self._ready.remove(handle)
                if not handle._cancelled:
                    handle._run()
                if handles_max is not None:
                    handles_max -= 1
                    if handles_max <= 0:
                        return

    patch.setattr(WorkflowLoop, "run_until_blocked", mutant)


def strike_not_awaited(patch: pytest.MonkeyPatch) -> None:
    """An input is tried as soon as its strike is appended."""
    original = Cautious._go_on

    def mutant(self: Any, known: Caution, is_quiet: bool, confirmed_sequence: int) -> Admitted:
        return original(self, known, is_quiet, self.sequence)

    patch.setattr(Cautious, "_go_on", mutant)


def strikes_at_once(patch: pytest.MonkeyPatch) -> None:
    """Each partition of a process tries an input of its own."""
    patch.setattr(ProcessCaution, "take", lambda self, partition: True)


def border_skipped(patch: pytest.MonkeyPatch) -> None:
    """What workflow code hands over goes on as it is."""
    patch.setattr(border, "checked", lambda action: action)


def defects_not_contained(patch: pytest.MonkeyPatch) -> None:
    """Whatever comes up while an input is decided goes on to the partition."""

    def mutant(self: Any, workflow_id: str, batch: Any, now_ms: int, error: Exception) -> Any:
        raise error

    patch.setattr(PartitionOwner, "_contain", mutant)
