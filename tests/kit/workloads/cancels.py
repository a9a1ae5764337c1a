"""Activities that run until they are cancelled, which their workflow does at ever other moments."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from kit.operations import Operations
from perdure import Registry, activity, workflow
from perdure.client import Client
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, is_cancelled_exception

WAITS_S = (0.0, 0.02, 0.1, 1.0, 3.0)
"""Before the task can have been taken, around its announcement, and between heartbeats."""


@activity.defn
async def endless(number: int) -> None:
    """Heartbeat until somebody says that it is enough."""
    while True:
        activity.heartbeat(number)
        await asyncio.sleep(0.05)


@workflow.defn
class Cancels:
    """Begins one, cancels it, and waits for what becomes of it."""

    @workflow.run
    async def run(self, number: int) -> str:
        handle = workflow.start_activity(
            endless,
            number,
            start_to_close_timeout=timedelta(seconds=60),
            heartbeat_timeout=timedelta(seconds=3),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100)),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        await workflow.sleep(WAITS_S[number % len(WAITS_S)])
        handle.cancel()
        try:
            await handle
        except (asyncio.CancelledError, ActivityError) as error:
            return "cancelled" if is_cancelled_exception(error) else f"{error}: {error.__cause__}"
        return "returned"


registry = Registry(task_queue="work", workflows=[Cancels], activities=[endless])
check_options: tuple[str, ...] = ()


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """One of them; an attempt that was lost with its worker may have timed out, and is not tried again."""
    workflow_id = f"cancels-{number}"
    handle = await operations.start(client, Cancels.run, number, workflow_id)
    ended = await handle.result()
    assert ended == "cancelled" or "timeout" in ended, f"{workflow_id} {ended}"


async def check(client: Client, count: int, directory: Path) -> None:
    """`one` has looked at everything."""
