"""Code that takes any value, and as many activities as it is told."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from kit.operations import Operations
from perdure import Registry, activity, workflow
from perdure.client import Client


@activity.defn
async def same(value: Any) -> Any:
    """What it was given."""
    return value


@activity.defn
async def slow(value: Any) -> Any:
    """The same, after long enough for somebody else to answer in its place."""
    await asyncio.sleep(5)
    return value


@workflow.defn
class Box:
    """Keeps the sizes of what it is sent."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.is_done = False

    @workflow.run
    async def run(self, value: Any = None) -> list[int]:
        await workflow.wait_condition(lambda: self.is_done)
        return self.sizes

    @workflow.signal
    def put(self, value: Any) -> None:
        self.sizes.append(len(value) if isinstance(value, bytes) else -1)

    @workflow.signal
    def finish(self) -> None:
        self.is_done = True

    @workflow.query
    def seen(self, value: Any = None) -> list[int]:
        return self.sizes


@workflow.defn
class Fan:
    """So many activities in one activation."""

    @workflow.run
    async def run(self, count: int) -> int:
        calls = [workflow.execute_activity(same, number, start_to_close_timeout=timedelta(seconds=60)) for number in range(count)]
        return sum(await asyncio.gather(*calls))


@workflow.defn
class Slow:
    """Waits for an activity, and says of what kind its result is."""

    @workflow.run
    async def run(self) -> str:
        return type(await workflow.execute_activity(slow, 1, start_to_close_timeout=timedelta(seconds=60))).__name__


registry = Registry(task_queue="work", workflows=[Box, Fan, Slow], activities=[same, slow])
check_options: tuple[str, ...] = ("--may-stay-open", "odd-.*")


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """A neighbour: three activities."""
    workflow_id = f"neighbour-{number}"
    handle = await operations.start(client, Fan.run, 3, workflow_id)
    assert await handle.result() == 3


async def check(client: Client, count: int, directory: Path) -> None:
    """The tests look for themselves."""
