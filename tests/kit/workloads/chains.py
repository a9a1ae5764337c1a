"""Chains of runs that continue as new at every signal, and carry what they were sent from link to link.

Signals meet runs that are ending: none is lost, none is there twice, each sender's come in order, and each link runs once. Every second
chain is started again under its id when it has ended, and must know nothing of what its first life was sent.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.operations import Operations
from perdure import Registry, workflow
from perdure.client import Client, WorkflowContinuedAsNewError, WorkflowHandle
from perdure.common import WorkflowIDReusePolicy

SENDERS = 2
SIGNALS = 6


@dataclass
class Carried:
    """What goes from link to link: the run ids so far, and of each signal the life it was meant for, its sender and its counter."""

    life: int
    links: list[str] = field(default_factory=list)
    got: list[list[int]] = field(default_factory=list)


@workflow.defn
class Chain:
    """A link; the one that has the last signal of every sender is the last."""

    @workflow.init
    def __init__(self, carried: Carried) -> None:
        self.carried = carried
        self.had = len(carried.got)

    @workflow.run
    async def run(self, carried: Carried) -> Carried:
        self.carried.links.append(workflow.info().run_id)
        await workflow.wait_condition(lambda: len(self.carried.got) > self.had or self.is_last())
        if not self.is_last():
            workflow.continue_as_new(self.carried)
        return self.carried

    def is_last(self) -> bool:
        return [counter for _, _, counter in self.carried.got].count(SIGNALS - 1) >= SENDERS

    @workflow.signal
    def put(self, life: int, sender: int, counter: int) -> None:
        self.carried.got.append([life, sender, counter])


registry = Registry(task_queue="work", workflows=[Chain], activities=[])
check_options: tuple[str, ...] = ()


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """One chain, and on even numbers its second life."""
    for life in range(2 - number % 2):
        workflow_id = f"chain-{number}"
        handle = await operations.start(
            client,
            Chain.run,
            Carried(life),
            workflow_id,
            request_id=f"{workflow_id}-{life}",
            reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE if life else WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )
        await asyncio.gather(*(_send(handle, life, sender, operations) for sender in range(SENDERS)))
        found = await handle.result()
        judge(workflow_id, life, found, await _walk(client, handle))


async def _send(handle: WorkflowHandle[Any, Any], life: int, sender: int, operations: Operations) -> None:
    for counter in range(SIGNALS):
        await operations.signal(handle, Chain.put, life, sender, counter, request_id=f"{handle.id}-{life}-{sender}-{counter}")


async def _walk(client: Client, handle: WorkflowHandle[Any, Any]) -> list[str]:
    """The runs of a chain, as each names the one that follows it."""
    runs: list[str] = []
    following = handle.result_run_id
    while following is not None:
        runs.append(following)
        link = client.get_workflow_handle(handle.id, run_id=following)
        following = None
        try:
            await link.result(follow_runs=False)
        except WorkflowContinuedAsNewError as error:
            following = error.new_execution_run_id
    return runs


def judge(workflow_id: str, life: int, found: Carried, runs: list[str]) -> None:
    """Raise AssertionError unless each link ran once, and each sender's signals came once and in order, all of this life."""
    assert found.links == runs, f"{workflow_id}: the runs are {runs}, and what they carried says {found.links}"
    assert len(set(runs)) == len(runs) > 1, f"{workflow_id}: the runs are {runs}"
    for sender in range(SENDERS):
        came = [[of, counter] for of, by, counter in found.got if by == sender]
        assert came == [[life, counter] for counter in range(SIGNALS)], f"{workflow_id}: in life {life}, of sender {sender} came {came}"


async def check(client: Client, count: int, directory: Path) -> None:
    """`one` has looked at everything."""
