"""Errors that user code raises and catches.

PerdureError (TemporalError)
└── FailureError                      travels between workflows, activities and clients as data
    ├── ApplicationError              raised by user code; the only one that it should raise itself
    ├── CancelledError                a cancellation that was carried out
    ├── TerminatedError               a workflow was ended from outside
    ├── TimeoutError                  a timeout passed; `type` says which
    ├── ServerError                   Perdure itself reports it
    ├── ActivityError                 an activity did not return; see `cause`
    └── WorkflowAlreadyStartedError   the workflow id is in use
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from perdure_schemas.errors import PerdureError
from perdure_schemas.failure import ApplicationErrorCategory, Failure, RetryState, TimeoutType

__all__ = [
    "ActivityError",
    "ApplicationError",
    "ApplicationErrorCategory",
    "CancelledError",
    "FailureError",
    "PerdureError",
    "RetryState",
    "ServerError",
    "TemporalError",
    "TerminatedError",
    "TimeoutError",
    "TimeoutType",
    "WorkflowAlreadyStartedError",
    "is_cancelled_exception",
]

TemporalError = PerdureError
"""The other name of PerdureError, for programs that come from Temporal."""


class FailureError(PerdureError):
    """An error that travels as data. `failure` is what it was on the wire, if it came from there; it is sent on unchanged."""

    def __init__(self, message: str, *, failure: Failure | None = None) -> None:
        super().__init__(message)
        self._message = message
        self._failure = failure

    @property
    def message(self) -> str:
        """The text."""
        return self._message

    @property
    def failure(self) -> Failure | None:
        """The error as data, if it came from elsewhere."""
        return self._failure

    @property
    def cause(self) -> BaseException | None:
        """What it was raised from."""
        return self.__cause__


class ApplicationError(FailureError):
    """An error of user code.

    `type` is what retry policies list (default: none); `non_retryable` forbids retries; `next_retry_delay` replaces the policy's
    interval (zero is the same as None).
    """

    def __init__(
        self,
        message: str,
        *details: Any,
        type: str | None = None,  # noqa: A002 - the name that users know
        non_retryable: bool = False,
        next_retry_delay: timedelta | None = None,
        category: ApplicationErrorCategory = ApplicationErrorCategory.UNSPECIFIED,
    ) -> None:
        super().__init__(message if not type else f"{type}: {message}")
        self._message = message
        self._details = details
        self._type = type
        self._non_retryable = non_retryable
        self._next_retry_delay = next_retry_delay
        self._category = category

    @property
    def details(self) -> Sequence[Any]:
        """Values that travel with the error."""
        return self._details

    @property
    def type(self) -> str | None:
        """The name that retry policies list."""
        return self._type

    @property
    def non_retryable(self) -> bool:
        """Whether no attempt may follow."""
        return self._non_retryable

    @property
    def next_retry_delay(self) -> timedelta | None:
        """The wait before the next attempt, instead of the policy's."""
        return self._next_retry_delay

    @property
    def category(self) -> ApplicationErrorCategory:
        """How loudly it is reported."""
        return self._category


class CancelledError(FailureError):
    """A cancellation that was carried out."""

    def __init__(self, message: str = "Cancelled", *details: Any) -> None:
        super().__init__(message)
        self._details = details

    @property
    def details(self) -> Sequence[Any]:
        """Values that travel with the cancellation."""
        return self._details


class TerminatedError(FailureError):
    """A workflow was ended from outside."""

    def __init__(self, message: str, *details: Any) -> None:
        super().__init__(message)
        self._details = details

    @property
    def details(self) -> Sequence[Any]:
        """Values that whoever ended it gave."""
        return self._details


class TimeoutError(FailureError):  # noqa: A001 - the name that users know
    """A timeout passed."""

    def __init__(self, message: str, *, type: TimeoutType | None, last_heartbeat_details: Sequence[Any]) -> None:  # noqa: A002
        super().__init__(message)
        self._type = type
        self._last_heartbeat_details = last_heartbeat_details

    @property
    def type(self) -> TimeoutType | None:
        """Which one."""
        return self._type

    @property
    def last_heartbeat_details(self) -> Sequence[Any]:
        """What the last heartbeat carried."""
        return self._last_heartbeat_details


class ServerError(FailureError):
    """Perdure itself reports it."""

    def __init__(self, message: str, *, non_retryable: bool = False) -> None:
        super().__init__(message)
        self._non_retryable = non_retryable

    @property
    def non_retryable(self) -> bool:
        """Whether no attempt may follow."""
        return self._non_retryable


class ActivityError(FailureError):
    """An activity did not return; `cause` says why: an ApplicationError, TimeoutError or CancelledError."""

    def __init__(
        self,
        message: str,
        *,
        scheduled_event_id: int,
        started_event_id: int,
        identity: str,
        activity_type: str,
        activity_id: str,
        retry_state: RetryState | None,
    ) -> None:
        super().__init__(message)
        self.scheduled_event_id = scheduled_event_id
        self.started_event_id = started_event_id
        self.identity = identity
        self.activity_type = activity_type
        self.activity_id = activity_id
        self.retry_state = retry_state


class WorkflowAlreadyStartedError(FailureError):
    """The workflow id is in use, or has been and may not be reused."""

    def __init__(self, workflow_id: str, workflow_type: str, *, run_id: str | None = None) -> None:
        super().__init__(f"Workflow execution already started: workflow id {workflow_id!r}, run {run_id}")
        self.workflow_id = workflow_id
        self.workflow_type = workflow_type
        self.run_id = run_id


def is_cancelled_exception(exception: BaseException) -> bool:
    """Whether `exception` is a cancellation: asyncio's, Perdure's, an activity's failure that one caused, or a group of nothing else."""
    if isinstance(exception, BaseExceptionGroup):
        # Runs that began when groups were none must see what they saw. The loop of any other code does not know of this.
        sees_groups = getattr(asyncio._get_running_loop(), "is_by_creation", True)  # noqa: SLF001 - None where no loop runs
        return sees_groups and all(is_cancelled_exception(member) for member in exception.exceptions)
    if isinstance(exception, asyncio.CancelledError | CancelledError):
        return True
    return isinstance(exception, ActivityError) and isinstance(exception.cause, CancelledError)
