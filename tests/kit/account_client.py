"""Starts transfers between the accounts of `kit.accounts` and waits for them; killed and started again, it goes on where it was.

    python -m kit.account_client URL FIRST COUNT IN_FLIGHT

Prints one line per transfer that is done. Workflow ids are fixed, so a repeated start meets the run that is there.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from kit.accounts import ACCOUNTS, Account, Move, Movement, Order, account_id
from perdure.client import Client, WorkflowFailureError
from perdure.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure.exceptions import WorkflowAlreadyStartedError

PATIENCE = timedelta(seconds=120)


async def open_accounts(client: Client) -> None:
    """Make sure that every account is open."""
    for number in range(ACCOUNTS):
        await client.start_workflow(
            Account.run,
            Movement(),
            id=account_id(number),
            task_queue="accounts",
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            rpc_timeout=PATIENCE,
        )


async def transfer(client: Client, number: int) -> str:
    """One transfer, from its start to its end."""
    order = Order(account_id(number), account_id(number + 1 + number // ACCOUNTS % (ACCOUNTS - 1)), 1 + number % 7)
    workflow_id = f"move-{number}"
    try:
        handle = await client.start_workflow(
            Move.run,
            order,
            id=workflow_id,
            task_queue="accounts",
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            rpc_timeout=PATIENCE,
        )
        return await handle.result()
    except WorkflowAlreadyStartedError:
        return str(await client.get_workflow_handle(workflow_id).result())


async def balances(client: Client) -> tuple[int, int]:
    """The sum of all balances, and the number of movements."""
    found = [await client.get_workflow_handle(account_id(number)).query(Account.look, rpc_timeout=PATIENCE) for number in range(ACCOUNTS)]
    return sum(one.balance for one in found), sum(one.movements for one in found)


async def run(url: str, first: int, count: int, in_flight: int) -> None:
    """Transfers `first` to `first + count`, `in_flight` at a time."""
    client = await Client.connect(url)
    await open_accounts(client)
    room = asyncio.Semaphore(in_flight)

    async def one(number: int) -> None:
        async with room:
            try:
                await transfer(client, number)
                print("done", number, flush=True)
            except WorkflowFailureError as error:
                print("failed", number, repr(error.cause), flush=True)

    await asyncio.gather(*(one(number) for number in range(first, first + count)))
    await client.close()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
