"""How calls are repeated, answered and given up: a real client, a real wire, and an owner that follows a script."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from kit.replies import always, in_turn
from kit.scripted_owner import ScriptedOwner, eventually
from perdure._log.port import Log
from perdure.client import (
    Client,
    OutcomeUnknownError,
    RPCError,
    RPCStatusCode,
    RPCTimeoutOrCancelledError,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.service import PartitionStoppedError
from perdure_schemas.commands import CancelWorkflow, DescribeWorkflow, QueryWorkflow, SignalWorkflow, StartWorkflow
from perdure_schemas.errors import LimitExceeded, PerdureError
from perdure_schemas.replies import Accepted, QueryAnswered, RefusalCode, Refused, WorkflowStarted

SHORT = timedelta(milliseconds=150)
"""A deadline that is meant to pass."""


async def test_a_call_that_gets_no_answer_is_repeated_with_its_request_id(client: Client, owner: ScriptedOwner) -> None:
    owner.script = in_turn(SignalWorkflow, [], [], [Accepted("run-1")])
    await client.get_workflow_handle("wf-1").signal("go")
    ids = owner.requests(SignalWorkflow)
    assert len(ids) >= 3
    assert len(set(ids)) == 1


async def test_of_a_partition_that_is_stopped_a_call_is_told_at_once(client: Client, owner: ScriptedOwner) -> None:
    refused = Refused(RefusalCode.PARTITION_STOPPED, "partition 3 is stopped: its log is damaged")
    owner.script = lambda _: [refused]
    handle = client.get_workflow_handle("wf-1")
    for reading in (handle.describe(), handle.query("state"), handle.result()):
        with pytest.raises(PartitionStoppedError, match="its log is damaged") as told:
            await reading
        assert told.value.status is RPCStatusCode.UNAVAILABLE
    with pytest.raises(OutcomeUnknownError, match=r"its log is damaged.* stays in the log, and is carried out once") as unknown:
        await handle.signal("go", request_id="go-1")
    assert isinstance(unknown.value.__cause__, PartitionStoppedError)
    assert unknown.value.request_id == "go-1"


async def test_every_copy_of_a_call_that_acts_expires_at_the_same_time(client: Client, owner: ScriptedOwner) -> None:
    owner.script = in_turn(CancelWorkflow, [], [], [Accepted("run-1")])
    await client.get_workflow_handle("wf-1").cancel()
    assert len({command.request.expires_at_ms for _, command in owner.commands if command.request}) == 1


@pytest.mark.parametrize("request_id", [None, "order-7"])
async def test_a_named_request_may_be_repeated_for_as_long_as_the_client_says(
    log: Log, owner: ScriptedOwner, request_id: str | None
) -> None:
    owner.script = always(StartWorkflow, WorkflowStarted("run-1", "run-1"))
    lifetime, deadline = timedelta(minutes=7), timedelta(seconds=30)
    began_ms = log.now_ms()
    client = await Client.over(log, namespace="default", request_lifetime=lifetime)
    await client.start_workflow("Transfer", id="wf-1", task_queue="q", request_id=request_id, rpc_timeout=deadline)
    await client.close()
    [expires_at_ms] = {command.request.expires_at_ms for _, command in owner.commands if command.request}
    told = timedelta(milliseconds=expires_at_ms - began_ms)
    expected = deadline + (lifetime if request_id else timedelta(minutes=1))
    assert expected <= told < expected + timedelta(minutes=1)


async def test_two_calls_have_two_request_ids(client: Client, owner: ScriptedOwner) -> None:
    owner.script = always(SignalWorkflow, Accepted("run-1"))
    handle = client.get_workflow_handle("wf-1")
    await handle.signal("go")
    await handle.signal("go")
    assert len(set(owner.requests(SignalWorkflow))) == 2


async def test_a_request_id_that_the_caller_chose_is_the_one_that_is_sent(client: Client, owner: ScriptedOwner) -> None:
    owner.script = always(StartWorkflow, WorkflowStarted("run-1", "run-1"))
    await client.start_workflow("Transfer", id="wf-1", task_queue="q", request_id="order-7")
    assert owner.requests(StartWorkflow) == ["order-7"]


@pytest.mark.parametrize("request_id", ["x" * 2_000, "a\x00b"])
async def test_a_request_id_that_no_owner_would_take_is_refused_at_once(client: Client, owner: ScriptedOwner, request_id: str) -> None:
    with pytest.raises(LimitExceeded, match="request id"):
        await client.start_workflow("Transfer", id="wf-1", task_queue="q", request_id=request_id)
    assert not owner.commands


async def test_copies_of_an_answer_are_ignored(client: Client, owner: ScriptedOwner) -> None:
    owner.script = lambda command: (
        (Accepted("run-1"),) * 3 if isinstance(command.body, SignalWorkflow) else (Accepted("a copy from elsewhere"), QueryAnswered())
    )
    handle = client.get_workflow_handle("wf-1")
    await handle.signal("go")
    assert await handle.query("state") is None
    await handle.signal("go")


async def test_a_call_that_acts_and_is_not_answered_has_an_unknown_outcome(client: Client, owner: ScriptedOwner) -> None:
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.get_workflow_handle("wf-1").terminate(rpc_timeout=SHORT)
    error = caught.value
    assert error.workflow_id == "wf-1"
    assert {error.request_id} == {command.request.request_id for _, command in owner.commands if command.request}
    assert error.status is RPCStatusCode.DEADLINE_EXCEEDED
    for part in ("wf-1", error.request_id, "outcome is unknown", "no owner answers for partition"):
        assert part in str(error)


async def test_the_request_id_of_an_unknown_outcome_can_be_used_again(client: Client, owner: ScriptedOwner) -> None:
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.start_workflow("Transfer", id="wf-1", task_queue="q", rpc_timeout=SHORT)
    owner.script = always(StartWorkflow, WorkflowStarted("run-1", "run-1"))
    handle = await client.start_workflow("Transfer", id="wf-1", task_queue="q", request_id=caught.value.request_id)
    assert handle.result_run_id == "run-1"
    assert len(set(owner.requests(StartWorkflow))) == 1


async def test_a_call_that_only_reads_times_out_without_a_doubt(client: Client, owner: ScriptedOwner) -> None:
    with pytest.raises(RPCTimeoutOrCancelledError) as caught:
        await client.get_workflow_handle("wf-1").describe(rpc_timeout=SHORT)
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert len(owner.requests(DescribeWorkflow)) > 1


async def test_an_owner_that_is_not_ready_is_asked_again(client: Client, owner: ScriptedOwner) -> None:
    not_ready = Refused(RefusalCode.NOT_READY, "partition 2 is being folded")
    owner.script = in_turn(QueryWorkflow, [not_ready], [not_ready], [QueryAnswered()])
    assert await client.get_workflow_handle("wf-1").query("state") is None


async def test_what_an_owner_that_never_gets_ready_said_is_in_the_error(client: Client, owner: ScriptedOwner) -> None:
    owner.script = always(QueryWorkflow, Refused(RefusalCode.NOT_READY, "partition 2 is being folded"))
    with pytest.raises(RPCTimeoutOrCancelledError, match="partition 2 is being folded"):
        await client.get_workflow_handle("wf-1").query("state", rpc_timeout=SHORT)


async def test_an_expired_call_that_acts_has_an_unknown_outcome_and_names_the_clocks(client: Client, owner: ScriptedOwner) -> None:
    owner.script = always(SignalWorkflow, Refused(RefusalCode.EXPIRED, "the request expired at 12:00"))
    with pytest.raises(OutcomeUnknownError, match="clock"):
        await client.get_workflow_handle("wf-1").signal("go")


async def test_an_old_copy_of_a_question_that_has_expired_does_not_end_the_wait(client: Client, owner: ScriptedOwner) -> None:
    owner.script = in_turn(
        DescribeWorkflow, [Refused(RefusalCode.EXPIRED, "expired")], [Refused(RefusalCode.NOT_FOUND, "no such workflow")]
    )
    with pytest.raises(RPCError, match="no such workflow"):
        await client.get_workflow_handle("wf-1").describe()


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        (RefusalCode.NOT_FOUND, RPCError, RPCStatusCode.NOT_FOUND),
        (RefusalCode.INVALID, RPCError, RPCStatusCode.INVALID_ARGUMENT),
        (RefusalCode.LIMIT_EXCEEDED, LimitExceeded, None),
        (RefusalCode.ALREADY_STARTED, WorkflowAlreadyStartedError, None),
        (RefusalCode.QUERY_REJECTED, WorkflowQueryRejectedError, None),
        (RefusalCode.QUERY_FAILED, WorkflowQueryFailedError, None),
        ("from_a_newer_owner", RPCError, RPCStatusCode.UNKNOWN),
    ],
)
async def test_each_refusal_is_one_exception(
    client: Client, owner: ScriptedOwner, code: str, kind: type[PerdureError], status: RPCStatusCode | None
) -> None:
    owner.script = always(QueryWorkflow, Refused(code, "because", "wf-1", "run-1", "Transfer", 3))
    with pytest.raises(kind) as caught:
        await client.get_workflow_handle("wf-1").query("state")
    assert getattr(caught.value, "status", None) == status or kind is WorkflowQueryRejectedError
    if kind not in (WorkflowAlreadyStartedError, WorkflowQueryRejectedError):
        assert "because" in str(caught.value)


async def test_a_collision_names_the_run_that_is_there(client: Client, owner: ScriptedOwner) -> None:
    owner.script = always(StartWorkflow, Refused(RefusalCode.ALREADY_STARTED, "is running", "wf-1", "run-9", "Transfer", 1))
    with pytest.raises(WorkflowAlreadyStartedError) as caught:
        await client.start_workflow("Transfer", id="wf-1", task_queue="q")
    assert (caught.value.workflow_id, caught.value.workflow_type, caught.value.run_id) == ("wf-1", "Transfer", "run-9")


async def test_a_cancelled_caller_leaves_nothing_behind(client: Client, owner: ScriptedOwner) -> None:
    listeners = client.connection.channel._listeners
    call = asyncio.create_task(client.get_workflow_handle("wf-1").describe())
    await eventually(lambda: bool(owner.received(DescribeWorkflow)), "the question arrives")
    assert len(listeners) == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(listeners) == 0


async def test_hundreds_of_calls_at_once_each_get_their_own_answer(client: Client, owner: ScriptedOwner) -> None:
    owner.script = lambda command: (WorkflowStarted(f"run of {command.workflow_id}", "first"),)
    starts = [client.start_workflow("Transfer", id=f"wf-{number}", task_queue="q", request_id=f"r-{number}") for number in range(500)]
    handles = await asyncio.gather(*starts)
    assert [handle.result_run_id for handle in handles] == [f"run of wf-{number}" for number in range(500)]
    assert len(client.connection.channel._listeners) == 0
