"""Senders that count: one sender's signals arrive in order, none twice, none missing, and what is acknowledged is seen by a query."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from kit.operations import PATIENCE, Operations
from perdure import Registry, workflow
from perdure.client import Client, WorkflowHandle
from perdure.common import WorkflowIDReusePolicy

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
    workflow_id = f"inbox-{number}"
    handle = await operations.ask(
        "start",
        workflow_id,
        workflow_id,
        lambda: client.start_workflow(
            Inbox.run,
            SIGNALS - 1,
            id=workflow_id,
            task_queue="work",
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            request_id=workflow_id,
            rpc_timeout=PATIENCE,
        ),
    )
    await asyncio.gather(*(_send(handle, sender, operations) for sender in range(SENDERS)))
    got = await handle.result()
    for sender in range(SENDERS):
        counters = [counter for by, counter in got if by == sender]
        assert counters == list(range(SIGNALS)), f"{workflow_id}: of sender {sender} came {counters}"


async def _send(handle: WorkflowHandle[Any, Any], sender: int, operations: Operations) -> None:
    for counter in range(SIGNALS):
        request_id = f"{handle.id}-{sender}-{counter}"
        await operations.ask(
            "signal",
            handle.id,
            request_id,
            lambda counter=counter, request_id=request_id: handle.signal(  # type: ignore[misc]
                Inbox.put, args=[sender, counter], request_id=request_id, rpc_timeout=PATIENCE
            ),
        )
        seen = await handle.query(Inbox.of, sender, rpc_timeout=timedelta(seconds=30))
        assert seen > counter, f"{handle.id}: signal {counter} of sender {sender} was acknowledged, and a query sees {seen}"


async def check(client: Client, count: int, directory: Path) -> None:
    """`one` has looked at everything."""
