"""Runs with many notes: attempts that heartbeat, fail and begin again where the one before had got to, by the details of its heartbeats.

What an attempt finds never lies behind what the attempt before had found. Odd items heartbeat often, and time out now and then; even ones
do not, so where no worker has died, their attempts find what the one before told last.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

from kit import outside
from kit.operations import Operations
from perdure import Registry, activity, workflow
from perdure.client import Client
from perdure.common import RetryPolicy
from perdure.exceptions import ApplicationError

TOP = 15
STRIDE = 4
"""How far one attempt gets."""
HEARTBEAT_TIMEOUT_S = (25.0, 0.6)
STEP_S = (0.01, 0.15)
"""By n modulo 2. Heartbeats are sent every 0.8 of their timeout at most; the latest goes with a failure as well."""
LATE_ATTEMPT = 2
"""Of odd items; it says nothing until it has timed out, and fails then."""

Attempts = dict[int, list[tuple[int, int]]]
"""Of one item: by attempt, what it found and what it told last; several where a task was delivered again."""


@activity.defn
async def climb(number: int) -> int:
    """Tell each step; give up after some, until the top is reached."""
    info = activity.info()
    found = int(info.heartbeat_details[0]) if info.heartbeat_details else 0
    outside.write_line("climbs", number, info.attempt, found, found)
    for height in range(found + 1, min(found + STRIDE, TOP) + 1):
        activity.heartbeat(height)
        outside.write_line("climbs", number, info.attempt, found, height)
        await asyncio.sleep(STEP_S[number % 2])
    if number % 2 and info.attempt == LATE_ATTEMPT:
        await asyncio.sleep(2 * HEARTBEAT_TIMEOUT_S[1])
    if found + STRIDE < TOP:
        raise ApplicationError(f"out of breath at {found + STRIDE}")
    return TOP


@workflow.defn
class Climb:
    """One call."""

    @workflow.run
    async def run(self, number: int) -> int:
        retry = RetryPolicy(initial_interval=timedelta(milliseconds=50), backoff_coefficient=1.0)
        timeout = timedelta(seconds=HEARTBEAT_TIMEOUT_S[number % 2])
        return await workflow.execute_activity(
            climb, number, start_to_close_timeout=timedelta(seconds=60), heartbeat_timeout=timeout, retry_policy=retry
        )


registry = Registry(task_queue="work", workflows=[Climb], activities=[climb])
check_options: tuple[str, ...] = ()


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """One climb."""
    handle = await operations.start(client, Climb.run, number, f"climb-{number}")
    top = await handle.result()
    assert top == TOP, f"{handle.id} ended at {top}"


async def check(client: Client, count: int, directory: Path) -> None:
    """Every climb got to the top, and none fell back."""
    items: dict[int, Attempts] = defaultdict(lambda: defaultdict(list))
    for words in outside.read_lines(directory / "climbs"):
        number, attempt, found, told = map(int, words)
        items[number][attempt].append((found, told))
    for number in range(count):
        judge(number, items[number], is_undisturbed=number % 2 == 0 and not outside.count_deaths(directory))


def judge(number: int, attempts: Attempts, *, is_undisturbed: bool) -> None:
    """Raise AssertionError if a later attempt found less than an earlier one, or undisturbed something else than what was told last."""
    reached = max((told for lines in attempts.values() for _, told in lines), default=0)
    assert reached == TOP, f"climb-{number} got to {reached} only, and is done"
    before = known = 0
    for attempt, lines in sorted(attempts.items()):
        found = {one for one, _ in lines}
        assert min(found) >= before, f"climb-{number}: attempt {attempt} found {min(found)}, and one before it had found {before}"
        if is_undisturbed:
            assert found == {known}, f"climb-{number}: attempt {attempt} found {sorted(found)}, and {known} was told last"
        before, known = max(found), max(told for _, told in lines)
