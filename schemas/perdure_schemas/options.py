"""Choices that callers make and that travel inside commands and events."""

from dataclasses import dataclass
from enum import IntEnum


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """A retry policy on the wire, already normalised: no field is unset.

    `maximum_attempts` 0 means unlimited. `maximum_interval_ms` 0 means 100 times the initial interval.
    """

    initial_interval_ms: int = 1000
    backoff_coefficient: float = 2.0
    maximum_interval_ms: int = 0
    maximum_attempts: int = 0
    non_retryable_error_types: tuple[str, ...] = ()


class IdReusePolicy(IntEnum):
    """May a closed workflow's id be started again? The numbers are Temporal's."""

    ALLOW_DUPLICATE = 1
    ALLOW_DUPLICATE_FAILED_ONLY = 2
    REJECT_DUPLICATE = 3
    TERMINATE_IF_RUNNING = 4


class IdConflictPolicy(IntEnum):
    """What does a start do whose id is open? The numbers are Temporal's; UNSPECIFIED acts as FAIL."""

    UNSPECIFIED = 0
    FAIL = 1
    USE_EXISTING = 2
    TERMINATE_EXISTING = 3


class QueryRejectCondition(IntEnum):
    """Which states of a run make a query refused rather than answered."""

    NONE = 1
    NOT_OPEN = 2
    NOT_COMPLETED_CLEANLY = 3


class ActivityCancellationType(IntEnum):
    """What a workflow waits for when it cancels an activity. The numbers are Temporal's."""

    TRY_CANCEL = 0
    WAIT_CANCELLATION_COMPLETED = 1
    ABANDON = 2


class WorkflowStatus(IntEnum):
    """State of a run; the numbers are Temporal's WorkflowExecutionStatus."""

    RUNNING = 1
    COMPLETED = 2
    FAILED = 3
    CANCELED = 4
    TERMINATED = 5
    CONTINUED_AS_NEW = 6
    TIMED_OUT = 7
