"""A run's history for people: one line per event, with what a reader looks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perdure_platform.cli.output import duration_text, failure_text, payloads_text
from perdure_schemas import events as e
from perdure_schemas.replies import HistoryEvent


class HistoryRows:
    """Makes the rows of one history, event by event."""

    def __init__(self) -> None:
        self._by_id: dict[int, e.Event] = {}
        self._first_ms = 0

    def row(self, entry: HistoryEvent) -> tuple[int, str, str, str]:
        """(event id, time since the first event, event, detail) of the next event."""
        if not self._by_id:
            self._first_ms = entry.time_ms
        self._by_id[entry.event_id] = entry.event
        since = f"+{duration_text(entry.time_ms - self._first_ms)}"
        return entry.event_id, since, type(entry.event).__name__, _detail(entry.event, self._by_id)


def history_rows(history: Sequence[HistoryEvent]) -> Iterator[tuple[int, str, str, str]]:
    """The rows of a history."""
    rows = HistoryRows()
    return (rows.row(entry) for entry in history)


def _detail(event: e.Event, by_id: dict[int, e.Event]) -> str:
    match event:
        case e.WorkflowExecutionStarted():
            return f"{event.workflow_type}({payloads_text(event.input)})" + (f", attempt {event.attempt}" if event.attempt > 1 else "")
        case e.WorkflowExecutionSignaled():
            return f"{event.name}({payloads_text(event.input)})" + (f" from {event.source.workflow_id}" if event.source else "")
        case e.WorkflowExecutionCancelRequested() | e.WorkflowExecutionTerminated():
            return event.reason
        case e.WorkflowExecutionCompleted():
            return f"-> {payloads_text(event.result)}"
        case e.WorkflowExecutionFailed():
            return failure_text(event.failure)
        case e.WorkflowExecutionContinuedAsNew():
            return f"as run {event.new_run_id}: {event.workflow_type}({payloads_text(event.input)})"
        case e.ActivityTaskScheduled():
            return f"{event.activity_type}({payloads_text(event.input)})"
        case e.ActivityTaskStarted():
            last = f" after {failure_text(event.last_failure)}" if event.last_failure else ""
            return f"{_activity(event.scheduled_event_id, by_id)}, attempt {event.attempt}{last}"
        case e.ActivityTaskCompleted():
            return f"{_activity(event.scheduled_event_id, by_id)} -> {payloads_text(event.result)}"
        case e.ActivityTaskFailed() | e.ActivityTaskTimedOut():
            return f"{_activity(event.scheduled_event_id, by_id)}: {failure_text(event.failure)}"
        case e.ActivityTaskCancelRequested() | e.ActivityTaskCanceled():
            return _activity(event.scheduled_event_id, by_id)
        case e.TimerStarted():
            return f"timer {event.timer_id}, {duration_text(event.delay_ms)}"
        case e.TimerFired() | e.TimerCanceled():
            return f"timer {event.timer_id}"
        case e.MarkerRecorded():
            return " ".join([event.marker_name, *(f"{name}={value}" for name, value in event.details.items())])
        case e.SignalExternalWorkflowExecutionInitiated():
            return f"{event.signal_name}({payloads_text(event.input)}) to {event.workflow_id}"
        case e.RequestCancelExternalWorkflowExecutionInitiated():
            return f"{event.workflow_id} {event.reason}".rstrip()
        case e.ExternalWorkflowExecutionSignaled() | e.ExternalWorkflowExecutionCancelRequested():
            return f"asked for by event {event.initiated_event_id}"
        case e.SignalExternalWorkflowExecutionFailed() | e.RequestCancelExternalWorkflowExecutionFailed():
            return f"asked for by event {event.initiated_event_id}: {failure_text(event.failure)}"
        case e.WorkflowExecutionCanceled():
            return payloads_text(event.details)
        case e.WorkflowExecutionTimedOut():
            return f"followed by run {event.new_run_id}" if event.new_run_id else ""


def _activity(scheduled_event_id: int, by_id: dict[int, e.Event]) -> str:
    scheduled = by_id.get(scheduled_event_id)
    name = scheduled.activity_type if isinstance(scheduled, e.ActivityTaskScheduled) else "activity"
    return f"{name} (event {scheduled_event_id})"
