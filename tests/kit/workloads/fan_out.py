"""Two hundred activities at once: every result is there and in its place, and none was executed again but beside a death of a worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path

from kit import outside
from kit.operations import Operations
from perdure import Registry, activity, workflow
from perdure.client import Client
from perdure.common import RetryPolicy

WIDTH = 200


@activity.defn
async def part(number: int, index: int) -> int:
    """Write a line; some take a while, so that results come in another order than they are asked for in."""
    attempt = activity.info().attempt
    outside.write_line("fan-out", number, index, attempt)
    await asyncio.sleep(0.005 * (index % 7))
    return number * WIDTH + index


@workflow.defn
class FanOut:
    """Asks for everything before it waits for anything."""

    @workflow.run
    async def run(self, number: int) -> list[int]:
        retry = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=2))
        started = [
            workflow.start_activity(part, args=[number, index], start_to_close_timeout=timedelta(seconds=20), retry_policy=retry)
            for index in range(WIDTH)
        ]
        return list(await asyncio.gather(*started))


registry = Registry(task_queue="work", workflows=[FanOut], activities=[part])
check_options: tuple[str, ...] = ()


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """One of them."""
    handle = await operations.start(client, FanOut.run, number, f"fan-out-{number}")
    judge(number, await handle.result())


def judge(number: int, results: list[int]) -> None:
    """Raise AssertionError unless every result is in its place."""
    wanted = [number * WIDTH + index for index in range(WIDTH)]
    wrong = [index for index in range(max(WIDTH, len(results))) if results[index : index + 1] != wanted[index : index + 1]]
    assert not wrong, f"fan-out-{number}: at {wrong} is something else than the result of that part: {results}"


async def check(client: Client, count: int, directory: Path) -> None:
    """Every part was executed, and again only beside a death."""
    executed = [(int(number), int(index), int(attempt)) for number, index, attempt in outside.read_lines(directory / "fan-out")]
    times = Counter((number, index) for number, index, _ in executed)
    missing = [(number, index) for number in range(count) for index in range(WIDTH) if not times[number, index]]
    assert not missing, f"{len(missing)} parts were never executed, and have results: {missing[:10]}"
    outside.check_executions(directory, [attempt for _, _, attempt in executed], sum(times.values()) - len(times))
