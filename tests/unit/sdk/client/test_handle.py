"""Handles: results, signals, queries, ends, descriptions and histories."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest

from kit.replies import always, in_turn
from kit.scripted_owner import ScriptedOwner
from perdure.client import (
    Client,
    RPCError,
    RPCStatusCode,
    RPCTimeoutOrCancelledError,
    WorkflowContinuedAsNewError,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from perdure.common import QueryRejectCondition
from perdure.exceptions import CancelledError, TerminatedError, TimeoutError  # noqa: A004 - the name that users know
from perdure_schemas import options
from perdure_schemas.commands import (
    AwaitWorkflow,
    CancelWorkflow,
    Command,
    DescribeWorkflow,
    FetchHistory,
    QueryWorkflow,
    SignalWorkflow,
    StartWorkflow,
    TerminateWorkflow,
)
from perdure_schemas.errors import LimitExceeded
from perdure_schemas.events import TimerStarted
from perdure_schemas.failure import ApplicationFailureInfo, Failure
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.replies import (
    Accepted,
    HistoryEvent,
    HistoryPage,
    PendingActivity,
    QueryAnswered,
    RefusalCode,
    Refused,
    ReplyBody,
    RunSummary,
    WorkflowBlocked,
    WorkflowClosed,
    WorkflowDescribed,
    WorkflowStarted,
)


class Runs:
    """A chain of runs: each wait is answered for its own run."""

    def __init__(self, *chain: WorkflowClosed) -> None:
        self.by_id = {closed.run_id: closed for closed in chain}
        self.first = chain[0]

    def __call__(self, command: Command) -> Iterable[ReplyBody]:
        assert isinstance(command.body, AwaitWorkflow)
        return (self.by_id[command.body.run_id] if command.body.run_id else self.first,)


def continued(run_id: str, new_run_id: str) -> WorkflowClosed:
    return WorkflowClosed(run_id, WorkflowStatus.CONTINUED_AS_NEW, new_run_id=new_run_id)


async def test_a_result_is_that_of_the_last_run_of_its_chain(client: Client, owner: ScriptedOwner) -> None:
    result = client.data_converter.payload_converter.to_payloads(["done"])
    owner.script = Runs(
        continued("run-1", "run-2"),
        WorkflowClosed("run-2", WorkflowStatus.FAILED, failure=Failure("retried"), new_run_id="run-3"),
        WorkflowClosed("run-3", WorkflowStatus.TIMED_OUT, new_run_id="run-4"),
        WorkflowClosed("run-4", WorkflowStatus.COMPLETED, result),
    )
    assert await client.get_workflow_handle("wf-1").result() == "done"
    assert [wait.run_id for wait in owner.received(AwaitWorkflow)] == ["", "run-2", "run-3", "run-4"]


async def test_a_result_without_following_says_which_run_follows(client: Client, owner: ScriptedOwner) -> None:
    owner.script = Runs(continued("run-1", "run-2"))
    with pytest.raises(WorkflowContinuedAsNewError) as caught:
        await client.get_workflow_handle("wf-1").result(follow_runs=False)
    assert caught.value.new_execution_run_id == "run-2"


async def test_what_blocks_an_awaited_run_is_logged_once_per_failure_while_the_wait_goes_on(
    client: Client, owner: ScriptedOwner, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [Failure("run() misses 'name'", info=ApplicationFailureInfo(type="TypeError")), Failure("parked: it ended 3 owners")]
    told = [WorkflowBlocked("run-1", failures[0], attempt, 5_000) for attempt in (1, 2, 3)]
    owner.script = in_turn(
        AwaitWorkflow, told[:2], told[2:], [WorkflowBlocked("run-1", failures[1])], [WorkflowClosed("run-1", WorkflowStatus.COMPLETED)]
    )
    with caplog.at_level("WARNING", "perdure.client"):
        assert await client.get_workflow_handle("wf 1").result() is None
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    first, second = caplog.messages
    for part in ("workflow 'wf 1' (run run-1 of namespace default)", "blocked: TypeError: run() misses 'name'", "describe 'wf 1'"):
        assert part in first
    assert "parked: it ended 3 owners; it waits for an operator" in second


async def test_what_blocks_a_run_that_was_started_to_wait_for_it_is_logged(
    client: Client, owner: ScriptedOwner, caplog: pytest.LogCaptureFixture
) -> None:
    closed = WorkflowClosed("run-1", WorkflowStatus.COMPLETED)
    blocked = WorkflowBlocked("run-1", Failure("no such type"), 1, 5_000)
    owner.script = always(StartWorkflow, WorkflowStarted("run-1", "run-1"), blocked, closed)
    with caplog.at_level("WARNING", "perdure.client"):
        assert await client.execute_workflow("Transfer", id="wf-1", task_queue="q") is None
    assert len(caplog.messages) == 1
    assert "no such type" in caplog.messages[0]


async def test_a_handle_of_a_run_waits_for_that_run(client: Client, owner: ScriptedOwner) -> None:
    owner.script = Runs(WorkflowClosed("run-7", WorkflowStatus.COMPLETED))
    assert await client.get_workflow_handle("wf-1", run_id="run-7").result() is None
    assert owner.received(AwaitWorkflow) == [AwaitWorkflow("run-7")]


@pytest.mark.parametrize(
    ("status", "failure", "cause", "text"),
    [
        (WorkflowStatus.FAILED, Failure("broken"), Exception, "broken"),
        (WorkflowStatus.CANCELED, None, CancelledError, "cancelled"),
        (WorkflowStatus.TERMINATED, Failure("by hand"), TerminatedError, "by hand"),
        (WorkflowStatus.TIMED_OUT, Failure("workflow timed out"), TimeoutError, "timed out"),
    ],
)
async def test_a_run_that_did_not_return_raises_why(
    client: Client, owner: ScriptedOwner, status: WorkflowStatus, failure: Failure | None, cause: type[Exception], text: str
) -> None:
    owner.script = Runs(WorkflowClosed("run-1", status, failure=failure))
    with pytest.raises(WorkflowFailureError) as caught:
        await client.get_workflow_handle("wf-1").result()
    assert isinstance(caught.value.cause, cause)
    assert text in str(caught.value.cause)


async def test_details_of_a_termination_reach_who_waits(client: Client, owner: ScriptedOwner) -> None:
    details = client.data_converter.payload_converter.to_payloads(["who", 3])
    owner.script = Runs(WorkflowClosed("run-1", WorkflowStatus.TERMINATED, details, Failure("by hand")))
    with pytest.raises(WorkflowFailureError) as caught:
        await client.get_workflow_handle("wf-1").result()
    assert isinstance(caught.value.cause, TerminatedError)
    assert list(caught.value.cause.details) == ["who", 3]


async def test_a_wait_for_a_result_ends_at_the_deadline_that_it_was_given(client: Client, owner: ScriptedOwner) -> None:
    with pytest.raises(RPCTimeoutOrCancelledError, match="wait for workflow 'wf-1'"):
        await client.get_workflow_handle("wf-1").result(rpc_timeout=timedelta(milliseconds=100))
    assert len(owner.requests(AwaitWorkflow)) > 1


async def test_a_result_of_nobody_is_not_waited_for(client: Client, owner: ScriptedOwner) -> None:
    owner.script = always(AwaitWorkflow, Refused(RefusalCode.NOT_FOUND, "workflow 'wf-1' does not exist"))
    with pytest.raises(RPCError, match="does not exist") as caught:
        await client.get_workflow_handle("wf-1").result()
    assert caught.value.status is RPCStatusCode.NOT_FOUND


async def test_which_run_a_call_is_for(client: Client, owner: ScriptedOwner) -> None:
    """Signals go to the latest run; cancel and terminate name the chain (semantics 1.3, 69)."""
    answers: dict[type, ReplyBody] = {StartWorkflow: WorkflowStarted("run-1", "first-1")}
    owner.script = lambda command: (answers.get(type(command.body), Accepted("run-1")),)
    started = await client.start_workflow("Transfer", id="wf-1", task_queue="q")
    for handle in (started, client.get_workflow_handle("wf-1", run_id="run-9", first_execution_run_id="first-9")):
        await handle.signal("go", 1)
        await handle.cancel("enough")
        await handle.terminate("who", reason="too late")
    signals, cancels, ends = owner.received(SignalWorkflow), owner.received(CancelWorkflow), owner.received(TerminateWorkflow)
    assert [signal.run_id for signal in signals] == ["", "run-9"]
    assert [(cancel.run_id, cancel.first_execution_run_id) for cancel in cancels] == [("", "first-1"), ("run-9", "first-9")]
    assert [(end.run_id, end.first_execution_run_id) for end in ends] == [("", "first-1"), ("run-9", "first-9")]
    assert (cancels[0].reason, ends[0].reason, len(ends[0].details), ends[0].identity) == ("enough", "too late", 1, "tester")


async def test_a_query_carries_its_arguments_and_its_condition(client: Client, owner: ScriptedOwner) -> None:
    convert = client.data_converter.payload_converter.to_payloads
    owner.script = always(QueryWorkflow, QueryAnswered(convert([{"balance": 3}])))
    answer = await client.get_workflow_handle("wf-1").query("balance", args=["a", "b"], reject_condition=QueryRejectCondition.NOT_OPEN)
    assert answer == {"balance": 3}
    assert owner.received(QueryWorkflow) == [
        QueryWorkflow("balance", "", convert(["a", "b"]), reject_condition=options.QueryRejectCondition.NOT_OPEN)
    ]


async def test_a_description_shows_state_times_and_what_is_pending(client: Client, owner: ScriptedOwner) -> None:
    memo = {"note": client.data_converter.payload_converter.to_payloads(["hello"])[0]}
    summary = RunSummary("wf-1", "run-1", "run-0", "Transfer", "bank", WorkflowStatus.RUNNING, 1_000, 0, 2_500, 7, memo)
    pending = PendingActivity("1", "withdraw", 5, "backing_off", 3, 1_500)
    owner.script = always(DescribeWorkflow, WorkflowDescribed(summary, (pending,), activation_failure=Failure("KeyError: 'x'")))
    described = await client.get_workflow_handle("wf-1").describe()
    assert (described.id, described.run_id, described.workflow_type, described.task_queue) == ("wf-1", "run-1", "Transfer", "bank")
    assert (described.status, described.history_length, described.namespace) == (WorkflowExecutionStatus.RUNNING, 7, "default")
    assert described.start_time.timestamp() == 1.0
    assert described.close_time is None
    assert described.execution_time is not None
    assert described.execution_time.timestamp() == 2.5
    assert described.pending_activities == (pending,)
    assert "KeyError" in str(described.activation_failure)
    assert await described.memo() == {"note": "hello"}
    with pytest.raises(KeyError):
        await described.memo_value("absent")


async def test_a_history_is_read_page_by_page_and_stays_with_its_run(client: Client, owner: ScriptedOwner) -> None:
    events = tuple(HistoryEvent(number, 1_000 + number, TimerStarted(str(number), 5)) for number in range(1, 8))

    def script(command: Command) -> Iterable[ReplyBody]:
        assert isinstance(command.body, FetchHistory)
        first = command.body.first_event_id - 1
        page = events[first : first + 3]
        return (HistoryPage("run-1", page, page[-1].event_id + 1 if page[-1] is not events[-1] else 0),)

    owner.script = script
    handle = client.get_workflow_handle("wf-1")
    history = await handle.fetch_history()
    assert (history.workflow_id, history.run_id, tuple(history.events)) == ("wf-1", "run-1", events)
    assert [(ask.run_id, ask.first_event_id) for ask in owner.received(FetchHistory)] == [("", 1), ("run-1", 4), ("run-1", 7)]
    assert [event async for event in handle.fetch_history_events(page_size=2)] == list(events)


async def test_a_handle_needs_a_usable_id(client: Client) -> None:
    with pytest.raises(LimitExceeded):
        client.get_workflow_handle("")
