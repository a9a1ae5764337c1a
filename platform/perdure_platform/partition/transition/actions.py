"""What workflow code asked for -> the events of its run. One action is one event, in the same order (semantics 4.3).

A limit that the code breaks is an error of its activation: nothing of the activation is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure._replay import actions
from perdure._replay.host import REFUSED_BY, ActivationError
from perdure_platform.partition.transition import activity as activities
from perdure_platform.partition.transition import workflow
from perdure_platform.partition.transition.draft import Draft
from perdure_schemas import events
from perdure_schemas.errors import LimitExceeded
from perdure_schemas.failure import ApplicationFailureInfo, Failure
from perdure_schemas.limits import (
    ID_BYTES_MAX,
    PENDING_ACTIVITIES_MAX,
    PENDING_EXTERNAL_MAX,
    check_duration,
    check_id,
    check_payloads,
    check_retry,
    check_task_queue,
    check_texts,
)
from perdure_schemas.options import RetryOptions


def perform(draft: Draft, requested: tuple[actions.Action, ...]) -> None:
    """Turn each action into its event. Raises ActivationError where one breaks a limit."""
    for action in requested:
        try:
            _ACTIONS[type(action)](draft, action)
        except LimitExceeded as problem:
            raise refusal(draft, str(problem)) from None


def refusal(draft: Draft, problem: str) -> ActivationError:
    """The error for code that asks for more than a run may have."""
    run = draft.run.state
    message = f"workflow {run.workflow_id!r}, run {run.run_id} ({run.started.workflow_type}): {problem}"
    return ActivationError(Failure(message, source=REFUSED_BY, info=ApplicationFailureInfo(type="LimitExceeded")))


def _schedule_activity(draft: Draft, action: actions.ScheduleActivity) -> None:
    run = draft.run.state
    check_id("activity id", action.activity_id)
    check_id("activity type", action.activity_type)
    if action.task_queue:
        check_task_queue(action.task_queue)
    check_payloads(f"input of activity {action.activity_type!r}", action.input)
    check_duration("schedule-to-close timeout", action.schedule_to_close_timeout_ms)
    check_duration("schedule-to-start timeout", action.schedule_to_start_timeout_ms)
    check_duration("start-to-close timeout", action.start_to_close_timeout_ms)
    check_duration("heartbeat timeout", action.heartbeat_timeout_ms)
    check_retry(action.retry_options)
    if len(run.activities) >= PENDING_ACTIVITIES_MAX:
        raise LimitExceeded(
            f"{len(run.activities)} activities are open, and a run may have {PENDING_ACTIVITIES_MAX}; await some of them first"
        )
    if run.activities.named(action.activity_id) is not None:
        raise LimitExceeded(f"activity id {action.activity_id!r} belongs to an activity that is still open; give each its own")
    event = events.ActivityTaskScheduled(
        action.activity_id,
        action.activity_type,
        action.task_queue or run.started.task_queue,
        action.input,
        action.header,
        action.schedule_to_close_timeout_ms,
        action.schedule_to_start_timeout_ms,
        action.start_to_close_timeout_ms,
        action.heartbeat_timeout_ms,
        action.retry_options or RetryOptions(),
        action.cancellation_type,
    )
    draft.produce(activities.normalise(event, run.started.run_timeout_ms))


def _cancel_activity(draft: Draft, action: actions.RequestCancelActivity) -> None:
    activity = draft.run.state.activities.get(action.scheduled_event_id)
    draft.produce(events.ActivityTaskCancelRequested(action.scheduled_event_id))
    if activity is not None and activity.start is not None:
        attention = activities.cancel_attention(draft.workflow_id, draft.run.state.run_id, activity)
        draft.reply(activity.start.worker, activity.start.nonce, attention)


def _start_timer(draft: Draft, action: actions.StartTimer) -> None:
    check_duration("timer's delay", action.delay_ms)
    draft.produce(events.TimerStarted(action.timer_id, action.delay_ms))


def _cancel_timer(draft: Draft, action: actions.CancelTimer) -> None:
    draft.produce(events.TimerCanceled(action.timer_id, action.started_event_id))


def _record_marker(draft: Draft, action: actions.RecordMarker) -> None:
    for name, value in action.details.items():
        if len(value) > ID_BYTES_MAX:
            raise LimitExceeded(f"the {name} of a {action.marker_name} has {len(value)} characters; at most {ID_BYTES_MAX} are allowed")
    draft.produce(events.MarkerRecorded(action.marker_name, action.details))


def _signal_external(draft: Draft, action: actions.SignalExternalWorkflow) -> None:
    check_id("workflow id to signal", action.workflow_id)
    check_id("signal name", action.signal_name)
    _check_named("run id", action.run_id)
    check_payloads(f"input of signal {action.signal_name!r}", action.input)
    _check_pending("signals", len(draft.run.state.external_signals))
    draft.produce(
        events.SignalExternalWorkflowExecutionInitiated(action.workflow_id, action.run_id, action.signal_name, action.input, action.header)
    )


def _cancel_external(draft: Draft, action: actions.CancelExternalWorkflow) -> None:
    check_id("workflow id to cancel", action.workflow_id)
    _check_named("run id", action.run_id)
    check_texts("reason of a cancel request", action.reason)
    _check_pending("cancel requests", len(draft.run.state.external_cancels))
    draft.produce(events.RequestCancelExternalWorkflowExecutionInitiated(action.workflow_id, action.run_id, action.reason))


def _check_named(what: str, name: str) -> None:
    """Where nothing may be given."""
    if name:
        check_id(what, name)


def _check_pending(what: str, count: int) -> None:
    if count >= PENDING_EXTERNAL_MAX:
        raise LimitExceeded(
            f"{count} {what} to other workflows are unanswered, and a run may have {PENDING_EXTERNAL_MAX}; await some of them first"
        )


def _complete(draft: Draft, action: actions.CompleteWorkflow) -> None:
    check_payloads("workflow's result", action.result)
    draft.produce(events.WorkflowExecutionCompleted(action.result))


def _fail(draft: Draft, action: actions.FailWorkflow) -> None:
    workflow.fail(draft, action.failure)


def _cancel(draft: Draft, action: actions.CancelWorkflowExecution) -> None:
    draft.produce(events.WorkflowExecutionCanceled(action.details))


def _continue_as_new(draft: Draft, action: actions.ContinueAsNewWorkflow) -> None:
    old = draft.run.state
    started = old.started
    if action.workflow_type:
        check_id("next run's workflow type", action.workflow_type)
    if action.task_queue:
        check_task_queue(action.task_queue)
    check_payloads("input of the next run", action.input)
    for key in action.memo or ():
        check_texts("name of a value in the next run's memo", key)
    check_payloads("next run's memo", tuple((action.memo or {}).values()))
    check_duration("next run's timeout", action.run_timeout_ms)
    check_duration("next run's task timeout", action.task_timeout_ms)
    check_duration("next run's delay", action.backoff_start_interval_ms)
    check_retry(action.retry_options)
    new_run_id = draft.new_run_id("continue-as-new", old.run_id)
    workflow_type = action.workflow_type or started.workflow_type
    task_queue = action.task_queue or started.task_queue
    workflow.continue_as_new(
        draft,
        events.WorkflowExecutionContinuedAsNew(new_run_id, workflow_type, task_queue, action.input),
        events.WorkflowExecutionStarted(
            workflow_type=workflow_type,
            task_queue=task_queue,
            input=action.input,
            first_execution_run_id=started.first_execution_run_id,
            header=action.header or started.header,
            memo=started.memo if action.memo is None else action.memo,
            search_attributes=started.search_attributes if action.search_attributes is None else action.search_attributes,
            execution_timeout_ms=started.execution_timeout_ms,
            run_timeout_ms=action.run_timeout_ms or started.run_timeout_ms,
            task_timeout_ms=action.task_timeout_ms or started.task_timeout_ms,
            execution_deadline_ms=started.execution_deadline_ms,
            first_activation_delay_ms=action.backoff_start_interval_ms,
            retry_options=action.retry_options or started.retry_options,
            attempt=1,
            continued_run_id=old.run_id,
            identity=started.identity,
            trace_parent=started.trace_parent,
            waiter=started.waiter,
        ),
    )


_ACTIONS: dict[type, Callable[[Draft, Any], None]] = {
    actions.ScheduleActivity: _schedule_activity,
    actions.RequestCancelActivity: _cancel_activity,
    actions.StartTimer: _start_timer,
    actions.CancelTimer: _cancel_timer,
    actions.RecordMarker: _record_marker,
    actions.SignalExternalWorkflow: _signal_external,
    actions.CancelExternalWorkflow: _cancel_external,
    actions.CompleteWorkflow: _complete,
    actions.FailWorkflow: _fail,
    actions.CancelWorkflowExecution: _cancel,
    actions.ContinueAsNewWorkflow: _continue_as_new,
}
"""Every action has its event here; a test compares this table with the union of all actions."""
