"""Drives a workload: python -m kit.load WORKLOAD URL OPERATIONS FIRST COUNT IN_FLIGHT PER_SECOND

Prints `done N` for each item that ended as it should, `wrong N …` for one that did not. Killed and started again it goes on where it was:
workflow ids and request ids follow from the item's number, so what is repeated meets the run that is there. PER_SECOND items begin in a
second at most; 0 sets no limit.
"""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Protocol, cast

from kit.operations import Operations
from perdure import Registry
from perdure.client import Client, WorkflowFailureError
from perdure.service import RPCTimeoutOrCancelledError


class Workload(Protocol):
    """A module of `kit.workloads`."""

    registry: Registry
    check_options: tuple[str, ...]
    """What `perdure-check` is to know about it."""

    async def prepare(self, client: Client) -> None:
        """Make what all items need; again in each process that drives."""

    async def one(self, client: Client, number: int, operations: Operations) -> None:
        """One item, from its start to its end. Raises AssertionError, or what failed a workflow, for an outcome that must not be."""

    async def check(self, client: Client, count: int, directory: Path) -> None:
        """What must hold when items 0 to `count` are done. `directory` holds what activities wrote."""


def workload(name: str) -> Workload:
    """The workload of this name."""
    return cast("Workload", importlib.import_module(f"kit.workloads.{name}"))


async def run(name: str, url: str, operations: Operations, numbers: range, in_flight: int, per_second: float) -> None:
    """Drive items, `in_flight` at a time, until they are all done; after SIGTERM, until those that have begun are."""
    load = workload(name)
    client = await Client.connect(url, request_lifetime=timedelta(minutes=10))
    while True:
        try:
            await load.prepare(client)
            break
        except RPCTimeoutOrCancelledError as error:
            print("again", error, flush=True)
    room = asyncio.Semaphore(in_flight)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)

    async def one(number: int) -> None:
        while True:
            try:
                await load.one(client, number, operations)
                print("done", number, flush=True)
                break
            except RPCTimeoutOrCancelledError as error:  # of a call that only reads
                print("again", number, error, flush=True)
            except AssertionError as error:
                print("wrong", number, " ".join(str(error).split("\n")), flush=True)
                break
            except WorkflowFailureError as error:
                print("wrong", number, repr(error.cause), flush=True)
                break
        room.release()

    under_way: set[asyncio.Task[None]] = set()
    for number in numbers:
        await room.acquire()
        if told.is_set():
            print("last", number, flush=True)
            break
        task = asyncio.create_task(one(number))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        if per_second:
            await asyncio.sleep(1 / per_second)
    while under_way:
        await asyncio.wait(under_way)
    await client.close()


if __name__ == "__main__":
    _, name, url, file, first, count, in_flight, per_second = sys.argv
    numbers = range(int(first), int(first) + int(count))
    asyncio.run(run(name, url, Operations(Path(file)), numbers, int(in_flight), float(per_second)))
