"""One transfer is one connected trace, through the log, and neither a replay nor a takeover adds a span to it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry import trace

from kit.traces import Traces, collected
from perdure import activity, workflow
from perdure.client import Client
from perdure.worker import Worker

PATIENCE_S = 30


@activity.defn
async def withdraw(amount: int) -> int:
    with trace.get_tracer("bank").start_as_current_span("bank withdraws"):
        return amount


@activity.defn
def deposit(amount: int) -> int:
    """In a thread, where the context has to arrive as well."""
    with trace.get_tracer("bank").start_as_current_span("bank deposits"):
        return amount


@workflow.defn
class Transfer:
    """Moves money once it is told to."""

    def __init__(self) -> None:
        self.told = False

    @workflow.run
    async def run(self, amount: int) -> int:
        timeout = timedelta(seconds=10)
        await workflow.execute_activity(withdraw, amount, start_to_close_timeout=timeout)
        await workflow.wait_condition(lambda: self.told)
        return await workflow.execute_activity(deposit, amount, start_to_close_timeout=timeout)

    @workflow.signal
    def go(self) -> None:
        self.told = True

    @workflow.query
    def is_told(self) -> bool:
        return self.told


@pytest.fixture
def traces() -> Iterator[Traces]:
    with collected() as found:
        yield found


@asynccontextmanager
async def owner_and_worker(client: Client) -> AsyncIterator[None]:
    """With a store of its own that is gone with it: the next one rebuilds everything from the log."""
    async with Worker(client, task_queue="bank", workflows=[Transfer], activities=[withdraw, deposit]):
        yield


async def until_seen(traces: Traces, names: dict[str, int]) -> None:
    """An attempt's span ends after its result has left, and the run's with the release of its record."""
    async with asyncio.timeout(PATIENCE_S):
        while any(Counter(traces.names())[name] < count for name, count in names.items()):  # noqa: ASYNC110 - exporters tell nobody
            await asyncio.sleep(0.005)


async def test_a_transfer_is_one_connected_trace_that_replay_and_takeover_leave_as_it_is(traces: Traces, tmp_path: Path) -> None:
    client = await Client.connect(f"sqlite:///{tmp_path / 'log.db'}")
    try:
        with trace.get_tracer("user").start_as_current_span("shop"):
            async with owner_and_worker(client):
                handle = await client.start_workflow(Transfer.run, 5, id="transfer-1", task_queue="bank")
                await until_seen(traces, {"RunActivity:withdraw": 1})
            async with owner_and_worker(client):
                await handle.signal(Transfer.go)
                assert await handle.result() == 5
                await until_seen(traces, {"RunActivity:deposit": 1, "RunWorkflow:Transfer": 1})
            before = set(traces.seen())
            async with owner_and_worker(client):
                assert await handle.query(Transfer.is_told)
                assert await handle.result() == 5
    finally:
        await client.close()
    found = set(traces.seen())
    assert {one.name for one in found - before} == {"QueryWorkflow:is_told", "shop"}

    assert len({one.span_id for one in found}) == len(found), "one id, two different spans"
    by_id = {one.span_id: one for one in found}
    (root,) = [one for one in found if not one.parent_id]
    assert root.name == "shop"
    assert len({one.trace_id for one in found}) == 1
    parents = {one.name: by_id[one.parent_id].name for one in found if one.parent_id}
    assert parents == {
        "StartWorkflow:Transfer": "shop",
        "SignalWorkflow:go": "shop",
        "QueryWorkflow:is_told": "shop",
        "RunWorkflow:Transfer": "StartWorkflow:Transfer",
        "ActivateWorkflow:Transfer": "RunWorkflow:Transfer",
        "RunActivity:withdraw": "RunWorkflow:Transfer",
        "RunActivity:deposit": "RunWorkflow:Transfer",
        "bank withdraws": "RunActivity:withdraw",
        "bank deposits": "RunActivity:deposit",
    }
    counts = Counter(one.name for one in found)
    activations = counts.pop("ActivateWorkflow:Transfer")
    assert activations == 4, "start, withdrawal done, signal, deposit done"
    assert set(counts.values()) == {1}
