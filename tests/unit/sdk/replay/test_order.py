"""The order of tasks comes from what user code made, and costs the same however many runs are open (issue 20, 5 and 6)."""

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from kit.code import Code, completed, kinds, value
from perdure._replay import actions
from perdure._replay.activate import OWN_DEADLINES, SETTLED_STAYS, SIGNALS_FIRST
from perdure._replay.host import ActivationError, QueryError
from perdure._replay.loop import WorkflowTask
from perdure_schemas import events
from perdure_schemas.failure import ApplicationFailureInfo, Failure, RetryState

sys.path.insert(0, str(Path(__file__).parent))
flows: Any = importlib.import_module("group_workflows")

BEFORE = (SIGNALS_FIRST, SETTLED_STAYS, OWN_DEADLINES)


def look(what: str, flags: tuple[int, ...] = ()) -> Any:
    code = Code(flows.Looks, value(what), flags=flags)
    (done,) = code.begin()
    code.close()
    return done


@pytest.mark.parametrize("deadlines", [0, 1, 3, 7, 20])
def test_members_of_a_group_are_cancelled_in_the_order_in_which_they_were_made(deadlines: int) -> None:
    code = Code(flows.Cancels, value(deadlines))
    scheduled = [action for action in code.begin() if isinstance(action, actions.ScheduleActivity)]
    _, _, first, recorded = code.history[-1]
    ids = [first + at for at, event in enumerate(recorded) if isinstance(event, events.ActivityTaskScheduled)]
    assert [action.activity_type for action in scheduled] == [f"a{number}" for number in range(20)]
    failure = Failure("no", info=ApplicationFailureInfo("No"))
    asked = code.happen(events.ActivityTaskFailed(ids[7], 0, failure, RetryState.NON_RETRYABLE_FAILURE))
    assert [action.scheduled_event_id for action in asked[:-1]] == [one for one in ids if one != ids[7]]
    code.close()


def test_the_order_of_a_set_does_not_depend_on_futures_that_nobody_put_into_one() -> None:
    results: list[Any] = []
    for futures in (0, 1, 13, 1000):
        code = Code(flows.Sets, value(futures))
        code.begin()
        results.append(code.history[-1][3])
        code.close()
    assert all(result == results[0] for result in results)
    done: Any = results[0][0]
    assert isinstance(done, events.WorkflowExecutionCompleted)
    assert done.result[0].data.endswith(",".join(f'"{number}"' for number in range(30)).encode() + b',"0"]')  # what `wait` gave


@pytest.mark.parametrize("steps", range(4))
def test_a_cancel_that_comes_together_with_the_result_of_wait_for_is_kept(steps: int) -> None:
    code = Code(flows.WaitsFor, value(steps))
    assert code.begin()[-1] == actions.CompleteWorkflow(value(True))
    code.close()


def test_a_start_costs_the_same_however_many_runs_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio looks tasks up in one set of the process, by hashes that are the same in every run."""
    compared = 0

    def compare(self: object, other: object) -> bool:
        nonlocal compared
        compared += 1
        return self is other

    monkeypatch.setattr(WorkflowTask, "__eq__", compare)
    codes = [Code(flows.Looks, value("rest"), deadlock_timeout_ms=0) for _ in range(300)]
    costs = set()
    for code in codes:
        compared = 0
        code.begin()
        costs.add(compared)
    assert len(costs) == 1
    for code in codes:
        code.close()


def test_an_activity_that_is_given_up_before_its_task_began_leaves_no_trace() -> None:
    code = Code(flows.GivesUpAtOnce)
    assert [(action.activity_type, action.activity_id) for action in code.begin()] == [("b", "2")]
    code.replay().close()
    assert kinds(code.happen(completed(2))) == ["CompleteWorkflow"]
    code.close()


def test_all_tasks_are_those_of_the_run() -> None:
    resting = Code(flows.Looks, value("rest"))
    resting.begin()
    assert look("own") == look("own", BEFORE) == actions.CompleteWorkflow(value(["run"]))
    resting.close()


def test_every_reference_and_every_subclass_gets_what_belongs_to_the_run() -> None:
    ours = "perdure._replay.primitives."
    assert look("group") == actions.CompleteWorkflow(value(ours + "groups"))
    assert look("semaphore") == actions.CompleteWorkflow(value(ours + "locks"))
    assert look("counted") == actions.CompleteWorkflow(value([True, True]))
    assert look("names") == actions.CompleteWorkflow(value(["task-1", "task-2"]))


def test_a_run_that_began_before_keeps_asyncios_own() -> None:
    assert look("group", BEFORE) == actions.CompleteWorkflow(value("asyncio.taskgroups"))
    assert look("semaphore", BEFORE) == actions.CompleteWorkflow(value("asyncio.locks"))
    assert look("names", BEFORE) != look("names")


async def test_code_outside_of_workflows_keeps_asyncios_own() -> None:
    look("group")
    assert type(asyncio.TaskGroup()) is asyncio.TaskGroup
    assert type(asyncio.timeout(1)) is asyncio.Timeout
    done, pending = await asyncio.wait([asyncio.create_task(asyncio.sleep(0))])
    assert type(done) is type(pending) is set
    assert list(await asyncio.wait_for(asyncio.gather(asyncio.sleep(0, 5)), 60)) == [5]
    assert asyncio.current_task() in asyncio.all_tasks()


async def test_a_workflow_may_run_within_a_task_of_another_loop() -> None:
    own = asyncio.current_task()
    assert kinds([look("group")]) == ["CompleteWorkflow"]
    assert asyncio.current_task() is own


@pytest.mark.parametrize(("what", "text"), [("coroutines", "give it a list"), ("eager", "leave eager_start out")])
def test_what_no_replay_could_repeat_is_refused(what: str, text: str) -> None:
    code = Code(flows.Looks, value(what))
    with pytest.raises(ActivationError, match=text):
        code.begin()
    code.close()


@pytest.mark.parametrize("query", ["greedy", "gathers", "waits"])
def test_a_query_starts_nothing_in_any_of_them(query: str) -> None:
    code = Code(flows.Looks, value("rest"))
    code.begin()
    with pytest.raises(QueryError):
        code.instance.query(query, (), {})
    assert kinds(code.happen()) == []
    code.close()
