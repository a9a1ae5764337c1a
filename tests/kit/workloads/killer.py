"""An activity that ends the process it runs in, at once and whenever it runs, among others that do not."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from kit import outside
from kit.operations import Operations
from perdure import Registry, activity, workflow
from perdure.client import Client, WorkflowFailureError
from perdure.common import RetryPolicy

KILLER = 3
"""The item whose activity kills."""
ATTEMPTS = 2


@activity.defn
async def work(number: int) -> int:
    """Most numbers are harmless."""
    if number == KILLER:
        outside.write_line("killed", activity.info().attempt, os.getpid(), time.time_ns() // 1_000_000)
        os._exit(9)
    return number


@workflow.defn
class Work:
    """One call."""

    @workflow.run
    async def run(self, number: int) -> int:
        retry = RetryPolicy(maximum_attempts=ATTEMPTS if number == KILLER else 0, initial_interval=timedelta(milliseconds=100))
        return await workflow.execute_activity(work, number, start_to_close_timeout=timedelta(seconds=2), retry_policy=retry)


registry = Registry(task_queue="work", workflows=[Work], activities=[work])
check_options: tuple[str, ...] = ()


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """Every item but one succeeds; that one fails after its attempts."""
    handle = await operations.start(client, Work.run, number, f"work-{number}")
    try:
        await handle.result()
        failed = False
    except WorkflowFailureError:
        failed = True
    assert failed == (number == KILLER), f"{handle.id} {'failed' if failed else 'succeeded'}"


async def check(client: Client, count: int, directory: Path) -> None:
    """The test counts the deaths."""
