"""What a run's code waits for: each knows the action that asked for it, and later the event that the action became.

Once it is an event, what the action carried is dropped: inputs lie in the history, and may be large.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from perdure._replay.actions import CancelExternalWorkflow, ScheduleActivity, SignalExternalWorkflow, StartTimer
from perdure._replay.loop import WorkflowTimerHandle
from perdure_schemas.payload import Payload, Payloads

_NO_HEADER: dict[str, Payload] = {}
"""Shared, and never written to."""


class Evicted(BaseException):
    """Raised where dropped code asks for something; it reaches nobody."""


@dataclass(eq=False, slots=True)
class PendingActivity:
    """An activity under way."""

    action: ScheduleActivity
    future: asyncio.Future[Payloads]
    result_type: Any
    event_id: int = 0
    is_cancel_requested: bool = False
    is_awaited: bool = False
    """Whether its task has begun. A task that is cancelled before never does."""

    def became(self, event_id: int) -> None:
        """The action is an event now."""
        self.event_id = event_id
        self.action = replace(self.action, input=(), header=_NO_HEADER)


@dataclass(eq=False, slots=True)
class PendingTimer:
    """A timer under way, and the callback of the loop that it belongs to."""

    action: StartTimer
    handle: WorkflowTimerHandle
    event_id: int = 0

    def became(self, event_id: int) -> None:
        """The action is an event now."""
        self.event_id = event_id


@dataclass(eq=False, slots=True)
class PendingExternal:
    """A signal or a cancel to another workflow, not answered yet."""

    action: SignalExternalWorkflow | CancelExternalWorkflow
    future: asyncio.Future[None]
    event_id: int = 0

    def became(self, event_id: int) -> None:
        """The action is an event now."""
        self.event_id = event_id
        if isinstance(self.action, SignalExternalWorkflow):
            self.action = replace(self.action, input=(), header=_NO_HEADER)
