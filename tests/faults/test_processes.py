"""Processes that are killed, stopped, robbed of their stores, or told to go, while transfers run (rows C1 L3 S1 and trimming)."""

import random
import shutil
import signal
import time

import pytest

from kit import raw
from kit.namespace import Namespace, Process, kill
from kit.row import Row
from perdure_schemas.history import Claim, CommitRecord

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

SESSION_S = 10.0
"""How long the group waits for an owner that says nothing."""


@pytest.mark.sharp
def test_kill_9_of_owner_worker_and_client_in_random_order(bank: Namespace, row: Row) -> None:
    row.injects("L3", "kill -9 of owner, worker or client, six times")
    chance = random.Random(20261123)
    transfers, bank.session_ms = 300, 3_000
    owner, worker, load = bank.owner(), bank.worker(), bank.load(transfers)
    for round_number in range(6):
        bank.until_done((round_number + 1) * transfers // 10)
        row.injected()
        match chance.randrange(3):
            case 0:
                kill(owner)
                owner = bank.owner()
            case 1:
                kill(worker)
                worker = bank.worker()
            case _:
                kill(load)
                load = bank.load(transfers)
    bank.finish(load, transfers, 240)


@pytest.mark.sharp
def test_a_stopped_owner_wakes_as_a_zombie_and_everything_it_appends_is_dead(bank: Namespace, row: Row) -> None:
    row.injects("C1", "SIGSTOP of the owner beyond its session, a successor, SIGCONT")
    transfers = 200
    zombie, load = bank.owner("first"), bank.load(transfers)
    bank.worker()
    bank.until_done(40)
    zombie.send_signal(signal.SIGSTOP)
    row.injected()
    with row.fault(bank):
        successor = bank.owner("second")
        bank.until_leading(successor, 4)
        bank.until_done(100)
    zombie.send_signal(signal.SIGCONT)
    bank.until_retired(zombie)
    bank.finish(load, transfers)
    assert row.during > 0


def test_a_store_that_is_wiped_is_rebuilt_and_nothing_is_lost(bank: Namespace, row: Row) -> None:
    row.injects("S1", "kill -9 of the owner, its store deleted")
    transfers = 150
    owner, load = bank.owner(), bank.load(transfers)
    bank.worker()
    bank.until_done(50)
    kill(owner)
    shutil.rmtree(bank.directory / "store")
    row.injected()
    bank.owner()
    bank.finish(load, transfers)


def test_two_owners_share_the_partitions_and_hand_them_over_both_ways(bank: Namespace, row: Row) -> None:
    row.injects("L3", "SIGTERM of one of two owners under load, three hand-overs")
    transfers = 300
    first, load = bank.owner("first"), bank.load(transfers)
    bank.worker()
    bank.until_done(50)
    second = bank.owner("second")
    bank.until_leading(second)
    bank.until_done(120)
    first.terminate()
    assert first.wait(60) == 0
    bank.until_done(200)
    third = bank.owner("first")
    bank.until_leading(third)
    second.terminate()
    assert second.wait(60) == 0
    row.injected(3)
    bank.finish(load, transfers)


def test_a_history_that_is_trimmed_under_load_goes_on_and_can_be_rebuilt_from_where_it_begins(bank: Namespace, row: Row) -> None:
    row.injects("K2", "retention of 2 s under load; owner killed and its store deleted, twice")
    transfers = 300
    owner, load = bank.owner(retention="2s"), bank.load(transfers, 10)
    bank.worker()
    bank.until(lambda: sum(start > 0 for start in bank.starts()) >= 2, "a trim")
    for part in (1, 2):
        bank.until_done(part * transfers // 4)
        kill(owner)
        shutil.rmtree(bank.directory / "store")
        row.injected()
        owner = bank.owner(retention="2s")
    bank.until(lambda: load.poll() is not None, "the load's end", 200)
    bank.until(lambda: all(bank.starts()), "a trim of every partition")
    bank.check(transfers)


def test_a_take_over_after_kill_9_and_a_planned_one_are_measured(bank: Namespace, row: Row) -> None:
    """What does not depend on the machine: nobody leads before the dead owner's session is over, and a planned hand-over waits for none."""
    row.injects("L3", "kill -9, then SIGTERM, of the owner that leads, another one waiting")
    first, load = bank.owner("first"), bank.load(10_000, 5)
    bank.worker()
    bank.until_leading(first, 4)
    second = bank.owner("second")
    bank.until_leading(second, 2)
    bank.until_done(20)
    killed_at, killed_ms = time.monotonic(), time.time_ns() // 1_000_000
    kill(first)
    row.injected()
    row.figures["take_over_after_kill_s"] = round(_until_four(bank, second, killed_at), 2)
    before = bank.done()
    bank.until_done(before + 20)
    row.figures["first_commit_after_kill_s"] = _first_commit_s(bank, killed_ms)
    third = bank.owner("third")
    bank.until_leading(third, 2)
    before = bank.done()
    bank.until_done(before + 20)
    told_at, told_ms = time.monotonic(), time.time_ns() // 1_000_000
    second.terminate()
    row.injected()
    row.figures["planned_hand_over_s"] = round(_until_four(bank, third, told_at), 2)
    assert second.wait(30) == 0
    before = bank.done()
    bank.until_done(before + 20)
    row.figures["first_commit_after_hand_over_s"] = _first_commit_s(bank, told_ms)
    kill(load)
    assert row.figures["planned_hand_over_s"] < SESSION_S, "a planned hand-over has waited for a session to end"
    bank.verify()


def _until_four(bank: Namespace, owner: Process, since: float) -> float:
    """Seconds from `since` until `owner` has its third and fourth partition."""
    bank.until(lambda: bank.said(owner).count(": leading with claim") >= 4, "a take-over")
    return time.monotonic() - since


def _first_commit_s(bank: Namespace, since_ms: int) -> float:
    """Seconds from `since_ms` until each partition that was claimed from then on has a commit record, by the log's time."""
    firsts = []
    for partition in range(4):
        records = [(record.timestamp_ms, decoded) for record, decoded in raw.history(bank, partition) if record.timestamp_ms >= since_ms]
        claimed = next((at for at, (_, decoded) in enumerate(records) if isinstance(decoded, Claim)), None)
        if claimed is not None:
            firsts += [at_ms for at_ms, decoded in records[claimed:] if isinstance(decoded, CommitRecord)][:1]
    assert firsts, "no partition was taken over"
    return round((max(firsts) - since_ms) / 1000, 2)
