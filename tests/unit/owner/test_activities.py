from dataclasses import replace
from typing import Any

import pytest

from kit.core import WORKER, Core, data, produced
from perdure._replay.actions import RequestCancelActivity, ScheduleActivity
from perdure_platform.partition.transition.activity import PARKED_RETRY_MS
from perdure_platform.partition.transition.draft import TaskUndeliverable
from perdure_schemas import events, notes
from perdure_schemas.commands import (
    ActivityHeartbeat,
    ActivityReference,
    ActivityStarted,
    CancelActivity,
    CompleteActivity,
    FailActivity,
    SignalWorkflow,
    StartWorkflow,
)
from perdure_schemas.failure import ApplicationFailureInfo, Failure, RetryState, TimeoutFailureInfo, TimeoutType
from perdure_schemas.options import RetryOptions, WorkflowStatus
from perdure_schemas.replies import Accepted, ActivityAttention, ActivityStartAcknowledged
from perdure_schemas.topics import TASK_RETENTION_MS


def scheduling(**options: Any) -> Any:
    """Code that schedules one activity at the start, and cancels it at a signal."""

    def code(run: Any, activation: Any) -> Any:
        if any(isinstance(event, events.WorkflowExecutionStarted) for _, event in activation.inbound):
            return (ScheduleActivity("1", "withdraw", **{"start_to_close_timeout_ms": 60_000, **options}),)
        if any(isinstance(event, events.WorkflowExecutionSignaled) for _, event in activation.inbound):
            return (RequestCancelActivity(next(iter(run.activities))),)
        return ()

    return code


def started(core: Core, nonce: str = "n1", **options: Any) -> ActivityStarted:
    return ActivityStarted(core.attempt(), nonce, WORKER, "worker@host", **options)


def test_a_result_closes_the_activity_with_its_lazy_start() -> None:
    core = Core()
    core.start()
    decision = core.take(CompleteActivity(core.attempt(), data("7"), "worker@host"))
    assert [type(event) for event in produced(decision)] == [
        events.ActivityTaskStarted,
        events.ActivityTaskCompleted,
        events.WorkflowExecutionCompleted,
    ]
    assert core.run.status is WorkflowStatus.COMPLETED
    assert core.run.close_event == events.WorkflowExecutionCompleted(data("7"))


def test_the_first_valid_outcome_wins() -> None:
    core = Core(code=scheduling())
    core.start()
    attempt = core.attempt()
    decision = core.decide(
        core.arrived(CompleteActivity(attempt, data("1"))),
        core.arrived(CompleteActivity(attempt, data("2"))),
        core.arrived(FailActivity(attempt, Failure("x"))),
    )
    outcomes = [event for event in produced(decision) if isinstance(event, events.ActivityTaskCompleted | events.ActivityTaskFailed)]
    assert len(outcomes) == 1
    assert not core.take(CompleteActivity(attempt, data("3"))).is_recorded


@pytest.mark.parametrize("wrong", [{"attempt": 2}, {"scheduled_event_id": 99}, {"run_id": "other"}])
def test_an_outcome_of_another_attempt_activity_or_run_changes_nothing(wrong: dict[str, Any]) -> None:
    core = Core()
    core.start()
    right = core.attempt()
    reference = ActivityReference(
        **{"run_id": right.run_id, "scheduled_event_id": right.scheduled_event_id, "attempt": right.attempt, **wrong}
    )
    assert not core.take(CompleteActivity(reference, data("7"))).is_recorded


def test_a_failed_attempt_is_a_note_and_is_dispatched_again_when_due() -> None:
    core = Core(code=scheduling())
    core.start()
    decision = core.take(FailActivity(core.attempt(), Failure("busy")))
    assert produced(decision) == []
    (note,) = decision.runs[0].notes
    assert isinstance(note, notes.ActivityAttemptFailed)
    assert note.retry_at_ms == core.now_ms + 1_000
    assert core.run.next_due_ms() == note.retry_at_ms
    (again,) = core.pass_time(1_000).runs[0].notes
    assert again == notes.ActivityAttemptDispatched(note.scheduled_event_id, 2)
    assert core.attempt().attempt == 2


def test_a_late_result_of_a_failed_attempt_is_dropped() -> None:
    core = Core(code=scheduling())
    core.start()
    first = core.attempt()
    core.take(FailActivity(first, Failure("busy")))
    assert not core.take(CompleteActivity(first, data("7"))).is_recorded
    core.pass_time(1_000)
    assert not core.take(CompleteActivity(first, data("7"))).is_recorded
    assert core.take(CompleteActivity(core.attempt(), data("7"))).is_recorded


def test_a_task_that_a_worker_has_is_not_parked_when_it_cannot_be_sent_once_more() -> None:
    """A takeover sends tasks again whose queue may be out of reach by then. Parked, the attempt would lose its grant and its result."""
    core = Core(code=scheduling(retry_options=RetryOptions(maximum_attempts=1)))
    core.start()
    core.take(started(core, asks_grant=True))
    attempt = core.attempt()
    undeliverable = TaskUndeliverable(attempt.run_id, attempt.scheduled_event_id, attempt.attempt, "queue 'work' cannot be written")
    assert not core.decide(undeliverable).is_recorded
    assert core.take(CompleteActivity(attempt, data("7"))).is_recorded


def at_rest(core: Core) -> ActivityReference:
    """The attempt of an activity whose task has just been refused by its queue."""
    core.start()
    attempt = core.attempt()
    undeliverable = TaskUndeliverable(attempt.run_id, attempt.scheduled_event_id, attempt.attempt, "queue 'work' cannot be written")
    assert core.decide(undeliverable).is_recorded
    assert not core.decide(undeliverable).is_recorded, "another copy of it is of no matter"
    return attempt


@pytest.mark.parametrize("announces", [True, False])
def test_who_has_a_copy_of_a_task_that_rests_may_run_it_and_nobody_else_after(announces: bool) -> None:
    """A claim before may have sent it. Dropped, its result would be lost, and the attempt would run twice."""
    core = Core(code=scheduling(retry_options=RetryOptions(maximum_attempts=1)))
    attempt = at_rest(core)
    if announces:
        granted = core.take(started(core, asks_grant=True))
        assert [reply.body.granted for reply in granted.replies if isinstance(reply.body, ActivityStartAcknowledged)] == [True]
        assert not core.pass_time(PARKED_RETRY_MS).is_recorded, "a worker has it, and it is dispatched again"
    assert core.take(CompleteActivity(attempt, data("7"))).is_recorded


def test_a_heartbeat_says_that_a_task_at_rest_is_with_a_worker() -> None:
    core = Core(code=scheduling())
    attempt = at_rest(core)
    assert core.take(ActivityHeartbeat(attempt, 1)).is_recorded
    assert not core.pass_time(PARKED_RETRY_MS).is_recorded


def test_a_report_on_an_attempt_that_waits_behind_a_failed_one_is_about_nothing() -> None:
    core = Core(code=scheduling())
    core.start()
    first = core.attempt()
    core.take(FailActivity(first, Failure("busy")))
    assert not core.take(CompleteActivity(replace(first, attempt=2), data("7"))).is_recorded


@pytest.mark.parametrize(
    ("options", "failure", "state"),
    [
        (RetryOptions(maximum_attempts=1), Failure("x"), RetryState.MAXIMUM_ATTEMPTS_REACHED),
        (RetryOptions(), Failure("x", info=ApplicationFailureInfo(non_retryable=True)), RetryState.NON_RETRYABLE_FAILURE),
        (
            RetryOptions(non_retryable_error_types=("Bad",)),
            Failure("x", info=ApplicationFailureInfo("Bad")),
            RetryState.NON_RETRYABLE_FAILURE,
        ),
    ],
)
def test_an_activity_fails_for_good_with_the_reason(options: RetryOptions, failure: Failure, state: RetryState) -> None:
    core = Core(code=scheduling(retry_options=options))
    core.start()
    decision = core.take(FailActivity(core.attempt(), failure))
    closed = produced(decision)[1]
    assert isinstance(closed, events.ActivityTaskFailed)
    assert closed.retry_state is state
    assert closed.failure == failure


def test_a_retry_that_would_begin_behind_the_deadline_is_refused_at_once() -> None:
    core = Core(code=scheduling(schedule_to_close_timeout_ms=900))
    core.start()
    closed = produced(core.take(FailActivity(core.attempt(), Failure("x"))))[1]
    assert isinstance(closed, events.ActivityTaskFailed)
    assert closed.retry_state is RetryState.TIMEOUT


def test_an_announced_attempt_times_out_and_is_tried_again() -> None:
    core = Core(code=scheduling(start_to_close_timeout_ms=5_000))
    core.start()
    core.take(started(core))
    core.pass_time(4_999)
    assert core.attempt().attempt == 1
    core.pass_time(1)
    activity = core.run.activities[core.attempt().scheduled_event_id]
    assert activity.attempt == 2
    assert activity.last_failure is not None
    assert isinstance(activity.last_failure.info, TimeoutFailureInfo)


def test_what_is_noted_of_a_timeout_does_not_grow_from_attempt_to_attempt() -> None:
    core = Core(code=scheduling(start_to_close_timeout_ms=5_000, retry_options=RetryOptions(backoff_coefficient=1.0)))
    core.start()
    sizes: list[int] = []
    for _ in range(5):
        core.take(started(core))
        core.take(ActivityHeartbeat(core.attempt(), 1, data("50")))
        (note,) = core.pass_time(5_000).runs[0].notes
        assert isinstance(note, notes.ActivityAttemptFailed)
        sizes.append(len(repr(note)))
        core.pass_time(1_000)
    assert len(set(sizes)) == 1


def test_no_timeout_before_the_backlog_is_read() -> None:
    core = Core(code=scheduling(start_to_close_timeout_ms=5_000), caught_up=True)
    core.start()
    core.take(started(core))
    core.caught_up = False
    assert not core.pass_time(6_000).is_recorded
    assert core.take(CompleteActivity(core.attempt(), data("7"))).is_recorded


def test_schedule_to_close_ends_the_activity_whatever_it_does() -> None:
    core = Core(code=scheduling(schedule_to_close_timeout_ms=3_000))
    core.start()
    core.take(FailActivity(core.attempt(), Failure("busy")))
    closed = produced(core.pass_time(3_000))[-1]
    assert isinstance(closed, events.ActivityTaskTimedOut)
    assert isinstance(closed.failure.info, TimeoutFailureInfo)
    assert closed.failure.info.timeout_type is TimeoutType.SCHEDULE_TO_CLOSE
    assert closed.failure.cause == Failure("busy")


def test_schedule_to_start_is_not_retried() -> None:
    core = Core(code=scheduling(schedule_to_start_timeout_ms=3_000))
    core.start()
    closed = produced(core.pass_time(3_000))[-1]
    assert isinstance(closed, events.ActivityTaskTimedOut)


def test_a_task_that_cannot_be_delivered_times_out_like_one_that_nobody_takes() -> None:
    core = Core(code=scheduling(schedule_to_start_timeout_ms=3 * PARKED_RETRY_MS))
    core.start()
    attempt = core.attempt()
    for _ in range(3):
        core.decide(TaskUndeliverable(attempt.run_id, attempt.scheduled_event_id, 1, "gone"))
        last = core.pass_time(PARKED_RETRY_MS)
    closed = produced(last)[-1]
    assert isinstance(closed, events.ActivityTaskTimedOut)
    assert isinstance(closed.failure.info, TimeoutFailureInfo)
    assert closed.failure.info.timeout_type is TimeoutType.SCHEDULE_TO_START


def test_a_task_that_is_sent_once_more_before_it_ages_away_has_no_more_time_to_be_taken() -> None:
    core = Core(code=scheduling(schedule_to_start_timeout_ms=TASK_RETENTION_MS))
    core.start()
    (again,) = core.pass_time(TASK_RETENTION_MS // 2).runs[0].notes
    assert isinstance(again, notes.ActivityAttemptDispatched)
    assert isinstance(produced(core.pass_time(TASK_RETENTION_MS // 2))[-1], events.ActivityTaskTimedOut)


def test_the_attempt_after_a_failed_one_has_its_own_time_to_be_taken() -> None:
    core = Core(code=scheduling(schedule_to_start_timeout_ms=5_000))
    core.start()
    core.pass_time(4_000)
    core.take(FailActivity(core.attempt(), Failure("busy")))
    core.pass_time(1_000)
    assert not produced(core.pass_time(4_999))
    assert isinstance(produced(core.pass_time(1))[-1], events.ActivityTaskTimedOut)


@pytest.mark.parametrize("timeout", ["schedule_to_close_timeout_ms", "schedule_to_start_timeout_ms"])
def test_a_timeout_behind_a_cancel_request_says_that_there_was_one(timeout: str) -> None:
    core = Core(code=scheduling(**{timeout: 500}))
    core.start()
    core.take(SignalWorkflow("cancel"))
    closed = produced(core.pass_time(500))[-1]
    assert isinstance(closed, events.ActivityTaskTimedOut)
    assert closed.retry_state is RetryState.CANCEL_REQUESTED


def test_heartbeats_move_the_deadline_and_their_details_reach_the_next_attempt() -> None:
    core = Core(code=scheduling(heartbeat_timeout_ms=2_000))
    core.start()
    core.take(started(core))
    core.pass_time(1_500)
    core.take(ActivityHeartbeat(core.attempt(), 1, data("50")))
    core.pass_time(1_500)
    assert core.attempt().attempt == 1
    core.take(ActivityHeartbeat(core.attempt(), 0, data("late")))
    core.pass_time(500)
    assert core.attempt().attempt == 2
    (again,) = core.pass_time(1_000).runs[0].notes
    assert isinstance(again, notes.ActivityAttemptDispatched)
    assert again.heartbeat_details == data("50")


def test_a_grant_is_for_one_delivery_only() -> None:
    core = Core(code=scheduling(retry_options=RetryOptions(maximum_attempts=1)))
    core.start()
    first = core.take(started(core, "n1", asks_grant=True))
    reply = first.replies[0].body
    assert isinstance(reply, ActivityStartAcknowledged)
    assert reply.granted
    second = core.take(started(core, "n2", asks_grant=True))
    assert not second.is_recorded
    refusal = second.answers[0].body
    assert isinstance(refusal, ActivityStartAcknowledged)
    assert not refusal.granted
    again = core.take(started(core, "n1", asks_grant=True)).answers[0].body
    assert isinstance(again, ActivityStartAcknowledged)
    assert again.granted


def test_the_start_of_what_is_no_longer_wanted_is_answered_so() -> None:
    core = Core(code=scheduling())
    core.start()
    announcement = started(core)
    core.take(CompleteActivity(core.attempt()))
    answer = core.take(announcement).answers[0].body
    assert isinstance(answer, ActivityAttention)
    assert answer.not_found


def cancel(core: Core) -> Any:
    return core.take(SignalWorkflow("cancel"), request_id="cancel")


def test_cancelling_a_running_activity_tells_its_worker() -> None:
    core = Core(code=scheduling())
    core.start()
    core.take(started(core))
    decision = cancel(core)
    attention = decision.replies[-1].body
    assert isinstance(attention, ActivityAttention)
    assert attention.cancel_requested
    beat = core.take(ActivityHeartbeat(core.attempt(), 1, nonce="n1", worker=WORKER))
    assert isinstance(beat.answers[0].body, ActivityAttention)
    closed = produced(core.take(CancelActivity(core.attempt(), data("d"))))[-1]
    assert isinstance(closed, events.ActivityTaskCanceled)


def test_cancelling_an_activity_in_back_off_closes_it() -> None:
    core = Core(code=scheduling())
    core.start()
    core.take(FailActivity(core.attempt(), Failure("busy")))
    cancel(core)
    assert isinstance(produced(core.pass_time(0))[-1], events.ActivityTaskCanceled)


def test_cancelling_an_activity_that_nobody_took_closes_it_after_a_while() -> None:
    core = Core(code=scheduling())
    core.start()
    cancel(core)
    assert not core.pass_time(500).is_recorded
    assert isinstance(produced(core.pass_time(600))[-1], events.ActivityTaskCanceled)


def test_after_a_cancel_request_a_failure_is_final() -> None:
    core = Core(code=scheduling())
    core.start()
    core.take(started(core))
    cancel(core)
    closed = produced(core.take(FailActivity(core.attempt(), Failure("x"))))[-1]
    assert isinstance(closed, events.ActivityTaskFailed)
    assert closed.retry_state is RetryState.CANCEL_REQUESTED


def test_a_cancellation_that_nobody_asked_for_is_retried() -> None:
    core = Core(code=scheduling())
    core.start()
    core.take(CancelActivity(core.attempt()))
    assert core.run.activities[next(iter(core.run.activities))].attempt == 2


def test_a_closed_run_forgets_its_activities() -> None:
    core = Core(code=scheduling())
    core.start(StartWorkflow("T", "q", run_timeout_ms=1_000))
    attempt = core.attempt()
    core.pass_time(1_000)
    assert core.run.status is WorkflowStatus.TIMED_OUT
    assert not core.take(CompleteActivity(attempt)).is_recorded


def test_too_many_open_activities_fail_the_activation_and_record_nothing_of_it() -> None:
    core = Core(code=lambda run, activation: tuple(ScheduleActivity(str(n), "a", start_to_close_timeout_ms=1) for n in range(2_001)))
    decision = core.start()
    assert [type(event) for event in produced(decision)] == [events.WorkflowExecutionStarted]
    assert core.run.activation_failure is not None
    assert "2000" in core.run.activation_failure.failure.message
    assert core.discarded == 1


def test_a_client_that_heartbeats_hears_of_the_cancel_before_its_acceptance() -> None:
    core = Core(code=scheduling())
    core.start()
    core.take(started(core))
    cancel(core)
    replies = core.take(ActivityHeartbeat(core.attempt(), 1), request_id="beat").replies
    assert [type(reply.body) for reply in replies] == [ActivityAttention, Accepted]
