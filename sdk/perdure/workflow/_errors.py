"""Errors of workflow code.

PerdureError
└── NondeterminismError               the code asks for something else than its history holds; blocks only this run
    └── RestrictedWorkflowAccessError the code touched a clock, randomness, I/O or a thread
PerdureError
└── ReadOnlyContextError              a query tried to change something
BaseException
└── ContinueAsNewError                ends the run; not to be caught
"""

from __future__ import annotations

from typing import Any

from perdure_schemas.errors import PerdureError


class NondeterminismError(PerdureError):
    """The code asks for something else than its history holds."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RestrictedWorkflowAccessError(NondeterminismError):
    """The code touched what differs between a run and its replay."""


class ReadOnlyContextError(PerdureError):
    """A query tried to change something."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotInWorkflowError(PerdureError, RuntimeError):
    """A function of `perdure.workflow` was called outside of workflow code."""


class ContinueAsNewError(BaseException):
    """Ends the run in favour of a new one; a BaseException, so that `except Exception` does not swallow it."""

    def __init__(self, action: Any) -> None:
        super().__init__("continue as new")
        self.action = action
