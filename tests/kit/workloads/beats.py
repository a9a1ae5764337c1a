"""Activities that take a while and heartbeat with a number that rises; where each execution began is there to see in a file.

An attempt goes on from the details of the one before, so a heartbeat that goes back, or an attempt that nobody should have begun, shows.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kit.operations import Operations
from perdure import Registry, activity, workflow
from perdure.client import Client
from perdure.common import RetryPolicy

SECONDS = 3.0
"""How long an attempt takes."""
HEARTBEAT_S = 2.0
CLOSE_S = 12.0


@dataclass
class Execution:
    """One execution: of which item, under which attempt, from which heartbeat on, by which process."""

    number: int
    attempt: int
    begun: int
    pid: int


@activity.defn
async def beat(number: int) -> list[int]:
    """Heartbeat for a while; returns item, attempt and the last number."""
    info = activity.info()
    at = begun = int(info.heartbeat_details[0]) if info.heartbeat_details else 0
    with (Path(os.environ["WORKLOAD_DIRECTORY"]) / "executions").open("a") as executions:
        executions.write(f"{number} {info.attempt} {begun} {os.getpid()}\n")
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        at += 1
        activity.heartbeat(at)
        await asyncio.sleep(0.05)
    return [number, info.attempt, at]


@workflow.defn
class Beat:
    """One of them."""

    @workflow.run
    async def run(self, number: int) -> list[int]:
        return await workflow.execute_activity(
            beat,
            number,
            start_to_close_timeout=timedelta(seconds=CLOSE_S),
            heartbeat_timeout=timedelta(seconds=HEARTBEAT_S),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100)),
        )


registry = Registry(task_queue="work", workflows=[Beat], activities=[beat])
check_options: tuple[str, ...] = ()


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """One item; its result is one that an execution of it has returned."""
    workflow_id = f"beat-{number}"
    handle = await operations.start(client, Beat.run, number, workflow_id)
    whose, attempt, last = await handle.result()
    assert whose == number, f"{workflow_id} got the result of {whose}"
    assert attempt >= 1, f"{workflow_id} got a result that no attempt has returned"
    assert last > 0, f"{workflow_id} ended without a heartbeat"


def executions(directory: Path) -> list[Execution]:
    """All of them, in the order in which they began."""
    place = directory / "executions"
    lines = place.read_text().splitlines() if place.exists() else []
    return [Execution(*(int(word) for word in line.split())) for line in lines]


async def check(client: Client, count: int, directory: Path) -> None:
    """Every item was executed, and no attempt began before where one of its predecessors had begun."""
    begun: dict[int, tuple[int, int]] = {}
    for execution in executions(directory):
        attempt, last = begun.get(execution.number, (0, 0))
        assert execution.attempt < attempt or execution.begun >= last, f"heartbeats of item {execution.number} went back"
        begun[execution.number] = max((attempt, last), (execution.attempt, execution.begun))
    missing = set(range(count)) - begun.keys()
    assert not missing, f"items {missing} were never executed"
