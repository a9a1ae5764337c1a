"""Code that is rebuilt from what it did: changed code, other hash seeds, and a history of 50,000 events (rows F4 F5)."""

import asyncio
import time
from datetime import timedelta

import pytest

from kit import raw
from kit.namespace import Namespaces, Process
from kit.row import Row
from kit.workloads.versions import KINDS, Fanned, Long, Versioned
from perdure.client import Client, WorkflowExecutionStatus, WorkflowHandle
from perdure.service import RPCTimeoutOrCancelledError
from perdure_schemas.codec import encode_command
from perdure_schemas.commands import Command, SignalWorkflow
from perdure_schemas.payload import Payload

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

PATIENCE = timedelta(seconds=60)
SEEDS = range(8)
EVENTS = 50_000
HOLDS = {"patched", "another delay", "a set's order"}
"""Kinds that the change does not break: a patch, an option, and what breaks under another hash seed only."""


@pytest.mark.timeout(900)
async def test_changed_code_blocks_its_own_runs_only_and_no_hash_seed_changes_an_order(namespaces: Namespaces, row: Row) -> None:
    row.injects("F4", f"code {', '.join(KINDS)}; owners of {len(SEEDS)} hash seeds in turn")
    versions = namespaces("versions", partitions=1)

    async def follows(owner: Process | None, version: str, seed: int) -> Process:
        """The next owner, which knows nothing but the log."""
        if owner is not None:
            owner.terminate()
            await asyncio.to_thread(owner.wait, 60)
        made = versions.owner(f"{version}-{seed}", more={"VERSION": version, "PYTHONHASHSEED": str(seed)})
        await asyncio.to_thread(versions.until_leading, made)
        row.injected()
        return made

    owner = await follows(None, "old", 0)
    versions.worker()
    async with await Client.connect(versions.url) as client:
        start = {"task_queue": "work", "rpc_timeout": PATIENCE}
        runs = {kind: await client.start_workflow(Versioned.run, kind, id=kind, **start) for kind in KINDS}  # type: ignore[call-overload]
        fanned = [await client.start_workflow(Fanned.run, id=f"fanned-{n}", **start) for n in range(5)]  # type: ignore[call-overload]
        before = {kind: await settled(run, 8 if kind == "a set's order" else 3) for kind, run in runs.items()}
        orders = [await settled(run, 16) for run in fanned]

        set_breaks = 0
        for seed in SEEDS:
            owner = await follows(owner, "old", seed)
            for kind, run in runs.items():
                if kind != "a set's order":
                    assert await run.query("so_far", rpc_timeout=PATIENCE) == before[kind]
            assert [await run.query("so_far", rpc_timeout=PATIENCE) for run in fanned] == orders
            set_breaks += await refusal(runs["a set's order"]) is not None
        assert 0 < set_breaks < len(SEEDS), "the order of a set never changed, or was noticed under its own seed"
        row.figures["set_orders_noticed"] = set_breaks

        owner = await follows(owner, "new", 0)
        for kind in KINDS:
            said = await refusal(runs[kind])
            assert (said is None) == (kind in HOLDS), f"{kind}: {said}"
            if said is not None:
                assert "the history holds" in said, said
                assert "but the code asks for" in said, said
                await runs[kind].signal("go", rpc_timeout=PATIENCE)
                assert (await runs[kind].describe(rpc_timeout=PATIENCE)).status is WorkflowExecutionStatus.RUNNING
        load = versions.load(30, 5)
        await asyncio.to_thread(versions.until_done, 30)
        row.during = 30
        owner = await follows(owner, "old", 0)
        for run in (*(runs[kind] for kind in HOLDS), *fanned):  # the others have been told while they were blocked
            await run.signal("go", rpc_timeout=PATIENCE)
        assert {kind: await asyncio.wait_for(run.result(), 60) for kind, run in runs.items()} == before
        assert [await asyncio.wait_for(run.result(), 60) for run in fanned] == orders
    await asyncio.to_thread(versions.finish, load, 30)


async def settled(run: WorkflowHandle[object, list[str]], steps: int) -> list[str]:
    """What a run has done once it has done so much."""
    deadline = time.monotonic() + 60
    while len(done := await run.query("so_far", rpc_timeout=PATIENCE)) < steps:
        assert time.monotonic() < deadline, done
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.3)  # its last timer
    return list(done)


async def refusal(run: WorkflowHandle[object, list[str]]) -> str | None:
    """Why a run cannot be rebuilt, if so: a query waits for better code, and says in the end what it has waited for."""
    deadline = time.monotonic() + 60
    while True:
        try:
            await run.query("so_far", rpc_timeout=timedelta(seconds=4))
        except RPCTimeoutOrCancelledError as error:
            if "[nondeterminism]" in str(error):
                return str(error)
            if time.monotonic() > deadline:
                raise
        else:
            return None


async def test_a_history_of_fifty_thousand_events_is_rebuilt_warned_of_and_not_ended(namespaces: Namespaces, row: Row) -> None:
    row.injects("F5", f"{EVENTS} signals of 1 KiB to one run, an owner on an empty store, beside neighbours")
    versions = namespaces("versions", partitions=1)
    owner = versions.owner("first")
    async with await Client.connect(versions.url) as client:
        run = await client.start_workflow(Long.run, id="long", task_queue="work", rpc_timeout=PATIENCE)
        value = encode_command(Command("long", SignalWorkflow("put", input=(Payload({"encoding": b"binary/plain"}, bytes(1024)),))))
        load = versions.load(100, 5, per_second=4)
        with row.fault(versions):
            for _ in range(10):
                await asyncio.to_thread(raw.append, versions, "commands", 0, [value] * (EVENTS // 10))
            row.injected(EVENTS)
            began = time.monotonic()
            counted = [0]
            while counted[0] < EVENTS:
                assert time.monotonic() - began < 200, f"{counted} after {time.monotonic() - began:.0f} s\n{versions.outputs()}"
                await asyncio.sleep(0.5)
                counted = await run.query(Long.counted, rpc_timeout=timedelta(seconds=200))
        row.figures["taken_in_s"] = round(time.monotonic() - began, 1)
        assert counted[1] > EVENTS
        assert counted[2], "nothing suggests to continue as new"
        owner.terminate()
        await asyncio.to_thread(owner.wait, 60)
        began = time.monotonic()
        owner = versions.owner("second")
        await asyncio.to_thread(versions.until_leading, owner)
        row.figures["store_rebuilt_s"] = round(time.monotonic() - began, 1)
        began = time.monotonic()
        assert (await run.query(Long.counted, rpc_timeout=timedelta(seconds=200))) == counted
        row.figures["code_rebuilt_s"] = round(time.monotonic() - began, 1)
        described = await run.describe(rpc_timeout=PATIENCE)
        assert described.status is WorkflowExecutionStatus.RUNNING
        assert described.history_length > EVENTS
        await run.signal(Long.go, rpc_timeout=PATIENCE)
        assert await asyncio.wait_for(run.result(), 120) == EVENTS
    await asyncio.to_thread(versions.finish, load, 100, 200)
    assert owner.poll() is None
