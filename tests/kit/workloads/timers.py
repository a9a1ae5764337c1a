"""Timers over a grid of durations: each fires once and never early, in partition time and by a clock of the driver's."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from kit.operations import Operations
from perdure import Registry, workflow
from perdure.client import Client

GRID_MS = (1, 10, 50, 200, 500, 1000, 2500)


@workflow.defn
class Timers:
    """Returns, per timer, what was asked for and what it took, in milliseconds, in the order in which they fired."""

    @workflow.run
    async def run(self, grid_ms: list[int]) -> list[list[int]]:
        began = workflow.now()
        fired: list[list[int]] = []

        async def one(delay_ms: int) -> None:
            await workflow.sleep(delay_ms / 1000)
            fired.append([delay_ms, round((workflow.now() - began) / timedelta(milliseconds=1))])

        await asyncio.gather(*(one(delay_ms) for delay_ms in grid_ms))
        return fired


registry = Registry(task_queue="work", workflows=[Timers], activities=[])
check_options: tuple[str, ...] = ()


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """One grid, begun a millisecond later for each item."""
    grid = [delay_ms + number % 7 for delay_ms in GRID_MS]
    handle = await operations.start(client, Timers.run, grid, f"timers-{number}")
    judge(handle.id, grid, await handle.result())


def judge(workflow_id: str, grid: list[int], fired: list[list[int]]) -> None:
    """Raise AssertionError unless each timer of a grid fired once, not early, and in the order of time."""
    assert sorted(delay for delay, _ in fired) == sorted(grid), f"{workflow_id}: {fired}"
    assert all(took >= delay for delay, took in fired), f"{workflow_id}: a timer fired early: {fired}"
    assert [took for _, took in fired] == sorted(took for _, took in fired), f"{workflow_id}: time went back: {fired}"


async def check(client: Client, count: int, directory: Path) -> None:
    """`one` has looked at everything."""
