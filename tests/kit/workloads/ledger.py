"""A ledger outside of Perdure that nobody deduplicates: an activity appends a line to a file, and every execution of it is there to see.

Even items may be tried again; odd ones have maximum_attempts=1, and must never be there twice. A re-execution has to stand beside a death
of a worker.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

from kit import outside
from kit.operations import Operations
from perdure import Registry, activity, workflow
from perdure.client import Client, WorkflowFailureError
from perdure.common import RetryPolicy


@activity.defn
async def charge(number: int) -> int:
    """Write a line, then take a while: a worker that dies then has done what it has not reported."""
    info = activity.info()
    outside.write_line("ledger", number, info.workflow_run_id, info.activity_id, info.attempt, os.getpid(), time.time_ns() // 1_000_000)
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
    handle = await operations.start(client, Charge.run, number, f"charge-{number}")
    try:
        await handle.result()
    except WorkflowFailureError:
        if number % 2 == 0:  # it may be tried again
            raise


def lines(directory: Path) -> list[tuple[int, int]]:
    """Number and attempt of each execution."""
    return [(int(words[0]), int(words[3])) for words in outside.read_lines(directory / "ledger")]


async def check(client: Client, count: int, directory: Path) -> None:
    """Every entry that may be tried again is there; what is there twice is beside a death; what may run once did so at most."""
    found = Counter(number for number, _ in lines(directory))
    missing = [number for number in range(0, count, 2) if not found[number]]
    assert not missing, f"entries {missing} are missing"
    twice = [number for number in range(1, count, 2) if found[number] > 1]
    assert not twice, f"entries {twice} may run once, and ran again"
    again = sum(times - 1 for number, times in found.items() if number % 2 == 0)
    outside.check_executions(directory, [attempt for _, attempt in lines(directory)], again)
