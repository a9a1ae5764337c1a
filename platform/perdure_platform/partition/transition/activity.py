"""Handlers of the activity family: announcements, heartbeats, outcomes; retries and how an activity closes.

The first valid outcome of (run, scheduled event, attempt) wins; late and doubled ones change nothing. Start notes and heartbeats are
notes; ActivityTaskStarted is an event only beside the event that closes the activity (semantics 21).
"""

from __future__ import annotations

from perdure_platform.partition.transition.draft import Draft, TaskUndeliverable
from perdure_platform.partition.transition.sizes import noted_bytes
from perdure_platform.partition.transition.state import ActivityState
from perdure_platform.partition.transition.workflow import timeout_failure
from perdure_schemas import events, notes
from perdure_schemas.commands import (
    ActivityHeartbeat,
    ActivityReference,
    ActivityStarted,
    CancelActivity,
    CompleteActivity,
    FailActivity,
)
from perdure_schemas.errors import LimitExceeded
from perdure_schemas.failure import ApplicationFailureInfo, CanceledFailureInfo, Failure, RetryState, TimeoutType
from perdure_schemas.limits import PAYLOADS_BYTES_MAX, check_payloads
from perdure_schemas.options import RetryOptions
from perdure_schemas.payload import Payloads
from perdure_schemas.replies import Accepted, ActivityAttention, ActivityStartAcknowledged, RefusalCode, Refused
from perdure_schemas.retry import decide_retry

PARKED_RETRY_MS = 10_000
"""How long a task rests whose queue could not be written (R9)."""

REPORTED_FAILURE_BYTES_MAX = PAYLOADS_BYTES_MAX + 64 * 1024
"""Of a failed attempt. Workers cut theirs to PAYLOADS_BYTES_MAX, and do not count all that is around it."""


def find(draft: Draft, reference: ActivityReference) -> ActivityState | None:
    """The open activity that `reference` names, if the attempt it names is the one that is out.

    Also one whose task rests: who names that very attempt has an earlier copy of it, or one that landed and was reported as refused.
    """
    run = draft.open_run
    if run is None or (reference.run_id and reference.run_id != run.run_id):
        return None
    if reference.scheduled_event_id:
        activity = run.activities.get(reference.scheduled_event_id)
    else:
        activity = run.activities.named(reference.activity_id)
    if activity is None:
        return None
    if activity.waits_for_retry:
        return activity if activity.rests and reference.attempt == activity.attempt else None
    return activity if reference.attempt in (0, activity.attempt) else None


def started(draft: Draft, command: ActivityStarted, _trace_parent: str) -> None:
    """A worker announces an attempt; it is told whether it may run, and whether a cancel waits for it."""
    activity = find(draft, command.activity)
    reference = command.activity
    if activity is None:
        draft.answer(command.worker, command.nonce, _not_wanted(draft, reference))
        return
    known = activity.start
    granted = known is None or known.nonce == command.nonce or not command.asks_grant
    acknowledged = ActivityStartAcknowledged(
        draft.workflow_id,
        reference.run_id,
        activity.scheduled_event_id,
        activity.attempt,
        command.nonce,
        granted,
        activity.cancel_requested,
    )
    if known is not None and (known.nonce == command.nonce or not granted):
        draft.answer(command.worker, command.nonce, acknowledged)
        return
    draft.note(
        notes.ActivityAttemptStarted(
            activity.scheduled_event_id,
            activity.attempt,
            command.nonce,
            command.worker,
            command.identity,
            command.asks_grant,
        )
    )
    draft.reply(command.worker, command.nonce, acknowledged)


def heartbeat(draft: Draft, command: ActivityHeartbeat, _trace_parent: str) -> None:
    """An attempt is alive; a cancel that waits is repeated (R21)."""
    activity = find(draft, command.activity)
    reference = command.activity
    if activity is None:
        _refuse_report(draft, reference)
        draft.answer(command.worker, command.nonce, _not_wanted(draft, reference))
        return
    if _is_too_large(draft, activity, "", "details of a heartbeat", command.details):
        return
    if command.counter > activity.heartbeat_counter:
        draft.note(notes.ActivityHeartbeatRecorded(activity.scheduled_event_id, activity.attempt, command.counter, command.details))
    if activity.cancel_requested:
        attention = cancel_attention(draft.workflow_id, reference.run_id, activity)
        draft.answer(command.worker, command.nonce, attention)
        draft.reply_request(attention)  # before the acceptance, with which the caller stops listening
    _accept_report(draft)


def _not_wanted(draft: Draft, reference: ActivityReference) -> ActivityAttention:
    return ActivityAttention(draft.workflow_id, reference.run_id, reference.scheduled_event_id, reference.attempt, not_found=True)


def cancel_attention(workflow_id: str, run_id: str, activity: ActivityState) -> ActivityAttention:
    """Tells the worker of an attempt that its cancellation is requested."""
    return ActivityAttention(workflow_id, run_id, activity.scheduled_event_id, activity.attempt, cancel_requested=True)


def complete(draft: Draft, command: CompleteActivity, _trace_parent: str) -> None:
    """An attempt returned."""
    activity = find(draft, command.activity)
    if activity is None:
        _refuse_report(draft, command.activity)
        return
    if _is_too_large(draft, activity, command.identity, "result", command.result):
        return
    started_id = _record_start(draft, activity, command.identity)
    draft.inbound(events.ActivityTaskCompleted(activity.scheduled_event_id, started_id, command.result, command.identity))
    _accept_report(draft)


def failed(draft: Draft, command: FailActivity, _trace_parent: str) -> None:
    """An attempt raised: another one follows, or the activity has failed."""
    activity = find(draft, command.activity)
    if activity is None:
        _refuse_report(draft, command.activity)
        return
    details = command.last_heartbeat_details
    if _is_too_large(draft, activity, command.identity, "last heartbeat details", details, command.failure):
        return
    fail_attempt(draft, activity, command.failure, command.identity, details)
    _accept_report(draft)


def canceled(draft: Draft, command: CancelActivity, _trace_parent: str) -> None:
    """An attempt ended by its cancellation; without a request that is a failure like any other (semantics 24)."""
    activity = find(draft, command.activity)
    if activity is None:
        _refuse_report(draft, command.activity)
        return
    if _is_too_large(draft, activity, command.identity, "details of the cancellation", command.details):
        return
    if activity.cancel_requested:
        close_canceled(draft, activity, command.details, command.identity)
    else:
        failure = Failure("activity raised a cancellation that nobody had requested", info=CanceledFailureInfo(command.details))
        fail_attempt(draft, activity, failure, command.identity, retry_canceled=True)
    _accept_report(draft)


def fail_attempt(
    draft: Draft,
    activity: ActivityState,
    failure: Failure,
    identity: str,
    heartbeat_details: Payloads = (),
    *,
    retry_canceled: bool = False,
) -> None:
    """An attempt failed: note it with the time of the next, or close the activity (semantics 15 to 20)."""
    retry = _retry(draft, activity, failure, retry_canceled)
    if isinstance(retry, RetryState):
        started_id = _record_start(draft, activity, identity)
        draft.inbound(events.ActivityTaskFailed(activity.scheduled_event_id, started_id, failure, retry, identity))
    else:
        draft.note(notes.ActivityAttemptFailed(activity.scheduled_event_id, activity.attempt, failure, retry, heartbeat_details))


def time_out_attempt(draft: Draft, activity: ActivityState, timeout_type: TimeoutType) -> None:
    """An attempt outlived its start-to-close or heartbeat timeout; the next follows if the policy has one.

    Of what is noted the failure before is no cause, nor that one's: an activity that times out for days would grow with every attempt.
    """
    details = activity.heartbeat_details
    failure = timeout_failure(f"activity {timeout_type.name} timeout", timeout_type, None, details)
    retry = _retry(draft, activity, failure, False)
    if not isinstance(retry, RetryState):
        draft.note(notes.ActivityAttemptFailed(activity.scheduled_event_id, activity.attempt, failure, retry, details))
    elif retry is RetryState.TIMEOUT:
        time_out(draft, activity, TimeoutType.SCHEDULE_TO_CLOSE, RetryState.TIMEOUT, failure)
    else:
        time_out(draft, activity, timeout_type, retry, activity.last_failure)


def time_out(
    draft: Draft, activity: ActivityState, timeout_type: TimeoutType, retry_state: RetryState, cause: Failure | None = None
) -> None:
    """The activity timed out for good."""
    failure = timeout_failure(
        f"activity {timeout_type.name} timeout", timeout_type, cause or activity.last_failure, activity.heartbeat_details
    )
    started_id = _record_start(draft, activity, "") if activity.start is not None else 0
    draft.inbound(events.ActivityTaskTimedOut(activity.scheduled_event_id, started_id, failure, retry_state))


def close_canceled(draft: Draft, activity: ActivityState, details: Payloads = (), identity: str = "") -> None:
    """The activity is cancelled."""
    started_id = _record_start(draft, activity, identity) if activity.start is not None or identity else 0
    draft.inbound(events.ActivityTaskCanceled(activity.scheduled_event_id, started_id, details, identity))


def dispatch(draft: Draft, activity: ActivityState) -> None:
    """A task for the current attempt goes out (again)."""
    draft.note(notes.ActivityAttemptDispatched(activity.scheduled_event_id, activity.attempt, activity.heartbeat_details))


def park(draft: Draft, undeliverable: TaskUndeliverable) -> None:
    """A task could not be written to its queue: it rests, and `released` may move on (R9).

    Unless a worker has it: then an earlier copy got through, and resting would take the attempt's grant and its result from it.
    """
    activity = find(draft, ActivityReference(undeliverable.run_id, undeliverable.scheduled_event_id, undeliverable.attempt))
    if activity is not None and activity.start is None and not activity.waits_for_retry:
        draft.note(
            notes.ActivityTaskParked(activity.scheduled_event_id, activity.attempt, undeliverable.reason, draft.now_ms + PARKED_RETRY_MS)
        )


def _retry(draft: Draft, activity: ActivityState, failure: Failure, retry_canceled: bool) -> int | RetryState:
    if activity.cancel_requested:
        return RetryState.CANCEL_REQUESTED
    judged = Failure(failure.message, failure.stack_trace, failure.source, failure.cause) if retry_canceled else failure
    return decide_retry(
        activity.event.retry_options,
        activity.attempt,
        judged,
        now_ms=draft.now_ms,
        deadline_ms=activity.schedule_to_close_deadline_ms(),
    )


def _record_start(draft: Draft, activity: ActivityState, identity: str) -> int:
    who = activity.start.identity if activity.start is not None and activity.start.identity else identity
    event_id = draft.run.state.next_event_id
    draft.inbound(events.ActivityTaskStarted(activity.scheduled_event_id, activity.attempt, who, activity.last_failure))
    return event_id


def _accept_report(draft: Draft) -> None:
    if draft.has_request:
        draft.settle(Accepted(draft.workflow_id))


def _is_too_large(
    draft: Draft, activity: ActivityState, identity: str, what: str, payloads: Payloads, failure: Failure | None = None
) -> bool:
    """Whether a report is larger than our clients and workers let one be: it would not fit into a record beside the last failure.

    A client that asked is refused; an attempt that does so fails for good, as it does where its worker sees it.
    """
    try:
        name = f"activity {activity.event.activity_id!r}"
        check_payloads(f"{what} of {name}", payloads)
        if (size := noted_bytes(failure)) > REPORTED_FAILURE_BYTES_MAX:
            raise LimitExceeded(f"the failure of {name} has {size} bytes; at most {REPORTED_FAILURE_BYTES_MAX} are allowed")
    except LimitExceeded as problem:
        if draft.has_request:
            draft.settle(Refused(RefusalCode.LIMIT_EXCEEDED, str(problem), draft.workflow_id, draft.run.state.run_id))
        else:
            info = ApplicationFailureInfo(type="LimitExceeded", non_retryable=True)
            fail_attempt(draft, activity, Failure(str(problem), source="perdure", info=info), identity)
        return True
    return False


def _refuse_report(draft: Draft, reference: ActivityReference) -> None:
    """A report that is late, doubled or about nothing: only a client that asked is told; a worker learns when it next asks."""
    if draft.has_request:
        what = reference.activity_id or f"of scheduled event {reference.scheduled_event_id}"
        draft.settle(
            Refused(
                RefusalCode.NOT_FOUND,
                f"workflow {draft.workflow_id!r} has no open activity {what} with this attempt: it has closed, timed out or been retried",
                draft.workflow_id,
                reference.run_id,
            )
        )


def normalise(event: events.ActivityTaskScheduled, run_timeout_ms: int) -> events.ActivityTaskScheduled:
    """Fill in timeouts and retry policy as users of Temporal know them (semantics 1.1, "server normalisation")."""
    to_close, to_start, start_to_close = (
        event.schedule_to_close_timeout_ms,
        event.schedule_to_start_timeout_ms,
        event.start_to_close_timeout_ms,
    )
    if to_close:
        start_to_close = min(start_to_close or to_close, to_close)
        to_start = min(to_start or to_close, to_close)
    else:
        to_close = run_timeout_ms
        to_start = to_start or run_timeout_ms
    if run_timeout_ms:
        to_close, to_start, start_to_close = (min(t or run_timeout_ms, run_timeout_ms) for t in (to_close, to_start, start_to_close))
    heartbeat_ms = min(event.heartbeat_timeout_ms, start_to_close) if start_to_close else event.heartbeat_timeout_ms
    retry = event.retry_options
    if not retry.maximum_interval_ms:
        retry = RetryOptions(
            retry.initial_interval_ms,
            retry.backoff_coefficient,
            100 * retry.initial_interval_ms,
            retry.maximum_attempts,
            retry.non_retryable_error_types,
        )
    return events.ActivityTaskScheduled(
        event.activity_id,
        event.activity_type,
        event.task_queue,
        event.input,
        event.header,
        to_close,
        to_start,
        start_to_close,
        heartbeat_ms,
        retry,
        event.cancellation_type,
    )
