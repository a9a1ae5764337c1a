"""A bank made of workflows, in which a lost or doubled message shows: an account's balance changes at every signal it gets.

Nothing here is idempotent on purpose. A transfer runs two activities and signals two accounts, which mostly live on other partitions;
half of the accounts continue as new every seven movements, and two of the others close after some and are opened again with what they
had, so that signals meet runs that close and ids that are used again. Each transfer moves a prime number of its own: when all are done
the balances sum to zero, and one that is off by such a prime names the transfer that is missing or there twice. Beside it each account
keeps the list of its movements.
"""

from __future__ import annotations

import asyncio
import json
import os
from bisect import bisect_right
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import count as count_from
from itertools import takewhile
from pathlib import Path

from kit import outside
from kit.operations import Operations
from perdure import Registry, activity, workflow
from perdure.client import Client, WorkflowExecutionStatus
from perdure.common import RetryPolicy
from perdure.exceptions import ApplicationError
from perdure.service import RPCError, RPCStatusCode

MOVEMENTS_PER_RUN = (7, 9, 7, 100, 7, 30)
"""By account; a run may see some more of them than it waits for."""
ACCOUNTS = len(MOVEMENTS_PER_RUN)
CLOSING = frozenset({1, 5})
"""Accounts that close then, instead of continuing as new."""
LOOK_AFTER_S = 0.5
"""A transfer that takes longer may be waiting for an account that has closed."""
PATIENCE = timedelta(seconds=120)
"""Deadline of what only looks, and of what opens accounts."""

_primes = [2, 3]
_opening = asyncio.Lock()


@dataclass
class Book:
    """What an account knows of itself. `seen` is the list of its movements, as ascending ranges; `twice` what came when it was there."""

    balance: int = 0
    movements: int = 0
    seen: list[list[int]] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)

    def move(self, amount: int, number: int) -> None:
        """Take part in a transfer."""
        self.balance += amount
        self.movements += 1
        if not insert(self.seen, place(amount, number)):
            self.twice.append(place(amount, number))


@dataclass
class Order:
    """One transfer."""

    number: int
    source: str
    target: str
    amount: int


def place(amount: int, number: int) -> int:
    """The number of a movement in its account's list, without gaps: of each six transfers, an account makes one and gets one."""
    return 2 * (number // ACCOUNTS) + (amount > 0)


def insert(ranges: list[list[int]], value: int) -> bool:
    """Add to ascending ranges, ends included; False if it is there."""
    at = bisect_right(ranges, value, key=lambda one: one[0])
    if at and value <= ranges[at - 1][1]:
        return False
    begins, ends = at > 0 and ranges[at - 1][1] == value - 1, at < len(ranges) and ranges[at][0] == value + 1
    ranges[at - begins : at + ends] = [[ranges[at - 1][0] if begins else value, ranges[at][1] if ends else value]]
    return True


def prime(number: int) -> int:
    """The prime of this number, from 0."""
    while number >= len(_primes):
        _primes.append(next(filter(_is_next_prime, count_from(_primes[-1] + 2, 2))))
    return _primes[number]


def _is_next_prime(one: int) -> bool:
    return all(one % divisor for divisor in takewhile(lambda divisor: divisor * divisor <= one, _primes))


def account_id(number: int) -> str:
    """The workflow id of an account."""
    return f"account-{number % ACCOUNTS}"


def order(number: int) -> Order:
    """The transfer of a number."""
    return Order(number, account_id(number), account_id(number + 1 + number // ACCOUNTS % (ACCOUNTS - 1)), prime(number))


@activity.defn
async def check_order(order: Order) -> int:
    """Say how much may be moved."""
    return order.amount


@activity.defn
def note(order: Order) -> str:
    """Write the transfer down, in a thread."""
    return f"{order.source} -> {order.target}: {order.amount}"


@activity.defn
async def put_away(account: str, book: Book) -> None:
    """Keep what a closing account has where retention does not reach it."""
    kept = outside.directory() / f"{account}.{book.movements:09}"
    written = kept.with_name(f"{kept.name}.{os.getpid()}.part")
    written.write_text(json.dumps(asdict(book)))
    written.rename(kept)


OPTIONS: workflow.ActivityConfig = {
    "start_to_close_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=2)),
}


@workflow.defn
class Account:
    """Open, and open again where it has closed."""

    @workflow.init
    def __init__(self, book: Book) -> None:
        self.book = book
        self.begins_with = book.movements

    @workflow.run
    async def run(self, book: Book) -> Book:
        account = workflow.info().workflow_id
        number = int(account.rpartition("-")[2])
        await workflow.wait_condition(lambda: self.book.movements - self.begins_with >= MOVEMENTS_PER_RUN[number])
        if number not in CLOSING:
            workflow.continue_as_new(self.book)
        kept = -1
        while kept != self.book.movements:  # it may have moved while it was put away
            kept = self.book.movements
            await workflow.execute_activity(put_away, args=[account, self.book], **OPTIONS)
        return self.book

    @workflow.signal
    def move(self, amount: int, number: int) -> None:
        self.book.move(amount, number)

    @workflow.query
    def look(self) -> Book:
        return self.book


@workflow.defn
class Move:
    """Moves money from one account to the other."""

    @workflow.run
    async def run(self, order: Order) -> str:
        amount = await workflow.execute_activity(check_order, order, **OPTIONS)
        await self.tell(order.source, -amount, order.number)
        await workflow.sleep(0.05)
        await self.tell(order.target, amount, order.number)
        return await workflow.execute_activity(note, order, **OPTIONS)

    async def tell(self, account: str, amount: int, number: int) -> None:
        """Signal an account; where it is closed, until it is open."""
        while True:
            try:
                return await workflow.get_external_workflow_handle(account).signal("move", args=[amount, number])
            except ApplicationError as error:
                if error.type != "ExternalWorkflowExecutionNotFound":
                    raise
            await workflow.sleep(0.2)


registry = Registry(task_queue="work", workflows=[Account, Move], activities=[check_order, note, put_away])
check_options = ("--bank", "Account:move", "--bank-total", "0", "--bank-query", "look.movements", "--may-stay-open", "account-.*")


async def prepare(client: Client) -> None:
    """Make sure that every account is open."""
    await _open(client, range(ACCOUNTS), outside.directory())


async def _open(client: Client, accounts: range | frozenset[int], directory: Path) -> None:
    """Open those that are not open, with what they had; one caller at a time, so that none opens with what a later run has outdated.

    What was put away last names the request: an account is opened once behind each of its closings.
    """
    async with _opening:
        for account in map(account_id, accounts):
            try:
                described = await client.get_workflow_handle(account).describe(rpc_timeout=PATIENCE)
                if described.status is WorkflowExecutionStatus.RUNNING:
                    continue
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
            book = last_book(account, directory)
            name = f"{account} behind {book.movements}"
            await client.start_workflow(Account.run, book, id=account, task_queue="work", request_id=name, rpc_timeout=PATIENCE)


def last_book(account: str, directory: Path) -> Book:
    """What an account has put away last; an empty one where it never closed."""
    kept = sorted(directory.glob(f"{account}.?????????"))
    return Book(**json.loads(kept[-1].read_text())) if kept else Book()


async def one(client: Client, number: int, operations: Operations) -> None:
    """One transfer, from its start to its end."""
    handle = await operations.start(client, Move.run, order(number), f"move-{number}", request_id=f"start-{number}")
    result = asyncio.create_task(handle.result())
    try:
        while not (await asyncio.wait([result], timeout=LOOK_AFTER_S))[0]:
            await _open(client, CLOSING, outside.directory())
        await result
    finally:
        result.cancel()


async def check(client: Client, count: int, directory: Path) -> None:
    """Every transfer moved its money once, and no other did."""
    await _open(client, CLOSING, directory)
    for account, wanted in books(count).items():
        found = await client.get_workflow_handle(account).query(Account.look, rpc_timeout=PATIENCE)
        compare(account, found, wanted, count)


def books(count: int) -> dict[str, Book]:
    """What the accounts hold when transfers 0 to `count` are done."""
    wanted = {account_id(number): Book() for number in range(ACCOUNTS)}
    for transfer in map(order, range(count)):
        wanted[transfer.source].move(-transfer.amount, transfer.number)
        wanted[transfer.target].move(transfer.amount, transfer.number)
    return wanted


def compare(account: str, found: Book, wanted: Book, count: int) -> None:
    """Raise AssertionError, with the transfers that explain it, unless an account holds what it should."""
    off = found.balance - wanted.balance
    named = [
        f"transfer {one.number} is {'there twice' if (off > 0) == (one.target == account) else 'missing'}"
        for one in map(order, range(count))
        if abs(off) == one.amount and account in (one.source, one.target)
    ]
    assert found == wanted, f"{account} has {found}, and should have {wanted}: {named}"
