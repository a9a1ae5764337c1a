"""Actions against the record: does the code ask again for what its history holds? (semantics 4.3)

Kinds, order and identities are compared (activity id and type, patch id, target); arguments and options are not, so that they can be
changed under running workflows. A deprecated patch marker may be missing from the code.
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure._replay import actions
from perdure._replay.actions import Action
from perdure_schemas import events
from perdure_schemas.events import Event

PATCH_MARKER = "patch"

_KINDS: dict[type, type] = {
    actions.ScheduleActivity: events.ActivityTaskScheduled,
    actions.RequestCancelActivity: events.ActivityTaskCancelRequested,
    actions.StartTimer: events.TimerStarted,
    actions.CancelTimer: events.TimerCanceled,
    actions.RecordMarker: events.MarkerRecorded,
    actions.SignalExternalWorkflow: events.SignalExternalWorkflowExecutionInitiated,
    actions.CancelExternalWorkflow: events.RequestCancelExternalWorkflowExecutionInitiated,
    actions.CompleteWorkflow: events.WorkflowExecutionCompleted,
    actions.FailWorkflow: events.WorkflowExecutionFailed,
    actions.CancelWorkflowExecution: events.WorkflowExecutionCanceled,
    actions.ContinueAsNewWorkflow: events.WorkflowExecutionContinuedAsNew,
}


class Mismatch(Exception):
    """Code and history differ; the text shows both."""


def match(requested: Sequence[Action], recorded: Sequence[Event], first_event_id: int) -> list[int]:
    """The event id of each requested action. Raises Mismatch at the first difference."""
    ids: list[int] = []
    position = 0
    for action in requested:
        while position < len(recorded) and _may_be_missing(recorded[position]) and not _same(action, recorded[position]):
            position += 1
        if position == len(recorded) or not _same(action, recorded[position]):
            raise Mismatch(_explain(requested, recorded, first_event_id, len(ids), position))
        ids.append(first_event_id + position)
        position += 1
    while position < len(recorded) and _may_be_missing(recorded[position]):
        position += 1
    if position < len(recorded):
        raise Mismatch(_explain(requested, recorded, first_event_id, len(ids), position))
    return ids


def _same(action: Action, event: Event) -> bool:
    if _KINDS[type(action)] is not type(event):
        return False
    match action, event:
        case actions.ScheduleActivity(), events.ActivityTaskScheduled():
            return action.activity_id == event.activity_id and action.activity_type == event.activity_type
        case actions.RequestCancelActivity(), events.ActivityTaskCancelRequested():
            return action.scheduled_event_id == event.scheduled_event_id
        case actions.StartTimer(), events.TimerStarted():
            return action.timer_id == event.timer_id
        case actions.CancelTimer(), events.TimerCanceled():
            return action.started_event_id == event.started_event_id
        case actions.RecordMarker(), events.MarkerRecorded():
            return action.marker_name == event.marker_name and action.details.get("id") == event.details.get("id")
        case _:
            return True


def _may_be_missing(event: Event) -> bool:
    return isinstance(event, events.MarkerRecorded) and event.marker_name == PATCH_MARKER and event.details.get("deprecated") == "true"


def _explain(requested: Sequence[Action], recorded: Sequence[Event], first_event_id: int, action_at: int, event_at: int) -> str:
    history = _event(recorded[event_at], first_event_id + event_at) if event_at < len(recorded) else "nothing more in this step"
    code = _action(requested[action_at]) if action_at < len(requested) else "nothing more in this step"
    both = [f"  history {_event(event, first_event_id + at)}" for at, event in enumerate(recorded[:10])]
    both += [f"  code    {_action(action)}" for action in requested[:10]]
    return f"the history holds {history}, but the code asks for {code}. The whole step:\n" + "\n".join(both)


def _event(event: Event, event_id: int) -> str:
    return f"event {event_id}: {type(event).__name__}{_identity(event)}"


def _action(action: Action) -> str:
    return f"{type(action).__name__}{_identity(action)}"


def _identity(thing: object) -> str:
    names = ("activity_id", "activity_type", "timer_id", "delay_ms", "workflow_id", "signal_name", "marker_name", "scheduled_event_id")
    shown = [f"{name}={getattr(thing, name)!r}" for name in names if hasattr(thing, name)]
    if hasattr(thing, "details") and isinstance(thing.details, dict):
        shown.append(f"details={thing.details!r}")
    return f" ({', '.join(shown)})" if shown else ""
