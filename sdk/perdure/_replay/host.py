"""The activation interface between an owner and the host of workflow code: records in, requested actions out (design.md 6).

The owner knows nothing of coroutines and the host nothing of logs, so that the host can one day be another process.
Both sides run on the owner's thread. A host must not keep anything of a run outside its WorkflowInstance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from perdure._replay.actions import Action
from perdure_schemas.errors import PerdureError
from perdure_schemas.events import Event, WorkflowExecutionStarted
from perdure_schemas.failure import Failure
from perdure_schemas.payload import Payload

REFUSED_BY = "perdure"
"""Source of a failure that is no error of the code: the host or the owner does not do what was asked."""


@dataclass(frozen=True, slots=True)
class RunStart:
    """What identifies a run to its code. `start_time_ms` is the time of its first record."""

    namespace: str
    workflow_id: str
    run_id: str
    start_time_ms: int
    started: WorkflowExecutionStarted


@dataclass(frozen=True, slots=True)
class Activation:
    """Everything that happened since the last activation, and where its outcome goes.

    `inbound` are (event id, event) in order, the WorkflowExecutionStarted first of all. The n-th requested action becomes the event
    with id `first_produced_event_id + n`. `recorded` is None for a live activation; a rebuild gives the events that the same
    activation produced when it was live, and the code must ask for the same again.
    """

    time_ms: int
    inbound: tuple[tuple[int, Event], ...]
    first_produced_event_id: int
    recorded: tuple[Event, ...] | None = None
    history_size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Activated:
    """What the code asked for, at most one close action and that one last, and the behaviour flags first used now."""

    actions: tuple[Action, ...]
    flags: tuple[int, ...] = ()


class ActivationError(PerdureError):
    """The activation failed; the run stays open and nothing of it may be recorded. The instance must be closed and rebuilt."""

    def __init__(self, failure: Failure, *, nondeterminism: bool = False) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.nondeterminism = nondeterminism


class QueryError(PerdureError):
    """A query failed; only the asker hears of it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class WorkflowInstance(Protocol):
    """One run's code between activations: suspended coroutines."""

    def activate(self, activation: Activation) -> Activated:
        """Run the code until every coroutine is blocked. Raises ActivationError (never anything else, whatever the code raises)."""

    def query(self, query_type: str, args: tuple[Payload, ...], header: dict[str, Payload]) -> tuple[Payload, ...]:
        """Call a query handler on the state behind the last activation. Raises QueryError."""

    def close(self) -> None:
        """Drop the coroutines: their finally blocks run, but can ask for nothing. Never raises, and returns within a bound."""


class WorkflowHost(Protocol):
    """The workflow code of one process."""

    def open(self, start: RunStart, flags: tuple[int, ...]) -> WorkflowInstance:
        """An instance that has not been activated. `flags` are those recorded for the run so far (all of them, when rebuilding).

        Raises ActivationError if there is no such workflow type here.
        """
