"""Workflow code that ends the process it runs in, when it is told to, beside open runs that have done nothing."""

from __future__ import annotations

import faulthandler
import os
from pathlib import Path

from kit.operations import Operations
from perdure import Registry, workflow
from perdure.client import Client

POISON = "poison"
"""The workflow id that is to blame."""


@workflow.defn
class Poison:
    """Deadly in the way that `kind` says."""

    @workflow.init
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.told = 0
        if kind == "exits in a rebuild" and workflow.unsafe.is_replaying():
            os._exit(9)

    @workflow.run
    async def run(self, kind: str) -> int:
        await workflow.wait_condition(lambda: self.told > 1)
        return self.told

    @workflow.signal
    def go(self) -> None:
        match self.kind:
            case "exits":
                os._exit(9)
            case "segfaults":
                faulthandler._sigsegv()  # type: ignore[attr-defined]
            case "eats memory":
                eaten = []
                while True:
                    eaten.append(bytearray(8 << 20))
        self.told += 1

    @workflow.query
    def deadly(self) -> int:
        os._exit(9)


@workflow.defn
class Innocent:
    """Is activated several times, so that owners die beside it in any state."""

    @workflow.run
    async def run(self, number: int) -> int:
        for _ in range(4):
            await workflow.sleep(0.2)
        return number


registry = Registry(task_queue="work", workflows=[Poison, Innocent])
check_options: tuple[str, ...] = ()


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """An innocent run."""
    workflow_id = f"innocent-{number}"
    handle = await operations.start(client, Innocent.run, number, workflow_id)
    assert await handle.result() == number


async def check(client: Client, count: int, directory: Path) -> None:
    """The load has looked at every result."""
