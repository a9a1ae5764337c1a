"""All workloads at once, in one namespace: item n belongs to workload n modulo their number."""

from __future__ import annotations

from pathlib import Path

from kit.operations import Operations
from kit.workloads import bank, ledger, signals, timers
from perdure import Registry
from perdure.client import Client

PARTS = (bank, ledger, signals, timers)

registry = Registry(
    task_queue="work",
    workflows=[one for part in PARTS for one in part.registry.workflows],
    activities=[one for part in PARTS for one in part.registry.activities],
)


async def prepare(client: Client) -> None:
    """What any of them needs."""
    for part in PARTS:
        await part.prepare(client)


async def one(client: Client, number: int, operations: Operations) -> None:
    """One item of one of them."""
    await PARTS[number % len(PARTS)].one(client, number // len(PARTS), operations)


async def check(client: Client, count: int, directory: Path) -> None:
    """What must hold of each, when items 0 to `count` are done."""
    for position, part in enumerate(PARTS):
        await part.check(client, (count - position + len(PARTS) - 1) // len(PARTS), directory)
