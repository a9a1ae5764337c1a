"""Workflow code that does what it must not (rows F1 F2): its own run waits for better code, and its neighbours are answered."""

import asyncio
import statistics
import time
from datetime import timedelta

import pytest

from kit.namespace import Namespaces
from kit.row import Row
from kit.workloads.bombs import KINDS, Bomb, Neighbour
from perdure.client import Client, WorkflowExecutionStatus

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

WATCHED_S = 5.0
PATIENCE = timedelta(seconds=60)


async def latencies_ms(client: Client, prefix: str, seconds: float) -> list[float]:
    """How long neighbours on the same partition took from their start to their result, one after the other."""
    taken: list[float] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        began = time.monotonic()
        assert await client.execute_workflow(Neighbour.run, id=f"{prefix}-{len(taken)}", task_queue="work", rpc_timeout=PATIENCE) == "done"
        taken.append((time.monotonic() - began) * 1000)
        await asyncio.sleep(0.02)
    return taken


async def test_bombs_in_workflow_code_hurt_their_own_run_only(namespaces: Namespaces, row: Row) -> None:
    row.injects("F1 F2", "nine kinds of workflow code that must not be, on the only partition")
    bombs = namespaces("bombs", partitions=1)
    owner = bombs.owner()
    async with await Client.connect(bombs.url) as client:
        quiet = await latencies_ms(client, "before", WATCHED_S)
        row.figures["quiet_p50_ms"], row.figures["quiet_max_ms"] = round(statistics.median(quiet), 1), round(max(quiet))
        for kind in KINDS:
            bomb = await client.start_workflow(Bomb.run, kind, id=f"bomb {kind}", task_queue="work", rpc_timeout=PATIENCE)
            row.injected()
            beside = await latencies_ms(client, f"beside {kind}", WATCHED_S)
            row.during += len(beside)
            row.figures[f"{kind}_p50_ms"], row.figures[f"{kind}_max_ms"] = round(statistics.median(beside), 1), round(max(beside))
            found = await bomb.describe(rpc_timeout=PATIENCE)
            assert found.status is WorkflowExecutionStatus.RUNNING, f"{kind}: {found.status}"
            await bomb.terminate(rpc_timeout=PATIENCE)
    assert owner.poll() is None, bombs.outputs()
    bombs.verify()
    bombs.check_independently()
