"""Errors of the connection to a namespace, under the names that users of Temporal know.

PerdureError
└── RPCError                                a call was refused or not answered; `status` says how
    ├── NamespaceNotFound                   caller: the namespace must be created first
    ├── PartitionStoppedError               operator: the workflow's partition is stopped, and nobody can be told anything
    └── RPCTimeoutOrCancelledError          caller, later: no answer before the deadline; a call that only reads
        └── OutcomeUnknownError             caller, later: the same for a call that acts; it may still have acted, or act yet
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum

from perdure_schemas.errors import PerdureError


class RPCStatusCode(IntEnum):
    """How a call failed; names and numbers are gRPC's."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RPCError(PerdureError):
    """A call was refused or not answered."""

    def __init__(self, message: str, status: RPCStatusCode) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class NamespaceNotFound(RPCError):
    """The namespace does not exist at this log."""

    def __init__(self, message: str) -> None:
        super().__init__(message, RPCStatusCode.NOT_FOUND)


class PartitionStoppedError(RPCError):
    """The partition that the call is about is stopped, until an operator acts; the message says why.

    A call that reads raises this error. A call that acts raises OutcomeUnknownError with this error as its cause: the request stays in
    the log, and is carried out once the partition works again, unless it has expired by then.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, RPCStatusCode.UNAVAILABLE)


class RPCTimeoutOrCancelledError(RPCError):
    """No answer came before the deadline of a call; the same call may succeed later."""

    def __init__(self, message: str, workflow_id: str = "") -> None:
        super().__init__(message, RPCStatusCode.DEADLINE_EXCEEDED)
        self.workflow_id = workflow_id


class OutcomeUnknownError(RPCTimeoutOrCancelledError):
    """No answer came before the deadline of a call that acts: it may have acted, or may act yet.

    The same call with `request_id=error.request_id` acts at most once together with this one, if made before `safe_until`.
    """

    def __init__(self, message: str, *, workflow_id: str, request_id: str, safe_until: datetime) -> None:
        super().__init__(message, workflow_id)
        self.request_id = request_id
        self.safe_until = safe_until
