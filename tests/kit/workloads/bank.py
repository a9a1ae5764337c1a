"""A bank made of workflows, in which a lost or doubled message shows: an account's balance changes at every signal it gets.

Nothing here is idempotent on purpose. A transfer runs two activities and signals two accounts, which mostly live on other partitions;
accounts continue as new every few movements, so that signals meet runs that close. When every transfer is done, all balances sum to
zero, each account has as many movements as transfers name it, and a sum over the transfers' numbers says which one is missing or twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from kit.operations import PATIENCE, Operations
from perdure import Registry, activity, workflow
from perdure.client import Client, WorkflowFailureError
from perdure.common import RetryPolicy, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure.exceptions import WorkflowAlreadyStartedError

ACCOUNTS = 6
MOVEMENTS_PER_RUN = 20
FIELD = (1 << 61) - 1
"""A prime; sums of powers of 3 in its field tell which transfers an account has seen."""


@dataclass
class Movement:
    """What an account knows of itself."""

    balance: int = 0
    movements: int = 0
    seen: int = 0


@dataclass
class Order:
    """One transfer."""

    number: int
    source: str
    target: str
    amount: int


def account_id(number: int) -> str:
    """The workflow id of an account."""
    return f"account-{number % ACCOUNTS}"


def order(number: int) -> Order:
    """The transfer of a number."""
    return Order(number, account_id(number), account_id(number + 1 + number // ACCOUNTS % (ACCOUNTS - 1)), 1 + number % 7)


@activity.defn
async def check_order(order: Order) -> int:
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
    def move(self, amount: int, number: int) -> None:
        self.state.balance += amount
        self.state.movements += 1
        self.state.seen = (self.state.seen + pow(3, number + 1, FIELD)) % FIELD
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
        options: workflow.ActivityConfig = {"start_to_close_timeout": timedelta(seconds=10), "retry_policy": retry}
        amount = await workflow.execute_activity(check_order, order, **options)
        await workflow.get_external_workflow_handle(order.source).signal("move", args=[-amount, order.number])
        await workflow.sleep(0.05)
        await workflow.get_external_workflow_handle(order.target).signal("move", args=[amount, order.number])
        return await workflow.execute_activity(note, order, **options)


registry = Registry(task_queue="work", workflows=[Account, Move], activities=[check_order, note])
check_options = ("--bank", "Account:move", "--bank-total", "0", "--bank-query", "look.movements", "--may-stay-open", "account-.*")


async def prepare(client: Client) -> None:
    """Make sure that every account is open."""
    for number in range(ACCOUNTS):
        await client.start_workflow(
            Account.run,
            Movement(),
            id=account_id(number),
            task_queue="work",
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            rpc_timeout=PATIENCE,
        )


async def one(client: Client, number: int, operations: Operations) -> None:
    """One transfer, from its start to its end."""
    workflow_id, request_id = f"move-{number}", f"start-{number}"
    try:
        handle = await operations.ask(
            "start",
            workflow_id,
            request_id,
            lambda: client.start_workflow(
                Move.run,
                order(number),
                id=workflow_id,
                task_queue="work",
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                request_id=request_id,
                rpc_timeout=PATIENCE,
            ),
        )
        await handle.result()
    except WorkflowAlreadyStartedError as error:  # its own request id must have met its own run
        raise AssertionError(f"the repeated start of {workflow_id} was refused: {error}") from error
    except WorkflowFailureError as error:
        raise AssertionError(f"{workflow_id} failed: {error.cause!r}") from error


async def check(client: Client, count: int, directory: Path) -> None:
    """Every transfer moved its money once, and no other did."""
    wanted = {account_id(number): Movement() for number in range(ACCOUNTS)}
    for transfer in map(order, range(count)):
        for account, amount in ((transfer.source, -transfer.amount), (transfer.target, transfer.amount)):
            state = wanted[account]
            state.balance += amount
            state.movements += 1
            state.seen = (state.seen + pow(3, transfer.number + 1, FIELD)) % FIELD
    for account, state in wanted.items():
        found = await client.get_workflow_handle(account).query(Account.look, rpc_timeout=timedelta(seconds=120))
        apart = (found.seen - state.seen) % FIELD
        named = [
            f"transfer {n} is {what}"
            for n in range(count)
            for what, value in (("there twice", apart), ("missing", -apart % FIELD))
            if value == pow(3, n + 1, FIELD)
        ]
        assert found == state, f"{account} has {found}, and {state} was moved: {named}"
