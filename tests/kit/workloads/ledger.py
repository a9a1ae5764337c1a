"""A ledger outside of Perdure that nobody deduplicates: an activity appends a line to a file, and every execution of it is there to see.

Even items may be tried again; odd ones have maximum_attempts=1, and must never be there twice. A re-execution has to stand beside a death
of a worker: `check` allows as many as the test has counted in `deaths`, a file beside the ledger with a line for each.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

from kit.operations import PATIENCE, Operations
from perdure import Registry, activity, workflow
from perdure.client import Client, WorkflowFailureError
from perdure.common import RetryPolicy, WorkflowIDReusePolicy

SLOTS = 100
"""Attempts that one worker runs at a time, and that its death may double."""


@activity.defn
async def charge(number: int) -> int:
    """Write a line, then take a while: a worker that dies then has done what it has not reported."""
    info = activity.info()
    line = f"{number} {info.workflow_run_id} {info.activity_id} {info.attempt} {os.getpid()} {time.time_ns() // 1_000_000}\n"
    with (Path(os.environ["WORKLOAD_DIRECTORY"]) / "ledger").open("a") as ledger:
        ledger.write(line)
    await asyncio.sleep(0.03 * (number % 5))
    return info.attempt


@workflow.defn
class Charge:
    """One entry."""

    @workflow.run
    async def run(self, number: int) -> int:
        once = number % 2 == 1
        retry = RetryPolicy(maximum_attempts=1 if once else 0, initial_interval=timedelta(milliseconds=200))
        return await workflow.execute_activity(charge, number, start_to_close_timeout=timedelta(seconds=3), retry_policy=retry)


registry = Registry(task_queue="work", workflows=[Charge], activities=[charge])
check_options: tuple[str, ...] = ()


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """One entry; with one attempt it may be lost, and its workflow fails then."""
    workflow_id, request_id = f"charge-{number}", f"charge-{number}"
    handle = await operations.ask(
        "start",
        workflow_id,
        request_id,
        lambda: client.start_workflow(
            Charge.run,
            number,
            id=workflow_id,
            task_queue="work",
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            request_id=request_id,
            rpc_timeout=PATIENCE,
        ),
    )
    try:
        await handle.result()
    except WorkflowFailureError as error:
        if number % 2 == 0:
            raise AssertionError(f"{workflow_id} failed, although it may be tried again: {error.cause!r}") from error


def lines(directory: Path) -> list[tuple[int, int]]:
    """Number and attempt of each execution."""
    return [(int(words[0]), int(words[3])) for words in (line.split() for line in (directory / "ledger").read_text().splitlines())]


async def check(client: Client, count: int, directory: Path) -> None:
    """Every entry that may be tried again is there; what is there twice is beside a death; what may run once did so at most."""
    found = Counter(number for number, _ in lines(directory))
    missing = [number for number in range(0, count, 2) if not found[number]]
    assert not missing, f"entries {missing} are missing"
    twice = [number for number in range(1, count, 2) if found[number] > 1]
    assert not twice, f"entries {twice} may run once, and ran again"
    deaths = len((directory / "deaths").read_text().splitlines()) if (directory / "deaths").exists() else 0
    again = sum(times - 1 for number, times in found.items() if number % 2 == 0)
    assert again <= deaths * SLOTS, f"{again} entries were made again beside {deaths} deaths"
    if not deaths:
        attempts = {attempt for _, attempt in lines(directory)}
        assert attempts <= {1}, f"attempts {attempts} without a death"
