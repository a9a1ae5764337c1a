"""record -> effects: what a record asks of the world once it is live; their only maker, live and at a takeover (design.md 3.6).

Effects are a pure function of the record and of earlier events of its runs, which `Runs` looks up: so a successor releases the same
ones under the same origins. Their order and their index within the record are part of the protocol (golden files pin them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from perdure_platform.partition.transition.state import RunState
from perdure_platform.partition.transition.workflow import closed_reply
from perdure_schemas import events, notes
from perdure_schemas.commands import (
    CancelWorkflow,
    Command,
    CommandBody,
    ExternalSource,
    Origin,
    ResolveExternalCancel,
    ResolveExternalSignal,
    SignalWorkflow,
)
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.history import AddressedReply, CommitRecord, Transition
from perdure_schemas.payload import Payloads
from perdure_schemas.replies import WorkflowClosed
from perdure_schemas.tasks import ActivityTask
from perdure_schemas.tracing import child_trace_parent, run_span_id


@dataclass(frozen=True, slots=True)
class DispatchTask:
    """A task for the workers of a queue."""

    task: ActivityTask


@dataclass(frozen=True, slots=True)
class SendCommand:
    """A command to a run, with its origin."""

    command: Command
    trace_parent: str


@dataclass(frozen=True, slots=True)
class SendReply:
    """An answer to a client or a worker."""

    reply: AddressedReply


@dataclass(frozen=True, slots=True)
class SendDeadLetter:
    """A record that could not be used."""

    dead_letter: DeadLetter


Effect = DispatchTask | SendCommand | SendReply | SendDeadLetter


class Runs(Protocol):
    """Looks up what a record's effects need of its runs."""

    def run(self, workflow_id: str, run_id: str) -> RunState | None:
        """A state of the run at or behind the record: only what never changes in it is used."""

    def scheduled(self, workflow_id: str, run_id: str, event_id: int) -> tuple[events.ActivityTaskScheduled, int] | None:
        """An activity's scheduling event, and its time; None if the run has been forgotten."""


def has_effects(record: CommitRecord) -> bool:
    """Whether `effects_of` would give anything, decided on the record alone."""
    if record.replies or record.commands or record.dead_letters:
        return True
    for transition in record.transitions:
        if any(type(event) in _FROM_EVENT for event in (*transition.inbound, *transition.produced)):
            return True
        if any(isinstance(note, notes.ActivityAttemptDispatched) for note in transition.notes):
            return True
    return False


def effects_of(record: CommitRecord, partition: int, offset: int, runs: Runs) -> list[Effect]:
    """The effects of a live record, in the order in which they leave."""
    effects: list[Effect] = []
    commands: list[tuple[str, CommandBody, str]] = []
    for transition in record.transitions:
        run = runs.run(transition.workflow_id, transition.run_id)
        if run is None:
            continue
        for event_id, event in enumerate((*transition.inbound, *transition.produced), transition.first_event_id):
            if isinstance(event, events.ActivityTaskScheduled):
                effects.append(DispatchTask(_task(run, event_id, event, record.time_ms, 1, record.time_ms, ())))
            elif type(event) in _FROM_EVENT:
                _from_event(run, event_id, event, effects, commands)
        effects.extend(_dispatched_again(run, transition, record.time_ms, runs))
    commands.extend((command.workflow_id, command.body, "") for command in record.commands)
    for index, (workflow_id, body, trace_parent) in enumerate(commands):
        effects.append(SendCommand(Command(workflow_id, body, origin=Origin(partition, offset, index)), trace_parent))
    effects.extend(SendReply(reply) for reply in record.replies)
    effects.extend(SendDeadLetter(dead_letter) for dead_letter in record.dead_letters)
    return effects


def _dispatched_again(run: RunState, transition: Transition, time_ms: int, runs: Runs) -> list[Effect]:
    effects: list[Effect] = []
    for note in transition.notes:
        if isinstance(note, notes.ActivityAttemptDispatched):
            found = runs.scheduled(run.workflow_id, run.run_id, note.scheduled_event_id)
            if found is not None:
                event, scheduled_time_ms = found
                task = _task(run, note.scheduled_event_id, event, scheduled_time_ms, note.attempt, time_ms, note.heartbeat_details)
                effects.append(DispatchTask(task))
    return effects


def _from_event(
    run: RunState,
    event_id: int,
    event: events.Event,
    effects: list[Effect],
    commands: list[tuple[str, CommandBody, str]],
) -> None:
    trace_parent = _run_trace(run)
    match event:
        case events.SignalExternalWorkflowExecutionInitiated():
            source = ExternalSource(run.workflow_id, run.run_id, event_id)
            signal = SignalWorkflow(event.signal_name, event.run_id, input=event.input, header=event.header, source=source)
            commands.append((event.workflow_id, signal, trace_parent))
        case events.RequestCancelExternalWorkflowExecutionInitiated():
            source = ExternalSource(run.workflow_id, run.run_id, event_id)
            commands.append((event.workflow_id, CancelWorkflow(event.run_id, reason=event.reason, source=source), trace_parent))
        case events.WorkflowExecutionSignaled() if event.source is not None:
            answer = ResolveExternalSignal(event.source.run_id, event.source.initiated_event_id)
            commands.append((event.source.workflow_id, answer, trace_parent))
        case events.WorkflowExecutionCancelRequested() if event.source is not None:
            resolved = ResolveExternalCancel(event.source.run_id, event.source.initiated_event_id)
            commands.append((event.source.workflow_id, resolved, trace_parent))
        case _ if isinstance(event, events.CloseEvent) and run.started.waiter is not None and not getattr(event, "new_run_id", ""):
            waiter = run.started.waiter
            effects.append(SendReply(AddressedReply(waiter.address, waiter.request_id, _closed(run, event))))
        case _:
            pass


def _run_trace(run: RunState) -> str:
    """What belongs to the run hangs below its span."""
    return child_trace_parent(run.started.trace_parent, run_span_id(run.run_id)) if run.started.trace_parent else ""


def _closed(run: RunState, event: events.Event) -> WorkflowClosed:
    assert run.close_event == event, "a run's state is at or behind its closing record"
    return closed_reply(run)


def _task(
    run: RunState,
    event_id: int,
    event: events.ActivityTaskScheduled,
    scheduled_time_ms: int,
    attempt: int,
    attempt_scheduled_time_ms: int,
    heartbeat_details: Payloads,
) -> ActivityTask:
    return ActivityTask(
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        workflow_type=run.started.workflow_type,
        scheduled_event_id=event_id,
        attempt=attempt,
        activity_id=event.activity_id,
        activity_type=event.activity_type,
        task_queue=event.task_queue,
        scheduled_time_ms=scheduled_time_ms,
        attempt_scheduled_time_ms=attempt_scheduled_time_ms,
        input=event.input,
        header=event.header,
        heartbeat_details=heartbeat_details,
        schedule_to_close_timeout_ms=event.schedule_to_close_timeout_ms,
        start_to_close_timeout_ms=event.start_to_close_timeout_ms,
        heartbeat_timeout_ms=event.heartbeat_timeout_ms,
        retry_options=event.retry_options,
        announce_first=event.retry_options.maximum_attempts == 1,
        trace_parent=_run_trace(run),
    )


_FROM_EVENT: frozenset[type] = frozenset(
    {
        events.ActivityTaskScheduled,
        events.SignalExternalWorkflowExecutionInitiated,
        events.RequestCancelExternalWorkflowExecutionInitiated,
        events.WorkflowExecutionSignaled,
        events.WorkflowExecutionCancelRequested,
        events.WorkflowExecutionCompleted,
        events.WorkflowExecutionFailed,
        events.WorkflowExecutionCanceled,
        events.WorkflowExecutionTerminated,
        events.WorkflowExecutionTimedOut,
    }
)
