"""Misreadings of how workflow code is run, and of how inputs that end their owner are kept apart (design.md 5, 6, R14)."""

from __future__ import annotations

from typing import Any

import pytest

from perdure._replay import border
from perdure._replay.activate import CodeInstance
from perdure._replay.loop import WorkflowLoop
from perdure_platform.partition import isolation, owner
from perdure_platform.partition.isolation import Admitted, Isolation, ProcessIsolation, Suspects
from perdure_platform.partition.owner import PartitionOwner
from perdure_platform.partition.transition import caution
from perdure_platform.partition.transition.state import FAR_AHEAD_MS


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


def hash_counts_all(patch: pytest.MonkeyPatch) -> None:
    """A task's hash is its number among all tasks and futures, those of asyncio and Perdure too."""
    patch.setattr(WorkflowLoop, "next_task", lambda self, *, is_own: self._made)


def group_as_error(patch: pytest.MonkeyPatch) -> None:
    """A group of exceptions is an error of the code, whatever its members are."""
    patch.setattr(CodeInstance, "_what_group_is", lambda self, group: group)


def strike_not_awaited(patch: pytest.MonkeyPatch) -> None:
    """A suspect is tried as soon as its strike is appended."""
    original = Isolation.admit

    def mutant(self: Any, *arguments: Any, confirmed_sequence: int, **keywords: Any) -> Admitted:
        return original(self, *arguments, confirmed_sequence=self._sequence, **keywords)

    patch.setattr(Isolation, "admit", mutant)


def strikes_at_once(patch: pytest.MonkeyPatch) -> None:
    """Each partition of a process tries a suspect of its own."""
    patch.setattr(ProcessIsolation, "take", lambda self, partition: True)
    patch.setattr(ProcessIsolation, "holds_up", lambda self, partition: False)


def suspects_flow(patch: pytest.MonkeyPatch) -> None:
    """What an owner may have been handling when it died is given to the next one like everything else."""
    patch.setattr(owner, "suspects_of", lambda *arguments: Suspects())


def all_are_suspects(patch: pytest.MonkeyPatch) -> None:
    """Behind a death every input is tried on its own, also what has come since."""
    patch.setattr(isolation, "last_death_ms", lambda caution: FAR_AHEAD_MS)


def group_cleared_early(patch: pytest.MonkeyPatch) -> None:
    """The strike of a group is cleared by the first record behind it, and not by the one behind all of it."""
    patch.setattr(caution, "_is_group_tried", lambda known: False)


def border_skipped(patch: pytest.MonkeyPatch) -> None:
    """What workflow code hands over goes on as it is."""
    patch.setattr(border, "checked", lambda action: action)


def defects_not_contained(patch: pytest.MonkeyPatch) -> None:
    """Whatever comes up while an input is decided goes on to the partition."""

    def mutant(self: Any, workflow_id: str, batch: Any, now_ms: int, error: Exception) -> Any:
        raise error

    patch.setattr(PartitionOwner, "_contain", mutant)
