"""Questions that race changes: what was acknowledged before a question is in its answer, and nobody is told less than he was told before.

The counter continues as new every few changes, so that questions meet runs that end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from kit.operations import Operations
from perdure import Registry, workflow
from perdure.client import Client

CHANGES = 12
CHANGES_PER_RUN = 5
ASKERS = 2
PATIENCE = timedelta(seconds=30)


@workflow.defn
class Counter:
    """Counts until it has counted everything."""

    @workflow.init
    def __init__(self, counted: int) -> None:
        self.counted = self.begins_with = counted

    @workflow.run
    async def run(self, counted: int) -> int:
        await workflow.wait_condition(lambda: self.counted >= min(self.begins_with + CHANGES_PER_RUN, CHANGES))
        if self.counted < CHANGES:
            workflow.continue_as_new(self.counted)
        return self.counted

    @workflow.signal
    def add(self, number: int) -> None:
        self.counted += 1

    @workflow.query
    def count(self) -> int:
        return self.counted


@dataclass
class Told:
    """What an asker was told: of each answer, how many changes had been acknowledged when it was asked for, and how many it told of."""

    answers: list[tuple[int, int]] = field(default_factory=list)


registry = Registry(task_queue="work", workflows=[Counter], activities=[])
check_options: tuple[str, ...] = ()


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """One counter, who changes it, and who asks."""
    handle = await operations.start(client, Counter.run, 0, f"counter-{number}")
    acknowledged = 0
    changer, askers = Told(), [Told() for _ in range(ASKERS)]

    async def ask(told: Told) -> None:
        known = acknowledged
        told.answers.append((known, await handle.query(Counter.count, rpc_timeout=PATIENCE)))

    async def ask_on(told: Told) -> None:
        while acknowledged < CHANGES:
            await ask(told)

    asking = [asyncio.create_task(ask_on(told)) for told in askers]
    try:
        for change in range(CHANGES):
            await operations.signal(handle, Counter.add, change, request_id=f"{handle.id}-{change}")
            acknowledged = change + 1
            await ask(changer)
        await asyncio.gather(*asking)
    finally:
        for task in asking:
            task.cancel()
    counted = await handle.result()
    assert counted == CHANGES, f"{handle.id} counted {counted} of {CHANGES} changes"
    for told in (changer, *askers):
        judge(handle.id, told)


def judge(workflow_id: str, told: Told) -> None:
    """Raise AssertionError for an answer that is behind an acknowledged change or behind an earlier answer, or that tells of too much."""
    before = 0
    for acknowledged, answer in told.answers:
        assert answer >= acknowledged, f"{workflow_id}: {acknowledged} changes were acknowledged, and then an answer told of {answer}"
        assert before <= answer <= CHANGES, f"{workflow_id}: an answer told of {answer} changes, and one before it of {before}"
        before = answer


async def check(client: Client, count: int, directory: Path) -> None:
    """`one` has looked at everything."""
