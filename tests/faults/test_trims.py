"""Trims that the broker undoes, refuses or delays, and what comes too late for them (rows C9 K3 to K7 K9)."""

import asyncio
import itertools
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from kit import raw
from kit.broker import Broker
from kit.lying_membership import leads
from kit.namespace import Namespace, Namespaces, kill
from kit.proxy import Api, Do, Proxy, Rule
from kit.row import Row
from kit.workloads.oddities import Box
from perdure._log.port import Log
from perdure.client import Client, WorkflowHandle
from perdure_platform.node.topics import describe_namespace, partition_topics
from perdure_platform.ops import verify
from perdure_platform.store.memory import MemoryStores
from perdure_schemas.codec import encode_history
from perdure_schemas.errors import LogCorrupt
from perdure_schemas.history import Checkpoint, Claim, ClaimedRecord, CommitRecord, Forget, PositionRecord, RunName

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

Doors = Callable[[], Proxy]

PARTITIONS = 4
RETENTION = "2s"
PATIENCE = timedelta(seconds=90)
SIGNALS, SIGNAL_BYTES = 130, 400_000
LONGER = "8s"
"""Where an owner sleeps meanwhile: clients of runs that it led ask again only after a while, and must find them."""


def test_a_start_that_moves_back_with_a_broker_that_dies_is_no_place_to_begin(bank: Namespace, broker: Broker, row: Row) -> None:
    row.injects("K3", "broker killed within seconds of DeleteRecords, so that it forgets them; the store wiped")
    transfers = 300
    owner, load = bank.owner(retention=RETENTION), bank.load(transfers, 10)
    bank.worker()
    bank.until(lambda: all(bank.starts()), "a trim of every partition")
    kill(owner)
    before = bank.starts()
    broker.kill()
    broker.start()
    row.injected(sum(after < start for after, start in zip(bank.starts(), before, strict=True)))
    shutil.rmtree(bank.directory / "store")
    bank.owner(retention=RETENTION)
    bank.finish(load, transfers, 200)


@pytest.mark.parametrize("point", ["log.append:120:stop", "trim.carried:6:stop", "trim.checkpoint:6:stop"])
def test_a_zombie_that_slept_through_two_trims_changes_nothing(bank: Namespace, row: Row, point: str) -> None:
    row.injects("K4", f"SIGSTOP at {point}, two trims by a successor, SIGCONT")
    transfers, bank.session_ms = 300, 3_000
    zombie = bank.owner("first", points=point, retention=LONGER)
    bank.worker()
    load = bank.load(transfers, 10)
    bank.until(lambda: len(bank.struck) > 0, "the stop")
    row.injected()
    successor = bank.owner("second", retention=LONGER)
    bank.until_leading(successor, PARTITIONS)
    with row.fault(bank):
        for _ in range(2):
            before = bank.starts()
            bank.until(lambda before=before: sum(map(int.__gt__, bank.starts(), before)) >= 2, "a trim")  # type: ignore[misc]
        bank.until_done(min(bank.done() + 20, transfers))
    zombie.send_signal(signal.SIGCONT)
    bank.until(lambda: "given up" in bank.said(zombie) or "cannot be used" in bank.said(zombie), "the zombie's retirement")
    bank.finish(load, transfers, 200)
    assert row.during > 0
    assert not any("stopped" in bank.said(owner) for owner in (zombie, successor)), bank.outputs()


def test_a_prefix_delete_that_is_never_answered_disturbs_nobody(door: Doors, bank: Namespace, row: Row) -> None:
    row.injects("K9", "no DeleteRecords of the only owner is answered for half a minute and 100 transfers")
    proxy = door()
    rule = proxy.add(Rule(Do.DROP, frozenset({Api.DELETE_RECORDS})))
    owner = bank.owner(through=proxy, retention=RETENTION)
    bank.worker()
    load = bank.load(10_000, 10, per_second=5)
    bank.until(lambda: rule.hits > 0, "a prefix delete")
    with row.fault(bank):
        time.sleep(30)
        bank.until_done(bank.done() + 100)
    row.injected(rule.hits)
    assert bank.said(owner).count("leading with claim") == PARTITIONS, f"an owner lost its partitions\n{bank.outputs()}"
    assert "stay for now" in bank.said(owner)
    assert not any(bank.starts())
    proxy.remove(rule)
    bank.until(lambda: all(bank.starts()), "a trim of every partition", 150)
    load.terminate()
    bank.until(lambda: load.poll() is not None, "the load's end")
    bank.check(bank.done())


def test_an_owner_that_reads_from_below_a_start_that_moves_begins_at_the_new_one(door: Doors, bank: Namespace, row: Row) -> None:
    row.injects("K5", "no Fetch of histories of an owner on an empty store is let through until they were trimmed past where it reads")
    transfers, proxy = 600, door()
    both = leads("everything", 60)  # or the first would give up half of them to who cannot read
    first = bank.owner("first", retention=LONGER, more=both)
    bank.worker()
    bank.until_leading(first, PARTITIONS)
    load = bank.load(transfers, 10, per_second=15)
    bank.until(lambda: all(bank.starts()), "a trim of every partition")
    rule = proxy.add(Rule(Do.HOLD, frozenset({Api.FETCH}), bank.names_of("history")))
    second = bank.owner("second", through=proxy, retention=LONGER, more=both)
    bank.until(lambda: rule.hits > 0, "a Fetch that is held")
    held = bank.starts()
    with row.fault(bank):
        bank.until(lambda: all(map(int.__gt__, bank.starts(), held)), "another trim of every partition")
    row.injected(rule.hits)
    proxy.remove(rule)
    bank.until_leading(second, PARTITIONS)
    assert row.during > 0
    bank.finish(load, transfers, 200)
    assert "stopped" not in bank.said(second), bank.outputs()


def test_who_begins_in_the_middle_comes_to_the_same_or_is_told_that_he_may_not(door: Doors, namespaces: Namespaces, row: Row) -> None:
    row.injects("C9", "readers that begin at each claim, position and checkpoint of histories of three owners; deletes never arrive")
    bank, transfers, proxy = namespaces("bank", partitions=2), 300, door()
    bank.session_ms = 3_000
    proxy.add(Rule(Do.DROP, frozenset({Api.DELETE_RECORDS})))  # so that whoever begins at the beginning is there to be compared with
    owner = bank.owner(through=proxy, retention=LONGER)
    bank.worker()
    load = bank.load(transfers, 10, per_second=15)
    for done in (100, 200):
        bank.until_done(done)
        kill(owner)
        owner = bank.owner(through=proxy, retention=LONGER)
    bank.finish(load, transfers, 200)
    kill(owner)
    came_to: Counter[str] = Counter()
    for partition, end in enumerate(raw.ends(bank)):
        whole = fold(bank, partition, 0, end)
        for read, record in raw.history(bank, partition):
            if read.offset and isinstance(record, Claim | PositionRecord | Checkpoint):
                begun = fold(bank, partition, read.offset, end)
                came_to["the same" if begun == whole else "refused" if not begun else f"another: {partition}:{read.offset}"] += 1
    row.injected(came_to.total())
    row.figures["places_to_begin"] = came_to["the same"]
    assert came_to.keys() == {"the same", "refused"}, came_to


def fold(namespace: Namespace, partition: int, begin_at: int, end: int) -> str:
    """The digest of a fold that begins there, or nothing where it may not."""

    def call(log: Log, name: str, _: int) -> str:
        topics = partition_topics(name, partition, describe_namespace(log, name))
        try:
            return verify._fold_from(log, topics, MemoryStores().open(partition), begin_at, end, 0.0).digest
        except LogCorrupt:
            return ""

    return namespace.with_log(call)


async def test_a_run_of_fifty_mebibytes_is_carried_whole_by_owners_that_die_of_it(namespaces: Namespaces, row: Row) -> None:
    row.injects("K6", f"{SIGNALS} signals of {SIGNAL_BYTES} bytes to a run that stays open, trimmed by owners that die at trim.carried")
    odd = namespaces("oddities", partitions=1)
    first = odd.owner(retention="1h")
    odd.worker()
    async with await Client.connect(odd.url) as client:
        box = await client.start_workflow(Box.run, id="box", task_queue="work", rpc_timeout=PATIENCE)
        for _ in range(SIGNALS // 10):
            await asyncio.gather(*(box.signal(Box.put, bytes(SIGNAL_BYTES), rpc_timeout=PATIENCE) for _ in range(10)))
        first.terminate()
        await asyncio.to_thread(first.wait, 60)
        load = odd.load(200, 5, per_second=4)
        hot = asyncio.create_task(signals_without_end(box))
        for point in (2, 9):  # an owner that tries suspects trims nothing
            owner = odd.owner(points=f"trim.carried:{point}:kill", retention=RETENTION)
            await asyncio.to_thread(odd.until, lambda owner=owner: owner.poll() is not None, "the death", 90)  # type: ignore[misc]
        row.injected(len(odd.struck))
        before = odd.starts()[0]
        odd.owner(retention=RETENTION)
        with row.fault(odd):
            await asyncio.to_thread(odd.until, lambda: odd.starts()[0] > before, "a trim", 150)
        hot.cancel()
        with suppress(asyncio.CancelledError):
            await hot
        await box.signal(Box.finish, rpc_timeout=PATIENCE)
        sizes = await asyncio.wait_for(box.result(), 120)
    assert sizes.count(SIGNAL_BYTES) == SIGNALS
    assert len(sizes) > SIGNALS, "nothing came while it was carried"
    await asyncio.to_thread(odd.finish, load, 200)


async def signals_without_end(box: WorkflowHandle[Any, Any]) -> None:
    """Signals one after the other, each until it is acknowledged."""
    for number in itertools.count():
        await box.signal(Box.put, b"hot", request_id=f"hot-{number}", rpc_timeout=PATIENCE)


def test_a_forged_record_that_forgets_an_open_run_stops_its_partition(bank: Namespace, row: Row) -> None:
    row.injects("K7", "Forget of an open account under the claim in force, by a plain producer")
    owner, worker = bank.owner(), bank.worker()
    load = bank.load(20, 10)
    bank.until(lambda: load.poll() is not None, "the load's end")
    kill(owner)
    kill(worker)
    for stricken in range(PARTITIONS):
        records = [record for _, record in raw.history(bank, stricken)]
        runs = {
            transition.workflow_id: transition.run_id
            for record in records
            if isinstance(record, CommitRecord)
            for transition in record.transitions
            if transition.workflow_id.startswith("account-")
        }
        if runs:
            break
    last = records[-1]
    assert isinstance(last, ClaimedRecord)
    names = tuple(RunName(*run) for run in runs.items())
    forged = Forget(last.claim_number, last.claim_id, last.sequence + 1, last.time_ms, last.released, names)
    raw.append(bank, "history", stricken, [encode_history(forged)])
    row.injected()
    end = raw.ends(bank)[stricken]
    for store in ("store", "fresh"):
        owner = bank.owner(store)
        bank.until(lambda: f"partition {stricken} stopped" in bank.said(owner), "the alarm", 60)  # noqa: B023
        bank.until_leading(owner, PARTITIONS - 1)
        assert "is forgotten while it is open" in bank.said(owner)
        assert owner.poll() is None
        kill(owner)
    assert raw.ends(bank)[stricken] == end, "something was appended to a partition that has stopped"
