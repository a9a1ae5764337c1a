"""Senders that count: one sender's signals arrive in order, none twice, none missing, and what is acknowledged is seen by a query."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from kit.operations import Operations
from perdure import Registry, workflow
from perdure.client import Client, WorkflowHandle

SENDERS = 3
SIGNALS = 12


@workflow.defn
class Inbox:
    """Keeps what it is sent, until every sender has sent its last."""

    @workflow.init
    def __init__(self, last: int) -> None:
        self.got: list[list[int]] = []
        self.last = last
        self.ended = 0

    @workflow.run
    async def run(self, last: int) -> list[list[int]]:
        await workflow.wait_condition(lambda: self.ended == SENDERS)
        return self.got

    @workflow.signal
    def put(self, sender: int, counter: int) -> None:
        self.got.append([sender, counter])
        self.ended += counter == self.last

    @workflow.query
    def of(self, sender: int) -> int:
        return sum(one[0] == sender for one in self.got)


registry = Registry(task_queue="work", workflows=[Inbox], activities=[])
check_options: tuple[str, ...] = ()


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """One inbox and its senders; a sender does not overtake a signal of its own whose outcome it does not know."""
    handle = await operations.start(client, Inbox.run, SIGNALS - 1, f"inbox-{number}")
    await asyncio.gather(*(_send(handle, sender, operations) for sender in range(SENDERS)))
    judge(handle.id, await handle.result())


def judge(workflow_id: str, got: list[list[int]]) -> None:
    """Raise AssertionError unless the signals of each sender came once each and in their order."""
    for sender in range(SENDERS):
        counters = [counter for by, counter in got if by == sender]
        assert counters == list(range(SIGNALS)), f"{workflow_id}: of sender {sender} came {counters}"


async def _send(handle: WorkflowHandle[Any, Any], sender: int, operations: Operations) -> None:
    for counter in range(SIGNALS):
        await operations.signal(handle, Inbox.put, sender, counter, request_id=f"{handle.id}-{sender}-{counter}")
        seen = await handle.query(Inbox.of, sender, rpc_timeout=timedelta(seconds=30))
        assert seen > counter, f"{handle.id}: signal {counter} of sender {sender} was acknowledged, and a query sees {seen}"


async def check(client: Client, count: int, directory: Path) -> None:
    """`one` has looked at everything."""
