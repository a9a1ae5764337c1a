"""What the code of one run does reaches neither another run nor its own replay (P5, P7, P9; semantics 4.1 and 4.4)."""

import gc
import time

import pytest

from kit import bad_workflows as flows
from kit.code import Code, kinds, signal, value
from perdure._replay import actions, refuse
from perdure._replay.activate import SETTLED_STAYS, SIGNALS_FIRST
from perdure._replay.host import ActivationError, QueryError


def test_dropping_a_run_that_waits_unrestricted_leaves_its_owner_free() -> None:
    code = Code(flows.WaitsUnrestricted)
    code.begin()
    code.close()
    try:
        time.time()  # the owner goes on
    finally:
        refuse._state.active = False


def test_a_run_that_does_not_end_when_it_is_dropped_asks_for_nothing_in_the_midst_of_another() -> None:
    gc.disable()
    try:
        dropped = Code(flows.StaysWhenDropped)
        dropped.begin()
        dropped.close()
        del dropped
        collects = Code(flows.Collects, deadlock_timeout_ms=0)  # which takes the longer, the more tests have run before
        assert kinds(collects.begin()) == ["CompleteWorkflow"]
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore:Exception ignored in")
def test_a_generator_that_is_left_behind_does_not_fail_its_run() -> None:
    assert kinds(Code(flows.LeavesAGenerator).begin())[-1] == "CompleteWorkflow"


def test_context_variables_of_a_run_are_not_seen_by_another() -> None:
    Code(flows.SetsAVariable).begin()
    assert Code(flows.ReadsTheVariable).begin() == [actions.CompleteWorkflow(value("none"))]


@pytest.mark.parametrize("query", ["details", "leave", "cancelled"])
def test_whatever_a_query_raises_is_the_query_s_error(query: str) -> None:
    code = Code(flows.OddQueries)
    code.begin()
    with pytest.raises(QueryError):
        code.instance.query(query, (), {})
    code.close()


@pytest.mark.parametrize("query", ["cancel", "wake", "later"])
def test_a_query_changes_nothing(query: str) -> None:
    code = Code(flows.QueriesThatAct)
    code.begin()
    with pytest.raises(QueryError):
        code.instance.query(query, (), {})
    assert code.happen(signal("go")) == []
    code.replay().close()  # a nondeterminism error, if the query had moved anything
    code.close()


def test_cancelling_one_of_two_equal_timers_leaves_the_other() -> None:
    code = Code(flows.TwoEqualTimers)
    (timer,) = code.begin()
    assert timer.timer_id == "2"
    code.close()


def test_no_timer_is_shorter_than_it_was_asked_for() -> None:
    code = Code(flows.ShortTimers)
    assert [one.delay_ms for one in code.begin()] == [2, 1, 1_100]
    code.close()


def test_a_failure_whose_details_cannot_be_written_fails_its_run_all_the_same() -> None:
    assert kinds(Code(flows.FailsWithOddDetails).begin()) == ["FailWorkflow"]
    with pytest.raises(ActivationError, match="'x'"):
        Code(flows.FailsOfAnOddCause).begin()


@pytest.mark.parametrize("flow", ["FailsInItsConstructor", "FailsInAPredicate"])
def test_a_failure_fails_the_workflow_wherever_it_is_raised(flow: str) -> None:
    assert kinds(Code(getattr(flows, flow)).begin()) == ["FailWorkflow"]


@pytest.mark.parametrize("what", list(flows.LEAKS))
def test_clocks_and_randomness_are_refused(what: str) -> None:
    with pytest.raises(ActivationError, match="not allowed in workflow code"):
        Code(flows.Leaks, value(what)).begin()


def test_a_condition_with_a_timeout_takes_the_same_steps_in_every_python() -> None:
    """The wait_for of Python 3.11 takes one step more than that of 3.12: a run that was begun under one was blocked under the other."""
    code = Code(flows.TwoConditions)
    code.begin()
    assert [getattr(one, "activity_type", "") for one in code.happen(signal("go"))] == ["", "one", "two"]
    code.close()


def test_a_run_from_before_keeps_its_steps() -> None:
    code = Code(flows.TwoConditions, flags=(SIGNALS_FIRST, SETTLED_STAYS))
    code.begin()
    asked = [getattr(one, "activity_type", "") for one in code.happen(signal("go"))]
    assert sorted(asked) == ["", "one", "two"]
    code.replay().close()
    code.close()


def test_a_run_of_a_newer_build_waits_for_that_build() -> None:
    with pytest.raises(ActivationError, match="of a newer build"):
        Code(flows.TwoConditions, flags=(SIGNALS_FIRST, 1_000)).begin()
