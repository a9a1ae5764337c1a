"""Drives one run of real workflow code through activations, without an owner."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from perdure._replay import actions
from perdure._replay.host import Activation, RunStart
from perdure._replay.runtime import CodeHost
from perdure_schemas import events
from perdure_schemas.events import Event
from perdure_schemas.payload import Payload, Payloads

_EVENTS: dict[type, Any] = {
    actions.ScheduleActivity: lambda a: events.ActivityTaskScheduled(a.activity_id, a.activity_type, a.task_queue, a.input),
    actions.RequestCancelActivity: lambda a: events.ActivityTaskCancelRequested(a.scheduled_event_id),
    actions.StartTimer: lambda a: events.TimerStarted(a.timer_id, a.delay_ms),
    actions.CancelTimer: lambda a: events.TimerCanceled(a.timer_id, a.started_event_id),
    actions.RecordMarker: lambda a: events.MarkerRecorded(a.marker_name, a.details),
    actions.SignalExternalWorkflow: lambda a: events.SignalExternalWorkflowExecutionInitiated(
        a.workflow_id, a.run_id, a.signal_name, a.input
    ),
    actions.CancelExternalWorkflow: lambda a: events.RequestCancelExternalWorkflowExecutionInitiated(a.workflow_id, a.run_id, a.reason),
    actions.CompleteWorkflow: lambda a: events.WorkflowExecutionCompleted(a.result),
    actions.FailWorkflow: lambda a: events.WorkflowExecutionFailed(a.failure),
    actions.CancelWorkflowExecution: lambda a: events.WorkflowExecutionCanceled(a.details),
    actions.ContinueAsNewWorkflow: lambda a: events.WorkflowExecutionContinuedAsNew("next", a.workflow_type, a.task_queue, a.input),
}


def value(plain: Any) -> Payloads:
    """One JSON payload."""
    return (Payload({"encoding": b"json/plain"}, json.dumps(plain, separators=(",", ":")).encode()),)


def kinds(requested: list[Any]) -> list[str]:
    """What was asked for, by name."""
    return [type(action).__name__ for action in requested]


@dataclass
class Code:
    """A run of `cls`: every activation is recorded, and can be replayed into another instance."""

    cls: type
    arguments: Payloads = ()
    now_ms: int = 1_000_000
    flags: tuple[int, ...] = ()
    """Those of a run that an older build began; the first activation adds its own where there are none."""
    deadlock_timeout_ms: int = 500
    """0 waits for ever: for code that is slow on purpose."""
    history: list[tuple[int, tuple[tuple[int, Event], ...], int, tuple[Event, ...]]] = field(default_factory=list)
    next_id: int = 1

    def __post_init__(self) -> None:
        self.host = CodeHost([self.cls], deadlock_timeout_ms=self.deadlock_timeout_ms)
        started = events.WorkflowExecutionStarted(self.host.names[0], "queue", self.arguments, "run-1")
        self.start = RunStart("ns", "wf-1", "run-1", self.now_ms, started)
        self.instance = self.host.open(self.start, self.flags)

    def begin(self, *others: Event) -> list[Any]:
        """The first activation."""
        return self.happen(self.start.started, *others)

    def happen(self, *inbound: Event, after_ms: int = 0) -> list[Any]:
        """One activation; what the code asked for."""
        self.now_ms += after_ms
        numbered = tuple((self.next_id + at, event) for at, event in enumerate(inbound))
        first = self.next_id + len(inbound)
        activated = self.instance.activate(Activation(self.now_ms, numbered, first))
        self.flags += activated.flags
        recorded = tuple(_EVENTS[type(action)](action) for action in activated.actions)
        self.history.append((self.now_ms, numbered, first, recorded))
        self.next_id = first + len(recorded)
        return list(activated.actions)

    def replay(self, cls: type | None = None) -> Code:
        """Another instance, of changed code if `cls` is given, taken through the same activations."""
        other = Code(cls or self.cls, self.arguments, flags=self.flags)
        other.instance.close()
        other.instance = other.host.open(self.start, self.flags)
        for now_ms, inbound, first, recorded in self.history:
            other.instance.activate(Activation(now_ms, inbound, first, recorded))
        other.now_ms, other.next_id, other.history = self.now_ms, self.next_id, list(self.history)
        return other

    def close(self) -> None:
        """Drop the instance."""
        self.instance.close()


def completed(scheduled_event_id: int, plain: Any = None) -> events.ActivityTaskCompleted:
    """An activity returned."""
    return events.ActivityTaskCompleted(scheduled_event_id, 0, value(plain))


def signal(name: str, *plain: Any) -> events.WorkflowExecutionSignaled:
    """A signal."""
    return events.WorkflowExecutionSignaled(name, tuple(value(one)[0] for one in plain))
