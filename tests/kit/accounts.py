"""A bank made of workflows, in which a lost or doubled message shows: an account's balance changes at every signal it gets.

Nothing here is idempotent on purpose. A transfer runs two activities and signals two accounts, which mostly live on other partitions;
accounts continue as new every few movements, so that signals meet runs that close. When every transfer is done, all balances sum to
zero and the number of movements is twice the number of transfers. Served as `perdure owner kit.accounts:registry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from perdure import Registry, activity, workflow
from perdure.common import RetryPolicy

ACCOUNTS = 6
MOVEMENTS_PER_RUN = 20


@dataclass
class Movement:
    """What an account knows of itself."""

    balance: int = 0
    movements: int = 0


@dataclass
class Order:
    """One transfer."""

    source: str
    target: str
    amount: int


@activity.defn
async def check(order: Order) -> int:
    """Say how much may be moved."""
    return order.amount


@activity.defn
def note(order: Order) -> str:
    """Write the transfer down, in a thread."""
    return f"{order.source} -> {order.target}: {order.amount}"


@workflow.defn
class Account:
    """Open until somebody closes it."""

    @workflow.init
    def __init__(self, state: Movement) -> None:
        self.state = state
        self.closing = False
        self.movements_of_run = 0

    @workflow.run
    async def run(self, state: Movement) -> Movement:
        await workflow.wait_condition(lambda: self.closing or self.movements_of_run >= MOVEMENTS_PER_RUN)
        if not self.closing:
            workflow.continue_as_new(self.state)
        return self.state

    @workflow.signal
    def move(self, amount: int) -> None:
        self.state.balance += amount
        self.state.movements += 1
        self.movements_of_run += 1

    @workflow.signal
    def close(self) -> None:
        self.closing = True

    @workflow.query
    def look(self) -> Movement:
        return self.state


@workflow.defn
class Move:
    """Moves money from one account to the other."""

    @workflow.run
    async def run(self, order: Order) -> str:
        retry = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=2))
        options: workflow.ActivityConfig = {"start_to_close_timeout": timedelta(seconds=20), "retry_policy": retry}
        amount = await workflow.execute_activity(check, order, **options)
        await workflow.get_external_workflow_handle(order.source).signal("move", -amount)
        await workflow.sleep(0.05)
        await workflow.get_external_workflow_handle(order.target).signal("move", amount)
        return await workflow.execute_activity(note, order, **options)


def account_id(number: int) -> str:
    """The workflow id of an account."""
    return f"account-{number % ACCOUNTS}"


registry = Registry(task_queue="accounts", workflows=[Account, Move], activities=[check, note])
