import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kit.code import Code, completed, kinds, signal, value
from perdure._replay import actions
from perdure._replay.activate import SIGNALS_FIRST
from perdure._replay.host import ActivationError, QueryError
from perdure_schemas import events
from perdure_schemas.events import Event
from perdure_schemas.failure import ApplicationFailureInfo, Failure, RetryState

sys.path.insert(0, str(Path(__file__).parent))
flows: Any = importlib.import_module("workflows")


def test_code_runs_until_it_is_blocked_and_goes_on_with_results() -> None:
    code = Code(flows.TwoActivities)
    (first,) = code.begin()
    assert (first.activity_id, first.activity_type) == ("1", "first")
    (second,) = code.happen(completed(2, 5))
    assert second.input == value(5)
    assert code.happen(completed(4, 7)) == [actions.CompleteWorkflow(value(12))]
    code.close()


def test_a_replay_asks_for_the_same_and_goes_on_where_it_was() -> None:
    code = Code(flows.TwoActivities)
    code.begin()
    code.happen(completed(2, 5))
    again = code.replay()
    assert again.happen(completed(4, 7)) == [actions.CompleteWorkflow(value(12))]
    code.close()
    again.close()


def test_changed_code_is_an_error_that_shows_both_sides() -> None:
    code = Code(flows.TwoActivities)
    code.begin()
    with pytest.raises(ActivationError) as caught:
        code.replay(flows.OtherOrder)
    assert caught.value.nondeterminism
    text = str(caught.value)
    assert "event 2: ActivityTaskScheduled (activity_id='1', activity_type='first')" in text
    assert "ScheduleActivity (activity_id='1', activity_type='second')" in text
    assert "wf-1" in text
    code.close()


def test_a_patch_lets_old_runs_go_on_and_new_ones_take_the_new_way() -> None:
    old = Code(flows.TwoActivities)
    old.begin()
    replayed = old.replay(flows.Patched)
    assert kinds(replayed.happen(completed(2))) == ["CompleteWorkflow"]
    new = Code(flows.Patched)
    assert kinds(new.begin()) == ["RecordMarker", "ScheduleActivity"]
    again = new.replay()
    assert kinds(again.happen(completed(3))) == ["CompleteWorkflow"]
    with pytest.raises(ActivationError, match="nondeterminism"):
        new.replay(flows.TwoActivities)
    for code in (old, replayed, new, again):
        code.close()


def test_signals_before_the_start_run_first_and_in_order() -> None:
    code = Code(flows.Signals)
    code.begin(signal("add", "a"), signal("add", "b"))
    assert code.instance.query("order", (), {}) == value(["add a", "add b", "run"])
    assert kinds(code.happen(signal("add", "c"))) == ["CompleteWorkflow"]
    code.close()


def test_a_signal_that_cannot_be_decoded_is_dropped_and_one_without_a_handler_waits() -> None:
    code = Code(flows.Signals)
    code.begin(signal("add", 5), signal("nobody", 1))
    assert code.instance.query("order", (), {}) == value(["run"])
    code.close()


def test_a_query_only_reads() -> None:
    code = Code(flows.Signals)
    code.begin()
    with pytest.raises(QueryError, match="cannot start an activity"):
        code.instance.query("greedy", (), {})
    with pytest.raises(QueryError, match="greedy, order"):
        code.instance.query("missing", (), {})
    assert kinds(code.happen(signal("add", "a"))) == []
    code.close()


def test_groups_gather_and_wait_behave_the_same_on_replay() -> None:
    code = Code(flows.Groups)
    timers = code.begin()
    assert [timer.delay_ms for timer in timers] == [3_000, 1_000, 2_000]
    code.happen(events.TimerFired("2", 3), after_ms=1_000)
    code.happen(events.TimerFired("3", 4), after_ms=1_000)
    scheduled = code.happen(events.TimerFired("1", 2), after_ms=1_000)
    assert [action.activity_type for action in scheduled] == ["a0", "a1", "a2"]
    again = code.replay()
    for one in (code, again):
        one.happen(completed(8), completed(9), completed(10))
        assert one.happen(events.TimerFired("4", 14), after_ms=1_000) == [actions.CompleteWorkflow(value([1, 2, 3, 11]))]
        one.close()


def test_a_timer_that_is_no_longer_needed_is_cancelled_and_one_that_fires_is_a_timeout() -> None:
    code = Code(flows.Timeouts)
    assert kinds(code.begin()) == ["StartTimer"]
    assert code.happen(events.TimerFired("1", 2), after_ms=5_000) == [actions.CompleteWorkflow(value("late"))]
    code.close()


@pytest.mark.parametrize(
    ("what", "ends", "cancels"),
    [
        ("timer", events.TimerFired("1", 2), "CancelTimer"),
        ("activity", completed(2), "RequestCancelActivity"),
        ("activity", events.ActivityTaskFailed(2, 0, Failure("no"), RetryState.NON_RETRYABLE_FAILURE), "RequestCancelActivity"),
        ("activity", events.ActivityTaskTimedOut(2, 0, Failure("late"), RetryState.TIMEOUT), "RequestCancelActivity"),
        ("activity", events.ActivityTaskCanceled(2, 0), "RequestCancelActivity"),
    ],
)
def test_what_ends_as_it_is_given_up_is_not_cancelled(what: str, ends: Event, cancels: str) -> None:
    """Signals run first: the code gives up what has ended by then, and does not know it yet."""
    code = Code(flows.GivesUp, value(what))
    code.begin()
    assert kinds(code.happen(signal("enough"), ends)) == ["ScheduleActivity"]
    code.replay().close()
    code.close()
    earlier = Code(flows.GivesUp, value(what))
    earlier.begin()
    assert sorted(kinds(earlier.happen(signal("enough")))) == sorted([cancels, "ScheduleActivity"])
    earlier.replay().close()
    earlier.close()


def test_a_run_keeps_the_behaviour_that_it_began_with() -> None:
    code = Code(flows.GivesUp, value("timer"), flags=(SIGNALS_FIRST,))
    code.begin()
    assert kinds(code.happen(signal("enough"), events.TimerFired("1", 2))) == ["CancelTimer", "ScheduleActivity"]
    assert code.flags == (SIGNALS_FIRST,)
    code.replay().close()
    code.close()


def test_a_cancel_reaches_the_activity_and_cleanup_may_run_more() -> None:
    code = Code(flows.Cleanup)
    code.begin()
    assert kinds(code.happen(events.WorkflowExecutionCancelRequested("enough"))) == ["RequestCancelActivity", "ScheduleActivity"]
    assert kinds(code.happen(completed(5))) == ["CancelWorkflowExecution"]
    code.close()


@pytest.mark.parametrize(
    ("what", "outcome"), [("application", "FailWorkflow"), ("timeout", "FailWorkflow"), ("continue", "ContinueAsNewWorkflow")]
)
def test_failures_of_the_workflow_end_the_run(what: str, outcome: str) -> None:
    code = Code(flows.Raises, value(what))
    assert kinds(code.begin()) == [outcome]
    code.close()


@pytest.mark.parametrize("what", ["bug", "exit"])
def test_anything_else_blocks_the_activation_and_not_the_run(what: str) -> None:
    code = Code(flows.Raises, value(what))
    with pytest.raises(ActivationError):
        code.begin()
    code.close()


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("time", "workflow.time()"),
        ("caught", "workflow.now()"),
        ("now", "workflow.now()"),
        ("random", "workflow.random()"),
        ("open", "an activity"),
        ("thread", "asyncio tasks"),
        ("executor", "an activity"),
        ("loop", "without waiting"),
    ],
)
def test_what_differs_on_replay_is_refused_with_its_replacement(what: str, instead: str) -> None:
    code = Code(flows.Forbidden, value(what))
    with pytest.raises(ActivationError) as caught:
        code.begin()
    assert instead in str(caught.value)
    code.close()


def test_safe_replacements_imports_and_logging_are_allowed_and_repeat() -> None:
    code = Code(flows.Allowed)
    first = code.begin()
    assert kinds(first) == ["CompleteWorkflow"]
    again = Code(flows.Allowed)
    assert again.begin() == first
    code.close()
    again.close()


def test_another_workflow_is_told_and_its_absence_is_an_error_with_a_type() -> None:
    code = Code(flows.External)
    assert kinds(code.begin()) == ["SignalExternalWorkflow"]
    assert kinds(code.happen(events.ExternalWorkflowExecutionSignaled(2))) == ["CancelExternalWorkflow"]
    assert code.happen(events.ExternalWorkflowExecutionCancelRequested(4)) == [actions.CompleteWorkflow(value("told"))]
    code.close()
    code = Code(flows.External)
    code.begin()
    failure = Failure("nobody", info=ApplicationFailureInfo("ExternalWorkflowExecutionNotFound"))
    (done,) = code.happen(events.SignalExternalWorkflowExecutionFailed(2, failure))
    assert done == actions.CompleteWorkflow(value("ExternalWorkflowExecutionNotFound"))
    code.close()


def test_tasks_run_in_the_order_in_which_they_were_started() -> None:
    code = Code(flows.Crowd)
    assert [action.activity_type for action in code.begin()] == [f"a{n}" for n in range(50)]
    code.close()


def test_the_order_of_tasks_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from kit.code import Code\nimport workflows\n"
        "code = Code(workflows.Groups)\nprint(code.begin())\n"
    )
    places = [str(Path(__file__).parent), str(Path(__file__).parents[3])]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, *places], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(outputs) == 1
