"""How a closed run becomes a result or an exception."""

from __future__ import annotations

from typing import Any

from perdure.client._errors import WorkflowContinuedAsNewError, WorkflowFailureError
from perdure.converter import DataConverter
from perdure.exceptions import CancelledError, TerminatedError, TimeoutError, TimeoutType  # noqa: A004 - the name that users know
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.payload import Payloads
from perdure_schemas.replies import WorkflowClosed


def result_of(closed: WorkflowClosed, data_converter: DataConverter, result_type: type | None) -> Any:
    """What the run returned. Raises WorkflowFailureError with the cause, or WorkflowContinuedAsNewError."""
    match closed.status:
        case WorkflowStatus.COMPLETED:
            return decoded(closed.result, data_converter, result_type)
        case WorkflowStatus.CONTINUED_AS_NEW:
            raise WorkflowContinuedAsNewError(closed.new_run_id)
    raise WorkflowFailureError(cause=_cause(closed, data_converter))


def _cause(closed: WorkflowClosed, data_converter: DataConverter) -> BaseException:
    match closed.status:
        case WorkflowStatus.CANCELED:
            return CancelledError("Workflow cancelled", *all_decoded(closed.result, data_converter))
        case WorkflowStatus.TERMINATED:
            reason = closed.failure.message if closed.failure is not None else ""
            return TerminatedError(reason or "Workflow terminated", *all_decoded(closed.result, data_converter))
        case WorkflowStatus.TIMED_OUT:
            return TimeoutError("Workflow timed out", type=TimeoutType.START_TO_CLOSE, last_heartbeat_details=[])
    if closed.failure is None:
        raise ValueError(f"run {closed.run_id} is reported as {closed.status.name} without a failure")
    return data_converter.failure_converter.from_failure(closed.failure, data_converter.payload_converter)


def decoded(payloads: Payloads, data_converter: DataConverter, hint: type | None) -> Any:
    """The one value among `payloads`, None if there is none."""
    if not payloads:
        return None
    return data_converter.payload_converter.from_payloads(payloads, None if hint is None else [hint])[0]


def all_decoded(payloads: Payloads, data_converter: DataConverter) -> list[Any]:
    """All values, decoded without type hints."""
    return data_converter.payload_converter.from_payloads(payloads, None) if payloads else []
