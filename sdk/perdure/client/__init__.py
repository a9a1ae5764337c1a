"""Starts, finds, asks and ends workflows from outside of them."""

from perdure._log.errors import LogError, LogMisconfigured, LogUnauthorized, LogUnavailable
from perdure.client._async_activity import AsyncActivityHandle
from perdure.client._client import Client
from perdure.client._errors import (
    AsyncActivityCancelledError,
    WorkflowContinuedAsNewError,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from perdure.client._execution import WorkflowExecution, WorkflowExecutionDescription, WorkflowExecutionStatus
from perdure.client._handle import WorkflowHandle
from perdure.client._history import WorkflowHistory
from perdure.service import NamespaceNotFound, OutcomeUnknownError, RPCError, RPCStatusCode, RPCTimeoutOrCancelledError
from perdure_schemas.errors import LimitExceeded

__all__ = [
    "AsyncActivityCancelledError",
    "AsyncActivityHandle",
    "Client",
    "LimitExceeded",
    "LogError",
    "LogMisconfigured",
    "LogUnauthorized",
    "LogUnavailable",
    "NamespaceNotFound",
    "OutcomeUnknownError",
    "RPCError",
    "RPCStatusCode",
    "RPCTimeoutOrCancelledError",
    "WorkflowContinuedAsNewError",
    "WorkflowExecution",
    "WorkflowExecutionDescription",
    "WorkflowExecutionStatus",
    "WorkflowFailureError",
    "WorkflowHandle",
    "WorkflowHistory",
    "WorkflowQueryFailedError",
    "WorkflowQueryRejectedError",
]
