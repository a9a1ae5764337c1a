"""(state, record) -> state: the only maker of a run's state, live, on rebuild and on a standby.

A decision folds each event as it makes it, so that the next command of the same batch meets its outcome; a rebuild folds the
same events from the record. Both go through `fold_event` and `fold_note`. No clock, no I/O: times are those of the record.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import replace

from perdure_platform.partition.transition.kept import kept
from perdure_platform.partition.transition.sizes import payload_bytes
from perdure_platform.partition.transition.state import NOTHING, ActivityState, AttemptStart, RunState, TimerState
from perdure_schemas import events, notes
from perdure_schemas.errors import LogCorrupt
from perdure_schemas.events import Event
from perdure_schemas.history import Transition
from perdure_schemas.notes import Note
from perdure_schemas.options import WorkflowStatus


def begin(workflow_id: str, run_id: str, started: events.WorkflowExecutionStarted, time_ms: int) -> RunState:
    """The state of a run before its first event."""
    return RunState(workflow_id, run_id, kept(started, run_id), time_ms)


def fold_transition(state: RunState | None, transition: Transition, time_ms: int) -> RunState:
    """The state behind `transition`; `state` stays as it is. Raises LogCorrupt where the transition does not follow it."""
    if state is None:
        started = transition.inbound[0] if transition.inbound else None
        if not isinstance(started, events.WorkflowExecutionStarted) or transition.first_event_id != 1:
            raise LogCorrupt(
                f"the history of workflow {transition.workflow_id!r}, run {transition.run_id}, begins in its middle: "
                f"the first transition read starts at event {transition.first_event_id}"
            )
        state = begin(transition.workflow_id, transition.run_id, started, time_ms)
    else:
        state = state.copy()
    if transition.first_event_id != state.next_event_id:
        raise LogCorrupt(
            f"workflow {state.workflow_id!r}, run {state.run_id}, has {state.next_event_id - 1} events, "
            f"but the record that follows begins at event {transition.first_event_id}"
        )
    for event in transition.inbound:
        fold_inbound(state, event, time_ms)
    if transition.activated:
        fold_activated(state, transition.flags)
    for event in transition.produced:
        fold_event(state, event, time_ms)
    for note in transition.notes:
        fold_note(state, note, time_ms)
    state.history_bytes += payload_bytes(transition.inbound) + payload_bytes(transition.produced)
    return state


def fold_inbound(state: RunState, event: Event, time_ms: int) -> None:
    """Number an event that came from outside, change the state by it, and keep it for the code."""
    state.pending = (*state.pending, (state.next_event_id, event))
    fold_event(state, event, time_ms)


def fold_activated(state: RunState, flags: tuple[int, ...]) -> None:
    """The code has seen everything that was pending."""
    state.pending = ()
    state.activations += 1
    state.activation_failure = None
    if flags:
        state.flags = (*state.flags, *(flag for flag in flags if flag not in state.flags))


def fold_event(state: RunState, event: Event, time_ms: int) -> None:
    """Number an event and change the state by it."""
    event_id = state.next_event_id
    state.next_event_id = event_id + 1
    _EVENTS[type(event)](state, event, event_id, time_ms)


def fold_note(state: RunState, note: Note, time_ms: int) -> None:
    """Change the state by a note; a note about an activity that has closed changes nothing."""
    if isinstance(note, notes.ActivationFailed):
        state.activation_failure = note
        return
    if isinstance(note, notes.RunParked):
        state.parked = note
        return
    if isinstance(note, notes.RunResumed):
        state.parked = None
        state.pending = tuple((event_id, event) for event_id, event in state.pending if event_id not in note.skipped_event_ids)
        if not state.pending:  # what the code has failed at will never be shown to it again
            state.activation_failure = None
        return
    if (activity := state.activities.get(note.scheduled_event_id)) is not None:
        state.activities.put(note.scheduled_event_id, _after_note(activity, note, time_ms))


def _after_note(activity: ActivityState, note: Note, time_ms: int) -> ActivityState:
    match note:
        case notes.ActivityAttemptStarted():
            start = AttemptStart(note.nonce, note.worker, note.identity, note.granted, time_ms)
            return replace(activity, start=start, retry_at_ms=0, rests=False)
        case notes.ActivityAttemptFailed():
            return replace(
                activity,
                attempt=note.attempt + 1,
                retry_at_ms=max(1, note.retry_at_ms),
                rests=False,
                start=None,
                last_failure=note.failure,
                heartbeat_time_ms=0,
                heartbeat_counter=0,
                heartbeat_details=note.last_heartbeat_details or activity.heartbeat_details,
            )
        case notes.ActivityAttemptDispatched():
            is_new = activity.waits_for_retry and not activity.rests
            return replace(
                activity,
                attempt=note.attempt,
                attempt_time_ms=time_ms if is_new else activity.attempt_time_ms,
                retry_at_ms=0,
                rests=False,
                dispatched_time_ms=time_ms,
                start=None,
            )
        case notes.ActivityHeartbeatRecorded():
            start = activity.start or AttemptStart("", None, "", False, time_ms)
            return replace(
                activity,
                start=start,
                retry_at_ms=0,
                rests=False,
                heartbeat_time_ms=time_ms,
                heartbeat_counter=note.counter,
                heartbeat_details=note.details,
            )
        case notes.ActivityTaskParked():
            return replace(activity, retry_at_ms=max(1, note.retry_at_ms), rests=True, start=None)
        case _:
            raise TypeError(f"a note of type {type(note).__name__} has no place in the fold")


def _cancel_requested(state: RunState, _event: Event, _event_id: int, _time_ms: int) -> None:
    state.cancel_requested = True
    state.undelayed = True  # a cancel cuts a start delay short (semantics 61)


def _closed(status: WorkflowStatus) -> Callable[[RunState, Event, int, int], None]:
    def close(state: RunState, event: Event, _event_id: int, time_ms: int) -> None:
        state.status = status
        state.close_time_ms = time_ms
        state.close_event = event
        state.pending = ()
        state.activities.clear()
        state.timers.clear()
        state.external_signals = state.external_cancels = NOTHING
        state.activation_failure = None
        state.parked = None

    return close


def _scheduled(state: RunState, event: Event, event_id: int, time_ms: int) -> None:
    assert isinstance(event, events.ActivityTaskScheduled)
    state.activities.put(event_id, ActivityState(event_id, event, time_ms, attempt_time_ms=time_ms, dispatched_time_ms=time_ms))


def _activity_cancel_requested(state: RunState, event: Event, _event_id: int, time_ms: int) -> None:
    assert isinstance(event, events.ActivityTaskCancelRequested)
    if (activity := state.activities.get(event.scheduled_event_id)) is not None:
        state.activities.put(event.scheduled_event_id, replace(activity, cancel_requested_time_ms=time_ms))


def _activity_closed(state: RunState, event: Event, _event_id: int, _time_ms: int) -> None:
    state.activities.close(event.scheduled_event_id)  # type: ignore[union-attr]


def _timer_started(state: RunState, event: Event, event_id: int, time_ms: int) -> None:
    assert isinstance(event, events.TimerStarted)
    state.timers.put(event_id, TimerState(event.timer_id, time_ms + event.delay_ms))


def _timer_closed(state: RunState, event: Event, _event_id: int, _time_ms: int) -> None:
    state.timers.close(event.started_event_id)  # type: ignore[union-attr]


def _signal_initiated(state: RunState, _event: Event, event_id: int, _time_ms: int) -> None:
    state.external_signals = _with(state.external_signals, event_id)


def _signal_resolved(state: RunState, event: Event, _event_id: int, _time_ms: int) -> None:
    _without(state.external_signals, event.initiated_event_id)  # type: ignore[union-attr]


def _cancel_initiated(state: RunState, _event: Event, event_id: int, _time_ms: int) -> None:
    state.external_cancels = _with(state.external_cancels, event_id)


def _cancel_resolved(state: RunState, event: Event, _event_id: int, _time_ms: int) -> None:
    _without(state.external_cancels, event.initiated_event_id)  # type: ignore[union-attr]


def _with(ids: Set[int], event_id: int) -> Set[int]:
    """The state that is folded has sets of its own, but for those that are empty."""
    own = ids if isinstance(ids, set) else set(ids)
    own.add(event_id)
    return own


def _without(ids: Set[int], event_id: int) -> None:
    if isinstance(ids, set):
        ids.discard(event_id)


def _unchanged(_state: RunState, _event: Event, _event_id: int, _time_ms: int) -> None:
    """The event says nothing that the owner has to remember."""


_EVENTS: dict[type, Callable[[RunState, Event, int, int], None]] = {
    events.WorkflowExecutionStarted: _unchanged,
    events.WorkflowExecutionSignaled: _unchanged,
    events.WorkflowExecutionCancelRequested: _cancel_requested,
    events.WorkflowExecutionCompleted: _closed(WorkflowStatus.COMPLETED),
    events.WorkflowExecutionFailed: _closed(WorkflowStatus.FAILED),
    events.WorkflowExecutionCanceled: _closed(WorkflowStatus.CANCELED),
    events.WorkflowExecutionTerminated: _closed(WorkflowStatus.TERMINATED),
    events.WorkflowExecutionTimedOut: _closed(WorkflowStatus.TIMED_OUT),
    events.WorkflowExecutionContinuedAsNew: _closed(WorkflowStatus.CONTINUED_AS_NEW),
    events.ActivityTaskScheduled: _scheduled,
    events.ActivityTaskStarted: _unchanged,
    events.ActivityTaskCompleted: _activity_closed,
    events.ActivityTaskFailed: _activity_closed,
    events.ActivityTaskTimedOut: _activity_closed,
    events.ActivityTaskCanceled: _activity_closed,
    events.ActivityTaskCancelRequested: _activity_cancel_requested,
    events.TimerStarted: _timer_started,
    events.TimerFired: _timer_closed,
    events.TimerCanceled: _timer_closed,
    events.MarkerRecorded: _unchanged,
    events.SignalExternalWorkflowExecutionInitiated: _signal_initiated,
    events.ExternalWorkflowExecutionSignaled: _signal_resolved,
    events.SignalExternalWorkflowExecutionFailed: _signal_resolved,
    events.RequestCancelExternalWorkflowExecutionInitiated: _cancel_initiated,
    events.ExternalWorkflowExecutionCancelRequested: _cancel_resolved,
    events.RequestCancelExternalWorkflowExecutionFailed: _cancel_resolved,
}
"""Every event has its change here; a test compares this table with the union of all events."""
