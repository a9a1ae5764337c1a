"""Storms: very many signals to one run, and order where outcomes are unknown (row L1)."""

import asyncio
import time
from datetime import timedelta

import pytest

from kit.namespace import Namespaces, kill
from kit.row import Row
from kit.workloads.signals import SENDERS, Inbox
from perdure.client import Client

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

SIGNALS = 1_000


def test_signals_of_each_sender_keep_their_order_while_owners_and_the_sender_are_killed(namespaces: Namespaces, row: Row) -> None:
    row.injects("L1 A1", "owner and driver killed while four senders count, unknown signals repeated under their ids")
    signals = namespaces("signals")
    items = 40
    owner, load = signals.owner(), signals.load(items, 8)
    for goal in (5, 15, 25):
        signals.until_done(goal)
        kill(owner)
        owner = signals.owner()
        kill(load)
        load = signals.load(items, 8)
        row.injected(2)
    signals.finish(load, items)


async def test_a_storm_on_one_run_keeps_order_and_leaves_room_for_others(namespaces: Namespaces, row: Row) -> None:
    row.injects("L1", f"{SENDERS} senders with {SIGNALS} signals each to one run, none awaited before the next")
    signals = namespaces("signals")
    signals.owner()
    worst_ms = 0.0
    async with await Client.connect(signals.url) as client:
        start = {"task_queue": "work", "rpc_timeout": timedelta(seconds=60)}
        storm = await client.start_workflow(Inbox.run, SIGNALS - 1, id="storm", **start)  # type: ignore[call-overload]

        async def send(sender: int) -> None:
            each = [storm.signal(Inbox.put, args=[sender, n], rpc_timeout=timedelta(seconds=60)) for n in range(SIGNALS)]
            await asyncio.gather(*each)
            row.injected(len(each))

        senders = asyncio.gather(*(send(sender) for sender in range(SENDERS)))
        neighbour = 0
        while not senders.done():
            began = time.monotonic()
            await client.start_workflow(Inbox.run, 1, id=f"neighbour-{neighbour}", **start)  # type: ignore[call-overload]
            worst_ms = max(worst_ms, (time.monotonic() - began) * 1000)
            neighbour += 1
            row.during += 1
            await asyncio.sleep(0.02)
        await senders
        got = await asyncio.wait_for(storm.result(), 60)
    for sender in range(SENDERS):
        assert [counter for by, counter in got if by == sender] == list(range(SIGNALS))
    assert row.during > 0
    row.figures["neighbours_slowest_start_ms"] = round(worst_ms)
    signals.verify()
