"""The workflow that is measured: two activities one after the other, which do nothing, so that only Perdure is seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from perdure import Registry, activity, workflow

TASK_QUEUE = "bench"


@dataclass(frozen=True)
class Transfer:
    """What a transfer is told."""

    source: str
    target: str
    cents: int


@activity.defn
async def withdraw(transfer: Transfer) -> str:
    """Pretend to take the money."""
    return f"{transfer.source}-{transfer.cents}"


@activity.defn
async def deposit(transfer: Transfer) -> str:
    """Pretend to give the money."""
    return f"{transfer.target}+{transfer.cents}"


@workflow.defn
class BenchTransfer:
    """Withdraw, then deposit."""

    @workflow.run
    async def run(self, transfer: Transfer) -> str:
        """Return both confirmations."""
        withdrawn = await workflow.execute_activity(withdraw, transfer, start_to_close_timeout=timedelta(minutes=1))
        deposited = await workflow.execute_activity(deposit, transfer, start_to_close_timeout=timedelta(minutes=1))
        return f"{withdrawn} {deposited}"


registry = Registry(task_queue=TASK_QUEUE, workflows=[BenchTransfer], activities=[withdraw, deposit])
