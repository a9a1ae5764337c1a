"""A group of exceptions does to a run what its members would do, and no more blocks it (issue 20, 7)."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from kit.code import Code, completed, kinds, signal, value
from perdure._replay import actions
from perdure._replay.activate import OWN_DEADLINES, SETTLED_STAYS, SIGNALS_FIRST
from perdure._replay.host import ActivationError
from perdure_schemas import events
from perdure_schemas.failure import ApplicationFailureInfo, CanceledFailureInfo, Failure, RetryState

sys.path.insert(0, str(Path(__file__).parent))
flows: Any = importlib.import_module("group_workflows")

BEFORE = (SIGNALS_FIRST, SETTLED_STAYS, OWN_DEADLINES)
CANCEL = events.WorkflowExecutionCancelRequested("enough")


def failed(scheduled_event_id: int, message: str = "declined") -> events.ActivityTaskFailed:
    failure = Failure(message, info=ApplicationFailureInfo("Declined"))
    return events.ActivityTaskFailed(scheduled_event_id, 0, failure, RetryState.NON_RETRYABLE_FAILURE)


def begun(what: str, flags: tuple[int, ...] = ()) -> Code:
    code = Code(flows.InGroup, value(what), flags=flags)
    code.begin()
    return code


def scheduled(code: Code, activity_type: str) -> int:
    """The event of the activity."""
    for _, _, first, recorded in code.history:
        for event_id, event in enumerate(recorded, first):
            if isinstance(event, events.ActivityTaskScheduled) and event.activity_type == activity_type:
                return event_id
    raise KeyError(activity_type)


@pytest.mark.parametrize("what", ["plain", "nested"])
@pytest.mark.parametrize("flags", [(), BEFORE])
def test_a_workflow_that_is_cancelled_while_a_group_waits_is_cancelled(what: str, flags: tuple[int, ...]) -> None:
    code = begun(what, flags)
    asked = kinds(code.happen(CANCEL))
    assert asked == ["RequestCancelActivity"] * (3 if what == "nested" else 2) + ["CancelWorkflowExecution"]
    code.replay().close()
    code.close()


@pytest.mark.parametrize("what", ["plain", "nested"])
@pytest.mark.parametrize("flags", [(), BEFORE])
def test_an_activity_that_fails_in_a_group_fails_the_workflow_with_all_that_is_known(what: str, flags: tuple[int, ...]) -> None:
    code = begun(what, flags)
    asked = code.happen(failed(scheduled(code, "a")))
    assert kinds(asked) == ["RequestCancelActivity"] * (2 if what == "nested" else 1) + ["FailWorkflow"]
    failure = asked[-1].failure
    assert failure.message == ("unhandled errors in a TaskGroup: ActivityError: Activity task failed, caused by ApplicationError: declined")
    assert failure.cause.info.activity_type == "a"
    assert failure.cause.cause.message == "declined"
    assert failure.info.type == "ExceptionGroup"
    cancelled = "ActivityError: Activity cancelled, caused by CancelledError: Cancelled"
    assert failure.info.details == value(cancelled) * (2 if what == "nested" else 1)
    code.replay().close()
    code.close()


def test_the_first_failure_is_the_cause_and_the_second_a_detail() -> None:
    code = begun("plain")
    asked = code.happen(failed(scheduled(code, "b"), "second"), failed(scheduled(code, "a"), "first"))
    failure = asked[-1].failure
    assert failure.cause.cause.message == "second"  # it happened first
    assert b"first" in failure.info.details[0].data
    code.close()


def test_a_bug_in_a_member_blocks_the_activation_as_it_would_alone() -> None:
    code = begun("bug")
    with pytest.raises(ActivationError, match="a bug in a member") as caught:
        code.happen(completed(scheduled(code, "c")))
    assert caught.value.failure.info == ApplicationFailureInfo("KeyError")
    code.close()


def test_a_member_may_continue_as_new() -> None:
    code = begun("continue")
    assert kinds(code.happen(completed(scheduled(code, "c"))))[-1] == "ContinueAsNewWorkflow"
    code.close()


def test_a_group_in_a_signal_handler_fails_the_workflow() -> None:
    code = begun("plain")
    code.happen(signal("group"))
    asked = code.happen(failed(scheduled(code, "of the signal")))
    assert kinds(asked) == ["FailWorkflow"]
    code.close()


def test_a_group_of_a_condition_fails_the_workflow() -> None:
    code = begun("condition")
    (failed_workflow,) = code.happen(signal("make_trouble"))
    assert failed_workflow.failure.message == "both: ApplicationError: one"
    assert failed_workflow.failure.info.details == value("ApplicationError: two")
    code.close()


def test_cancellations_that_nobody_asked_for_fail_the_workflow_as_one_would() -> None:
    code = Code(flows.RaisesGroup, value("cancelled"))
    (failed_workflow,) = code.begin()
    assert failed_workflow.failure.info == CanceledFailureInfo()
    code.close()


def test_a_cancellation_beside_a_failure_is_a_detail_of_it_and_retries_are_the_failures_to_forbid() -> None:
    code = Code(flows.RaisesGroup, value("partly"))
    (failed_workflow,) = code.begin()
    failure = failed_workflow.failure
    assert failure.cause.message == "no"
    assert failure.info == ApplicationFailureInfo("ExceptionGroup", True, value("CancelledError: "))
    code.close()


def test_groups_that_are_listed_fail_the_workflow_whatever_is_in_them() -> None:
    code = Code(flows.RaisesGroup, value("odd"))
    with pytest.raises(ActivationError, match="bug"):
        code.begin()
    code.close()
    code = Code(flows.ListsGroups, value("odd"))
    (failed_workflow,) = code.begin()
    assert failed_workflow.failure.message == "odd: ApplicationError: no"
    assert failed_workflow.failure.info.details == value("Odd: bug")
    code.close()


def test_half_a_character_in_a_member_does_not_lose_the_failure() -> None:
    code = Code(flows.RaisesGroup, value("half"))
    (failed_workflow,) = code.begin()
    assert failed_workflow.failure.info.details == value("ApplicationError: half a character: \\udcff")
    code.close()


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        ((), [[True, True], [True, False], [False, False], [True, False]]),
        (BEFORE, [[False, False]] * 4),
    ],
)
def test_code_may_ask_what_a_group_is(flags: tuple[int, ...], answer: list[list[bool]]) -> None:
    code = Code(flows.RaisesGroup, value("ask"), flags=flags)
    assert code.begin() == [actions.CompleteWorkflow(value(answer))]
    code.close()


@pytest.mark.parametrize("what", ["at once", "swallowed before"])
def test_a_cancel_is_delivered_once_and_cleanup_runs_in_peace(what: str) -> None:
    code = Code(flows.CleansUp, value(what))
    code.begin()
    if what == "at once":
        assert kinds(code.happen(CANCEL)) == ["RequestCancelActivity", "ScheduleActivity"]
    else:
        code.happen(CANCEL)
        assert kinds(code.happen(failed(scheduled(code, "member")))) == ["ScheduleActivity"]
    assert code.happen(completed(scheduled(code, "cleanup"))) == [actions.CompleteWorkflow(value("done"))]
    code.close()


def test_a_cancel_that_comes_as_a_group_fails_is_not_lost() -> None:
    code = Code(flows.KeepsCancel)
    code.begin()
    code.happen(failed(scheduled(code, "fails")))
    assert kinds(code.happen(CANCEL)) == []
    _, _, first, recorded = code.history[-2]
    timer = next(first + at for at, event in enumerate(recorded) if isinstance(event, events.TimerStarted))
    assert kinds(code.happen(events.TimerFired("2", timer), after_ms=1_000)) == ["CancelWorkflowExecution"]
    code.close()
