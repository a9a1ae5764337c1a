"""Appends that the broker refuses, for a while or for good, and those that land late (rows A3 A4 W9 W11 W12)."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from kit import raw
from kit.namespace import Namespace, kill
from kit.proxy import Api, Do, Proxy, Rule
from kit.row import Row
from kit.workloads.bank import Move, order
from perdure.client import Client
from perdure_schemas.codec import decode_command
from perdure_schemas.commands import Origin
from perdure_schemas.history import Claim
from perdure_schemas.placement import partition_of
from perdure_schemas.topics import RECORD_BYTES_MAX

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

Doors = Callable[[], Proxy]

PARTITIONS = 4
REFUSED_S = 30
CLAIMS_MAX = 12
"""Of a partition that cannot go on for so long: its waits grow to ten seconds."""
PATIENCE = timedelta(seconds=120)


def claims_of(namespace: Namespace) -> list[int]:
    """How many claims each partition's history holds."""
    return [sum(isinstance(record, Claim) for _, record in raw.history(namespace, partition)) for partition in range(PARTITIONS)]


def start(namespace: Namespace, number: int, memo_bytes: int) -> None:
    """Start a transfer as the load would, with a memo of this size, which is in its first record; wait until it is accepted."""

    async def call() -> None:
        async with await Client.connect(namespace.url) as client:
            await client.start_workflow(
                Move.run,
                order(number),
                id=f"move-{number}",
                request_id=f"start-{number}",
                task_queue="work",
                memo={"bulk": "x" * memo_bytes},
                rpc_timeout=PATIENCE,
            )

    asyncio.run(call())


def test_a_record_that_its_topic_no_longer_takes_holds_up_its_own_partition_only(bank: Namespace, row: Row) -> None:
    row.injects("A4", "max.message.bytes of history lowered to 20,000 at run time, then a start with a memo of 100,000 bytes")
    owner = bank.owner()
    bank.worker()
    bank.until_leading(owner, PARTITIONS)
    number = 10
    load = bank.load(number, 10)
    bank.until(lambda: load.poll() is not None, "the load's end")
    stricken = partition_of(f"move-{number}", PARTITIONS)
    raw.alter(bank, "history", max_message_bytes="20000")
    with ThreadPoolExecutor(1) as aside:
        starting = aside.submit(start, bank, number, 100_000)
        bank.until(lambda: "MSG_SIZE_TOO_LARGE" in bank.said(owner), "the refusal")
        row.injected()
        ends = time.monotonic() + REFUSED_S
        while time.monotonic() < ends:
            number += 1
            if partition_of(f"move-{number}", PARTITIONS) != stricken:
                start(bank, number, 0)
                row.during += 1
        claims = claims_of(bank)
        row.figures["claims"] = claims[stricken]
        raw.alter(bank, "history", max_message_bytes=str(RECORD_BYTES_MAX))
        starting.result(60)
    assert claims.pop(stricken) <= CLAIMS_MAX
    assert claims == [1] * (PARTITIONS - 1), "other partitions were claimed again"
    assert row.during > 0
    assert "max.message.bytes" in bank.said(owner), "no alarm"
    assert owner.poll() is None
    bank.finish(bank.load(number + 1, 10), number + 1)


REFUSALS = [
    ("A3", "history", "fresh", Do.CORRUPT),
    ("A3", "history", "warm", Do.CORRUPT),
    ("W11", "commands", "fresh", Do.CORRUPT),
    ("W11", "commands", "warm", Do.CORRUPT),
    ("W11", "commands", "warm", Do.CUT_AFTER),
    ("W11", "commands", "warm", Do.CUT),
]


@pytest.mark.parametrize(("names", "topic", "producer", "do"), REFUSALS)
def test_batches_that_are_refused_while_those_behind_them_pass_cost_nothing(
    door: Doors, bank: Namespace, row: Row, names: str, topic: str, producer: str, do: Do
) -> None:
    """The broker takes any first sequence of a producer that it does not know yet: behind a refused first batch the next one passes."""
    row.injects(names, f"{do.value} of 10 Produce requests to {topic}, of a {producer} producer of the owner")
    transfers, proxy = 150, door()
    rule = Rule(do, frozenset({Api.PRODUCE}), bank.names_of(topic), times=10)
    if producer == "fresh":
        proxy.add(rule)
    owner = bank.owner(through=proxy)
    bank.worker()
    load = bank.load(transfers, 20)
    if producer == "warm":
        bank.until_done(30)
        proxy.add(rule)
    bank.until(lambda: rule.hits == rule.times, "ten requests")
    row.injected(rule.hits)
    bank.finish(load, transfers, 200)
    assert owner.poll() is None


def test_commands_that_land_when_a_successor_has_long_sent_them_again_are_dropped(door: Doors, bank: Namespace, row: Row) -> None:
    row.injects("W9 W12", "Produce to commands held on an open connection, owner killed, released 60 transfers later")
    transfers, proxy, bank.session_ms = 200, door(), 3_000
    owner = bank.owner("first", through=proxy)
    bank.worker()
    load = bank.load(transfers, 20)
    bank.until_done(40)
    rule = proxy.add(Rule(Do.HOLD, frozenset({Api.PRODUCE}), bank.names_of("commands")))
    bank.until(lambda: rule.hits > 0, "commands that are held")
    kill(owner)
    bank.until_leading(bank.owner("second"), PARTITIONS)
    with row.fault(bank):
        bank.until_done(bank.done() + 60)
    proxy.remove(rule)
    bank.finish(load, transfers)
    row.injected(sum(count - 1 for count in origins_of(bank).values()))
    assert row.during > 0


def origins_of(namespace: Namespace) -> Counter[tuple[int, Origin]]:
    """How often each command of another partition lies in each partition."""
    found: Counter[tuple[int, Origin]] = Counter()
    for partition in range(PARTITIONS):
        for record in raw.read(namespace, "commands", partition):
            origin = decode_command(record.value).origin
            if origin is not None:
                found[partition, origin] += 1
    return found
