"""Calls by method rather than by name: the name is found and the result has its type; `assert_type` makes the type checker a witness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_type

import pytest

from kit.scripted_owner import ScriptedOwner
from perdure.client import Client, WorkflowHandle
from perdure.common import RawValue
from perdure.workflow._definition import defn, query, run, signal
from perdure_schemas.commands import Command, QueryWorkflow, SignalWorkflow, StartWorkflow
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.replies import Accepted, QueryAnswered, ReplyBody, WorkflowClosed, WorkflowStarted


@dataclass
class Receipt:
    reference: str


@defn(name="money-transfer")
class Transfer:
    @run
    async def run(self, amount: int, currency: str) -> Receipt:
        return Receipt(f"{amount} {currency}")

    @signal(name="raise")
    async def increase(self, amount: int) -> None: ...

    @signal
    def stop(self) -> None: ...

    @query(name="receipt")
    def current(self, detail: str) -> Receipt:
        return Receipt(detail)


@defn
class Pause:
    @run
    async def run(self) -> None: ...


@defn
class Double:
    @run
    async def run(self, number: int) -> int:
        return 2 * number


@defn(dynamic=True)
class Anything:
    @run
    async def run(self, args: Sequence[RawValue]) -> None: ...


@pytest.fixture
def answering(client: Client, owner: ScriptedOwner) -> ScriptedOwner:
    convert = client.data_converter.payload_converter.to_payloads

    def script(command: Command) -> tuple[ReplyBody, ...]:
        match command.body:
            case StartWorkflow() as start:
                result = {"money-transfer": Receipt("r-1"), "Double": 42}.get(start.workflow_type)
                return (WorkflowStarted("run-1", "run-1"), WorkflowClosed("run-1", WorkflowStatus.COMPLETED, convert([result])))
            case QueryWorkflow():
                return (QueryAnswered(convert([Receipt("r-2")])),)
            case _:
                return (Accepted("run-1"), WorkflowClosed("run-1", WorkflowStatus.COMPLETED, convert([Receipt("r-1")])))

    owner.script = script
    return owner


async def test_results_have_the_type_that_the_run_method_declares(client: Client, answering: ScriptedOwner) -> None:
    receipt = await client.execute_workflow(Transfer.run, args=[1, "EUR"], id="wf-1", task_queue="q")
    assert_type(receipt, Receipt)
    assert receipt == Receipt("r-1")
    number = await client.execute_workflow(Double.run, 21, id="wf-2", task_queue="q")
    assert_type(number, int)
    assert number == 42
    await client.execute_workflow(Pause.run, id="wf-3", task_queue="q")
    named = await client.execute_workflow("money-transfer", args=[1, "EUR"], id="wf-4", task_queue="q", result_type=Receipt)
    assert named == Receipt("r-1")
    assert [start.workflow_type for start in answering.received(StartWorkflow)] == ["money-transfer", "Double", "Pause", "money-transfer"]


async def test_a_handle_knows_the_type_of_its_workflow(client: Client, answering: ScriptedOwner) -> None:
    handle = await client.start_workflow(Transfer.run, args=[1, "EUR"], id="wf-1", task_queue="q")
    assert_type(handle, WorkflowHandle[Transfer, Receipt])
    found = client.get_workflow_handle_for(Transfer.run, "wf-1")
    assert_type(found, WorkflowHandle[Transfer, Receipt])
    for one in (handle, found):
        assert await one.result() == Receipt("r-1")
        await one.signal(Transfer.increase, 3)
        await one.signal(Transfer.stop)
        answer = await one.query(Transfer.current, "short")
        assert_type(answer, Receipt)
        assert answer == Receipt("r-2")
    assert [sent.name for sent in answering.received(SignalWorkflow)] == ["raise", "stop"] * 2
    assert {asked.query_type for asked in answering.received(QueryWorkflow)} == {"receipt"}


async def test_what_is_no_workflow_signal_or_query_is_named(client: Client, owner: ScriptedOwner) -> None:
    handle: WorkflowHandle[Transfer, Receipt] = client.get_workflow_handle("wf-1")
    with pytest.raises(ValueError, match=r"Transfer\.stop is not the run method"):
        await client.start_workflow(Transfer.stop, id="wf-1", task_queue="q")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dynamic workflow"):
        await client.start_workflow(Anything.run, args=[], id="wf-1", task_queue="q")
    with pytest.raises(ValueError, match=r"Transfer\.run is not a signal"):
        await handle.signal(Transfer.run, args=[])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Transfer\.stop is not a query"):
        await handle.query(Transfer.stop)
    assert owner.commands == []
