"""Other workflows: signal and cancel them by id, wherever they live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from perdure.workflow._context import _MISSING, Runtime, positional
from perdure.workflow._definition import signal_name

SelfT = TypeVar("SelfT")


class ExternalWorkflowHandle(Generic[SelfT]):
    """A workflow that this one knows by its id. Without a run id it is whatever run is current when a call arrives."""

    def __init__(self, workflow_id: str, run_id: str | None) -> None:
        self._workflow_id = workflow_id
        self._run_id = run_id

    @property
    def id(self) -> str:
        """Its workflow id."""
        return self._workflow_id

    @property
    def run_id(self) -> str | None:
        """Its run id, if it was given."""
        return self._run_id

    async def signal(self, signal: str | Callable[..., Any], arg: Any = _MISSING, *, args: Sequence[Any] = ()) -> None:
        """Signal it, and wait until the signal is in its history.

        Raises ApplicationError with type ExternalWorkflowExecutionNotFound if it is not open.
        """
        name = signal if isinstance(signal, str) else signal_name(signal)
        if name is None:
            raise ValueError(f"{signal!r} is not a signal: decorate the method with @workflow.signal, or give the name as a string")
        await Runtime.current().signal_external(self._workflow_id, self._run_id or "", name, positional(arg, args))

    async def cancel(self, *, reason: str = "") -> None:
        """Ask it to cancel itself, and wait until the request is in its history. Raises ApplicationError as `signal` does."""
        await Runtime.current().cancel_external(self._workflow_id, self._run_id or "", reason)


def get_external_workflow_handle(workflow_id: str, *, run_id: str | None = None) -> ExternalWorkflowHandle[Any]:
    """A handle by id; nothing is checked until it is used."""
    return ExternalWorkflowHandle(workflow_id, run_id)


def get_external_workflow_handle_for(
    workflow: Callable[..., Any], workflow_id: str, *, run_id: str | None = None
) -> ExternalWorkflowHandle[Any]:
    """The same for a workflow whose class is known; the run method is for the reader and the type checker."""
    del workflow
    return ExternalWorkflowHandle(workflow_id, run_id)
