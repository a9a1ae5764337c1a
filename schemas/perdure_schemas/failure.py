"""Errors on the wire. A failure is data: a reader never imports or raises a type that the wire names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from perdure_schemas.payload import Payload

FAILURE_CAUSES_MAX = 100
"""Number of causes of a failure that are kept; a longer chain is cut where it is made and refused where it is read."""


class TimeoutType(IntEnum):
    """Which of the timeouts passed; the numbers are Temporal's."""

    START_TO_CLOSE = 1
    SCHEDULE_TO_START = 2
    SCHEDULE_TO_CLOSE = 3
    HEARTBEAT = 4


class RetryState(IntEnum):
    """Why no further attempt was made; the numbers are Temporal's."""

    UNSPECIFIED = 0
    IN_PROGRESS = 1
    NON_RETRYABLE_FAILURE = 2
    TIMEOUT = 3
    MAXIMUM_ATTEMPTS_REACHED = 4
    RETRY_POLICY_NOT_SET = 5
    INTERNAL_SERVER_ERROR = 6
    CANCEL_REQUESTED = 7


class ApplicationErrorCategory(IntEnum):
    """How loudly an application error is reported; it never changes what is retried."""

    UNSPECIFIED = 0
    BENIGN = 1


@dataclass(frozen=True, slots=True)
class ApplicationFailureInfo:
    """An exception of user code. `next_retry_delay_ms` 0 means that the retry policy decides."""

    type: str = ""
    non_retryable: bool = False
    details: tuple[Payload, ...] = ()
    next_retry_delay_ms: int = 0
    category: ApplicationErrorCategory = ApplicationErrorCategory.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class TimeoutFailureInfo:
    """A timeout, with the last heartbeat details recorded before it."""

    timeout_type: TimeoutType
    last_heartbeat_details: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class CanceledFailureInfo:
    """A cancellation that was carried out."""

    details: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class TerminatedFailureInfo:
    """A run that an operator ended."""

    details: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerFailureInfo:
    """A failure that Perdure itself reports."""

    non_retryable: bool = False


@dataclass(frozen=True, slots=True)
class ActivityFailureInfo:
    """The activity whose failure is the cause of the failure that carries this."""

    scheduled_event_id: int
    started_event_id: int
    identity: str
    activity_type: str
    activity_id: str
    retry_state: RetryState = RetryState.UNSPECIFIED


FailureInfo = (
    ApplicationFailureInfo | TimeoutFailureInfo | CanceledFailureInfo | TerminatedFailureInfo | ServerFailureInfo | ActivityFailureInfo
)


@dataclass(frozen=True, slots=True)
class Failure:
    """One error with its cause. `source` names the SDK that made it."""

    message: str
    stack_trace: str = ""
    source: str = ""
    cause: Failure | None = None
    info: FailureInfo | None = None
