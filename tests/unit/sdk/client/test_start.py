"""Starting workflows: what is sent, what is refused before anything is sent, and how a result comes with the start."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from kit.replies import always, in_turn
from kit.scripted_owner import ScriptedOwner
from perdure.client import Client, WorkflowFailureError
from perdure.common import RetryPolicy, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure_schemas.commands import AwaitWorkflow, Command, StartWorkflow
from perdure_schemas.errors import LimitExceeded
from perdure_schemas.options import IdConflictPolicy, IdReusePolicy, WorkflowStatus
from perdure_schemas.replies import ReplyBody, WorkflowClosed, WorkflowStarted

STARTED = WorkflowStarted("run-1", "run-1")


def returned(client: Client, value: Any, run_id: str = "run-1", new_run_id: str = "") -> WorkflowClosed:
    payloads = client.data_converter.payload_converter.to_payloads([value])
    return WorkflowClosed(run_id, WorkflowStatus.COMPLETED, payloads, new_run_id=new_run_id)


async def test_a_start_says_all_that_was_asked_for(client: Client, owner: ScriptedOwner) -> None:
    owner.script = always(StartWorkflow, STARTED)
    handle = await client.start_workflow(
        "Transfer",
        args=["a", 2],
        id="wf-1",
        task_queue="bank",
        execution_timeout=timedelta(hours=1),
        run_timeout=timedelta(minutes=1),
        task_timeout=timedelta(seconds=7),
        start_delay=timedelta(microseconds=1),
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        retry_policy=RetryPolicy(maximum_attempts=3),
        memo={"note": "hello"},
        start_signal="go",
        start_signal_args=[1],
    )
    assert (handle.id, handle.run_id, handle.result_run_id, handle.first_execution_run_id) == ("wf-1", None, "run-1", "run-1")
    (start,) = owner.received(StartWorkflow)
    convert = client.data_converter.payload_converter.to_payloads
    assert (start.workflow_type, start.task_queue, start.input) == ("Transfer", "bank", convert(["a", 2]))
    assert (start.execution_timeout_ms, start.run_timeout_ms, start.task_timeout_ms) == (3_600_000, 60_000, 7_000)
    assert start.start_delay_ms == 1, "a delay that was asked for is never none"
    assert (start.id_reuse_policy, start.id_conflict_policy) == (IdReusePolicy.REJECT_DUPLICATE, IdConflictPolicy.USE_EXISTING)
    assert start.retry_options is not None
    assert start.retry_options.maximum_attempts == 3
    assert start.memo == {"note": convert(["hello"])[0]}
    assert start.signal is not None
    assert (start.signal.name, start.signal.input) == ("go", convert([1]))
    assert (start.identity, start.await_result) == ("tester", False)


async def test_none_is_an_argument_like_any_other(client: Client, owner: ScriptedOwner) -> None:
    owner.script = always(StartWorkflow, STARTED)
    await client.start_workflow("Transfer", None, id="wf-1", task_queue="q")
    await client.start_workflow("Transfer", id="wf-1", task_queue="q")
    assert [len(start.input) for start in owner.received(StartWorkflow)] == [1, 0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda client: client.start_workflow("T", id="", task_queue="q"), LimitExceeded, "workflow id is empty"),
        (lambda client: client.start_workflow("T", id="x" * 1001, task_queue="q"), LimitExceeded, "1001 bytes"),
        (lambda client: client.start_workflow("T", id="x\n", task_queue="q"), LimitExceeded, "control characters"),
        (lambda client: client.start_workflow("T", id="x", task_queue=""), LimitExceeded, "task queue is empty"),
        (lambda client: client.start_workflow("", id="x", task_queue="q"), LimitExceeded, "workflow type is empty"),
        (lambda client: client.start_workflow("T", "y" * 3_000_000, id="x", task_queue="q"), LimitExceeded, "input of workflow 'x'"),
        (lambda client: client.start_workflow("T", id="x", task_queue="q", start_signal=""), LimitExceeded, "signal name is empty"),
        (lambda client: client.start_workflow("T", 1, args=[2], id="x", task_queue="q"), ValueError, "both"),
        (lambda client: client.start_workflow("T", args="abc", id="x", task_queue="q"), TypeError, "list"),
        (
            lambda client: client.start_workflow("T", id="x", task_queue="q", run_timeout=timedelta(-1)),
            ValueError,
            "run_timeout is negative",
        ),
        (lambda client: client.start_workflow("T", id="x", task_queue="q", start_signal_args=[1]), ValueError, "without start_signal"),
        (lambda client: client.start_workflow("T", id="x", task_queue="q", run_timout=None), TypeError, "run_timout"),
        (lambda client: client.start_workflow("T", id="x"), TypeError, "task_queue"),
        (
            lambda client: client.start_workflow(
                "T",
                id="x",
                task_queue="q",
                id_reuse_policy=WorkflowIDReusePolicy.TERMINATE_IF_RUNNING,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            ),
            ValueError,
            "TERMINATE_EXISTING",
        ),
        (lambda client: client.get_workflow_handle("x").signal("s", "y" * 3_000_000), LimitExceeded, "input of signal 's'"),
        (lambda client: client.get_workflow_handle("x").query("", 1), LimitExceeded, "query name is empty"),
    ],
)
async def test_a_mistake_is_reported_before_anything_is_sent(
    client: Client, owner: ScriptedOwner, call: Callable[[Client], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await call(client)
    assert owner.commands == []


async def test_a_workflow_is_executed_with_one_command_and_two_replies(client: Client, owner: ScriptedOwner) -> None:
    owner.script = always(StartWorkflow, STARTED, returned(client, 42))
    assert await client.execute_workflow("Transfer", id="wf-1", task_queue="q") == 42
    assert {type(command.body) for _, command in owner.commands} == {StartWorkflow}
    assert owner.received(StartWorkflow)[0].await_result


async def test_a_result_that_was_lost_is_asked_for_until_it_comes(client: Client, owner: ScriptedOwner) -> None:
    waits = in_turn(AwaitWorkflow, [], [], [returned(client, 42)])
    owner.script = lambda command: (STARTED,) if isinstance(command.body, StartWorkflow) else waits(command)
    assert await client.execute_workflow("Transfer", id="wf-1", task_queue="q") == 42
    assert len(owner.received(StartWorkflow)) == 1
    assert {wait.run_id for wait in owner.received(AwaitWorkflow)} == {"run-1"}
    assert len(set(owner.requests(AwaitWorkflow))) == 1
    expiries = [
        command.request.expires_at_ms for _, command in owner.commands if isinstance(command.body, AwaitWorkflow) and command.request
    ]
    assert expiries == sorted(set(expiries)), "each question lives anew"


async def test_a_result_that_comes_without_the_answer_to_the_start_is_taken(client: Client, owner: ScriptedOwner) -> None:
    owner.script = always(StartWorkflow, returned(client, 42))
    assert await client.execute_workflow("Transfer", id="wf-1", task_queue="q") == 42


async def test_an_executed_workflow_that_fails_raises_its_cause(client: Client, owner: ScriptedOwner) -> None:
    convert = client.data_converter
    failure = convert.failure_converter.to_failure(ValueError("no such account"), convert.payload_converter)
    owner.script = always(StartWorkflow, STARTED, WorkflowClosed("run-1", WorkflowStatus.FAILED, failure=failure))
    with pytest.raises(WorkflowFailureError) as caught:
        await client.execute_workflow("Transfer", id="wf-1", task_queue="q")
    assert "no such account" in str(caught.value.cause)


async def test_copies_of_the_start_do_not_disturb_the_wait_for_its_result(client: Client, owner: ScriptedOwner) -> None:
    asked = 0

    def script(command: Command) -> tuple[ReplyBody, ...]:
        nonlocal asked
        asked += 1
        return (STARTED, STARTED) if isinstance(command.body, StartWorkflow) else (STARTED, returned(client, 42))

    owner.script = script
    assert await client.execute_workflow("Transfer", id="wf-1", task_queue="q") == 42
