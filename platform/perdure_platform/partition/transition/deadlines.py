"""What is due: timers, retries, timeouts, cancels that no worker will answer. All in due order, none early (P5, design.md 3.9).

A timer or a retry fires by the clock alone once the takeover's backlog is read. A timeout closes something that a command in the
backlog may still save, so it fires only when commands were read to an end offset that was fetched after it was due (R12).
"""

from __future__ import annotations

from perdure_platform.partition.transition import activity as activities
from perdure_platform.partition.transition import workflow
from perdure_platform.partition.transition.draft import Draft
from perdure_platform.partition.transition.state import ActivityState
from perdure_schemas import events
from perdure_schemas.failure import RetryState, TimeoutType


def fire(draft: Draft) -> bool:
    """Do everything of the run that is due now and may be done now; False if the record is full before that is done."""
    context = draft.context
    run = draft.open_run
    if run is None or not context.caught_up_ms:
        return True
    if _passed(run.timeout_ms(), context.caught_up_ms):
        workflow.time_out(draft)
        return True
    for _, activity in run.activities.due(max(context.now_ms, context.caught_up_ms)):
        if draft.is_full:
            return False
        _fire_activity(draft, activity)
    for event_id, timer in run.timers.due(context.now_ms):
        draft.inbound(events.TimerFired(timer.timer_id, event_id))
    return True


def _passed(deadline_ms: int, limit_ms: int) -> bool:
    return 0 < deadline_ms <= limit_ms


def _no_retry(activity: ActivityState) -> RetryState:
    """Why no attempt follows a timeout that none ever follows (semantics 15)."""
    return RetryState.CANCEL_REQUESTED if activity.cancel_requested else RetryState.TIMEOUT


def _fire_activity(draft: Draft, activity: ActivityState) -> None:
    now_ms, caught_up_ms = draft.context.now_ms, draft.context.caught_up_ms
    heartbeat_ms = activity.heartbeat_deadline_ms(draft.context.leading_since_ms)
    if _passed(activity.schedule_to_close_deadline_ms(), caught_up_ms):
        activities.time_out(draft, activity, TimeoutType.SCHEDULE_TO_CLOSE, _no_retry(activity))
    elif _passed(activity.cancel_due_ms(), now_ms if activity.waits_for_retry else caught_up_ms):
        activities.close_canceled(draft, activity)
    elif _passed(activity.schedule_to_start_deadline_ms(), caught_up_ms):
        activities.time_out(draft, activity, TimeoutType.SCHEDULE_TO_START, _no_retry(activity))
    elif _passed(activity.start_to_close_deadline_ms(), caught_up_ms):
        activities.time_out_attempt(draft, activity, TimeoutType.START_TO_CLOSE)
    elif _passed(heartbeat_ms, caught_up_ms):
        activities.time_out_attempt(draft, activity, TimeoutType.HEARTBEAT)
    elif _passed(activity.retry_at_ms, now_ms) or _passed(activity.redispatch_ms(), now_ms):
        activities.dispatch(draft, activity)
