"""What a client's calls raise, beside the errors of `perdure.service` and `perdure.exceptions`.

PerdureError
├── WorkflowFailureError             the workflow whose result was awaited failed, was cancelled, terminated or timed out; see `cause`
├── WorkflowContinuedAsNewError      with follow_runs=False: the run was followed by another one
├── WorkflowQueryRejectedError       the query was not asked, because of the state that the run is in
├── WorkflowQueryFailedError         the query handler raised, or there is none of this name
└── AsyncActivityCancelledError      a heartbeat for an activity found that its cancellation is requested
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

from perdure._log.errors import LogError, RecordTooLarge
from perdure.client._execution import WorkflowExecutionStatus
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.service import PartitionStoppedError, RPCError, RPCStatusCode
from perdure_schemas.errors import LimitExceeded, PerdureError
from perdure_schemas.replies import RefusalCode, Refused


class WorkflowFailureError(PerdureError):
    """The workflow did not return a result."""

    def __init__(self, *, cause: BaseException) -> None:
        super().__init__("Workflow execution failed")
        self.__cause__ = cause

    @property
    def cause(self) -> BaseException:
        """Why: an ApplicationError, ActivityError, CancelledError, TerminatedError or TimeoutError."""
        assert self.__cause__ is not None
        return self.__cause__


class WorkflowContinuedAsNewError(PerdureError):
    """The run was followed by another one, and following was not asked for."""

    def __init__(self, new_execution_run_id: str) -> None:
        super().__init__(f"the workflow continued as new run {new_execution_run_id}")
        self.new_execution_run_id = new_execution_run_id


class WorkflowQueryRejectedError(PerdureError):
    """The query was not asked, because of the state that the run is in."""

    def __init__(self, status: WorkflowExecutionStatus | None) -> None:
        super().__init__("Query rejected, workflow status: " + ("unknown" if status is None else status.name))
        self.status = status


class WorkflowQueryFailedError(PerdureError):
    """The query handler raised, or there is none of this name."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class AsyncActivityCancelledError(PerdureError):
    """The cancellation of the activity is requested: stop, and report it."""

    def __init__(self, details: Sequence[Any] = ()) -> None:
        super().__init__("Activity cancelled")
        self.details = details


def refusal_error(refused: Refused) -> PerdureError:
    """The exception that says what an owner's refusal says."""
    try:
        code = RefusalCode(refused.code)
    except ValueError:  # from a newer owner
        return RPCError(f"{refused.message} ({refused.code})", RPCStatusCode.UNKNOWN)
    match code:
        case RefusalCode.ALREADY_STARTED:
            return WorkflowAlreadyStartedError(refused.workflow_id, refused.workflow_type, run_id=refused.run_id or None)
        case RefusalCode.NOT_FOUND:
            return RPCError(refused.message, RPCStatusCode.NOT_FOUND)
        case RefusalCode.INVALID:
            return RPCError(refused.message, RPCStatusCode.INVALID_ARGUMENT)
        case RefusalCode.LIMIT_EXCEEDED:
            return LimitExceeded(refused.message)
        case RefusalCode.QUERY_REJECTED:
            return WorkflowQueryRejectedError(WorkflowExecutionStatus(refused.status) if refused.status else None)
        case RefusalCode.QUERY_FAILED:
            return WorkflowQueryFailedError(refused.message)
        case RefusalCode.NOT_READY:
            return RPCError(refused.message, RPCStatusCode.UNAVAILABLE)
        case RefusalCode.PARTITION_STOPPED:
            return PartitionStoppedError(refused.message)
        case RefusalCode.EXPIRED:
            return RPCError(refused.message, RPCStatusCode.DEADLINE_EXCEEDED)
    assert_never(code)


def log_error(error: LogError) -> PerdureError:
    """The same error, under the name that a caller knows where the fault is the caller's."""
    return LimitExceeded(str(error)) if isinstance(error, RecordTooLarge) else error
