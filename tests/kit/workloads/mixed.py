"""All workloads at once, in one namespace, in fixed shares.

Those that send many signals have small ones: each signal is a request of its own, and what an owner remembers of requests that may be
repeated for an hour would hide any other growth.
"""

from __future__ import annotations

from pathlib import Path

from kit.operations import Operations
from kit.workloads import bank, chains, fan_out, ledger, notes, queries, sagas, signals, timers
from perdure import Registry
from perdure.client import Client

SHARES = ((bank, 18), (ledger, 11), (timers, 8), (sagas, 4), (notes, 3), (chains, 2), (queries, 2), (fan_out, 1), (signals, 1))
"""Of so many items in a row."""
PARTS = tuple(part for part, _ in SHARES)
SLOTS = tuple(part for _, part in sorted(((at + 0.5) / share, part) for part, (_, share) in enumerate(SHARES) for at in range(share)))
"""Which part item n belongs to, by n modulo their number; those of a part lie evenly among the others."""

registry = Registry(
    task_queue="work",
    workflows=[one for part in PARTS for one in part.registry.workflows],
    activities=[one for part in PARTS for one in part.registry.activities],
)
check_options = bank.check_options


def below(part: int, number: int) -> int:
    """How many of the items 0 to `number` belong to a part."""
    rounds, rest = divmod(number, len(SLOTS))
    return rounds * SLOTS.count(part) + SLOTS[:rest].count(part)


async def prepare(client: Client) -> None:
    """What any of them needs."""
    for part in PARTS:
        await part.prepare(client)


async def one(client: Client, number: int, operations: Operations) -> None:
    """One item of one of them."""
    part = SLOTS[number % len(SLOTS)]
    await PARTS[part].one(client, below(part, number), operations)


async def check(client: Client, count: int, directory: Path) -> None:
    """What must hold of each, when items 0 to `count` are done."""
    for position, part in enumerate(PARTS):
        await part.check(client, below(position, count), directory)
