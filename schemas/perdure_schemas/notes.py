"""Unnumbered facts kept with the events: folded into state, never shown to workflow code."""

from __future__ import annotations

from dataclasses import dataclass

from perdure_schemas.commands import ReplyAddress
from perdure_schemas.failure import Failure
from perdure_schemas.payload import Payload


@dataclass(frozen=True, slots=True)
class ActivationFailed:
    """Workflow code raised what does not fail the run; it is activated again at `retry_at_ms`."""

    attempt: int
    failure: Failure
    retry_at_ms: int


@dataclass(frozen=True, slots=True)
class ActivityAttemptStarted:
    """A worker announced an attempt. `granted` tells that this delivery alone may run it."""

    scheduled_event_id: int
    attempt: int
    nonce: str
    worker: ReplyAddress
    identity: str = ""
    granted: bool = False


@dataclass(frozen=True, slots=True)
class ActivityAttemptFailed:
    """An attempt failed or timed out, and another one follows at `retry_at_ms`."""

    scheduled_event_id: int
    attempt: int
    failure: Failure
    retry_at_ms: int
    last_heartbeat_details: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class ActivityAttemptDispatched:
    """A task for this attempt goes out (again): a retry is due, or a task was parked or may have aged away."""

    scheduled_event_id: int
    attempt: int
    heartbeat_details: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class ActivityHeartbeatRecorded:
    """The latest details of an attempt that heartbeats."""

    scheduled_event_id: int
    attempt: int
    counter: int
    details: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class ActivityTaskParked:
    """A task could not be written to its queue (topic gone, no permission); it is dispatched again at `retry_at_ms`."""

    scheduled_event_id: int
    attempt: int
    reason: str
    retry_at_ms: int


@dataclass(frozen=True, slots=True)
class RunParked:
    """The run's code is not activated until an operator resumes it: its inputs ended `strikes` owners one after the other (R14)."""

    strikes: int
    reason: str


@dataclass(frozen=True, slots=True)
class RunResumed:
    """An operator lets the run's code go on. Events in `skipped_event_ids` are never shown to it."""

    skipped_event_ids: tuple[int, ...] = ()
    identity: str = ""


Note = (
    ActivationFailed
    | ActivityAttemptStarted
    | ActivityAttemptFailed
    | ActivityAttemptDispatched
    | ActivityHeartbeatRecorded
    | ActivityTaskParked
    | RunParked
    | RunResumed
)
