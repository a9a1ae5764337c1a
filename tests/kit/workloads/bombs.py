"""Workflow code that does what it must not, beside neighbours that have done nothing."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from kit.operations import Operations
from perdure import Registry, workflow
from perdure.client import Client

TASKS = 5_000


def _deeper(depth: int) -> int:
    return _deeper(depth + 1) + 1


@workflow.defn
class Bomb:
    """Goes off at once."""

    @workflow.run
    async def run(self, kind: str) -> None:
        match kind:
            case "loops":
                while True:
                    pass
            case "blocks in C":
                re.fullmatch("(a+)+b", "a" * 26)  # seconds in one call, which nothing can interrupt
                raise AssertionError("over")
            case "SystemExit":
                raise SystemExit(3)
            case "KeyboardInterrupt":
                raise KeyboardInterrupt
            case "GeneratorExit":
                raise GeneratorExit
            case "RecursionError":
                _deeper(0)
            case "MemoryError":
                bytes(1 << 60)
            case "leaks tasks":
                self.left = [asyncio.create_task(workflow.wait_condition(lambda: False)) for _ in range(TASKS)]
                await workflow.wait_condition(lambda: False)
            case "swallows its end":
                while True:
                    try:
                        await workflow.wait_condition(lambda: False)
                    except asyncio.CancelledError:
                        continue
            case _:
                raise AssertionError(f"no bomb is called {kind!r}")


KINDS = (
    "loops",
    "blocks in C",
    "SystemExit",
    "KeyboardInterrupt",
    "GeneratorExit",
    "RecursionError",
    "MemoryError",
    "leaks tasks",
    "swallows its end",
)


@workflow.defn
class Neighbour:
    """Is done at once."""

    @workflow.run
    async def run(self) -> str:
        return "done"


registry = Registry(task_queue="work", workflows=[Bomb, Neighbour])
check_options: tuple[str, ...] = ()


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """A neighbour."""
    await client.execute_workflow(Neighbour.run, id=f"neighbour-{number}", task_queue="work")


async def check(client: Client, count: int, directory: Path) -> None:
    """Nothing beyond what each test looks at."""
