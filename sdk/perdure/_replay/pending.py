"""What a run's code waits for: each knows the action that asked for it, and later the event that the action became."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from perdure._replay.actions import CancelExternalWorkflow, ScheduleActivity, SignalExternalWorkflow, StartTimer
from perdure_schemas.payload import Payloads


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


@dataclass(eq=False, slots=True)
class PendingTimer:
    """A timer under way, and the callback of the loop that it belongs to."""

    action: StartTimer
    handle: asyncio.TimerHandle
    event_id: int = 0


@dataclass(eq=False, slots=True)
class PendingExternal:
    """A signal or a cancel to another workflow, not answered yet."""

    action: SignalExternalWorkflow | CancelExternalWorkflow
    future: asyncio.Future[None]
    event_id: int = 0
