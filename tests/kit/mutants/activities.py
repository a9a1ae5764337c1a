"""Misreadings of who may run an attempt, and of which outcome counts (design.md 7, R21)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from perdure._activity_worker.attempt import Attempt, Ending
from perdure._activity_worker.poll import Poller
from perdure_platform.partition.transition import activity, handlers
from perdure_platform.partition.transition.draft import Draft
from perdure_schemas.commands import ActivityStarted


def any_result(patch: pytest.MonkeyPatch) -> None:
    """A result counts whatever its attempt."""

    def mutant(draft: Draft, reference: Any) -> Any:
        run = draft.open_run
        return None if run is None else run.activities.get(reference.scheduled_event_id)

    patch.setattr(activity, "find", mutant)


def grant_without_nonce(patch: pytest.MonkeyPatch) -> None:
    """A grant is for an attempt, whoever asks for it."""
    original = activity.started

    def mutant(draft: Draft, command: ActivityStarted, trace_parent: str) -> None:
        found = activity.find(draft, command.activity)
        if found is not None and found.start is not None:
            command = replace(command, nonce=found.start.nonce)
        original(draft, command, trace_parent)

    patch.setitem(handlers.HANDLERS, ActivityStarted, mutant)


def offset_after_run(patch: pytest.MonkeyPatch) -> None:
    """A task's offset is committed when its attempt has ended."""
    original_live, original_settle = Attempt._live, Attempt._settle

    async def live(self: Any) -> Ending:
        ending = await original_live(self)
        if ending is Ending.SETTLED:
            original_settle(self)
        return ending

    def committed(self: Any, partition: int, offset: int) -> asyncio.Future[bool]:
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        done.set_result(True)
        return done

    patch.setattr(Attempt, "_live", live)
    patch.setattr(Attempt, "_settle", lambda self: None)
    patch.setattr(Poller, "committed", committed)
