"""Logs that have lost or changed what they held, with the broker down (rows A8 B4 B7)."""

import shutil
import time

import pytest

from kit import raw, surgery
from kit.broker import Broker
from kit.namespace import Namespace, kill
from kit.row import Row

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

PARTITIONS = 4
STRICKEN = 2


def used(bank: Namespace, transfers: int = 60) -> None:
    """A namespace with some transfers, whose owner was killed."""
    owner, worker = bank.owner(), bank.worker()
    load = bank.load(transfers, 20)
    bank.until(lambda: load.poll() is not None, "the load's end")
    time.sleep(2)  # its last position records
    owner.terminate()
    owner.wait(30)
    kill(worker)


def stops_alone(bank: Namespace, store: str = "store") -> str:
    """Start an owner: the stricken partition stops, nothing is appended to it, the others are led. What it said."""
    end = raw.ends(bank)[STRICKEN]
    owner = bank.owner(store)
    bank.until(lambda: f"partition {STRICKEN} stopped" in bank.said(owner), "the alarm", 60)
    bank.until_leading(owner, PARTITIONS - 1)
    time.sleep(2)
    assert raw.ends(bank)[STRICKEN] == end, "something was appended behind a loss"
    assert owner.poll() is None
    return bank.said(owner)


def test_a_history_that_lost_its_tail_behind_a_store_is_refused(bank: Namespace, broker: Broker, row: Row) -> None:
    row.injects("B4", "the newest batches of a history cut off, the store kept")
    used(bank)
    broker.kill()
    row.injected(surgery.cut_tail(broker, bank, "history", STRICKEN, 5))
    broker.start()
    assert "ahead of the log" in stops_alone(bank)


def test_commands_that_lost_their_tail_below_the_watermark_are_refused(bank: Namespace, broker: Broker, row: Row) -> None:
    row.injects("B4", "the newest batches of commands cut off, below the watermark")
    used(bank)
    broker.kill()
    row.injected(surgery.cut_tail(broker, bank, "commands", STRICKEN, 5))
    broker.start()
    stops_alone(bank)


def test_a_history_that_lost_its_tail_under_an_owner_stops_the_partition(bank: Namespace, broker: Broker, row: Row) -> None:
    row.injects("B4", "broker killed under an owner that leads, the newest batches of a history cut off")
    owner = bank.owner()
    bank.worker()
    load = bank.load(60, 20)
    bank.until(lambda: load.poll() is not None, "the load's end")
    time.sleep(2)
    broker.kill()
    row.injected(surgery.cut_tail(broker, bank, "history", STRICKEN, 5))
    broker.start()
    bank.until(lambda: f"partition {STRICKEN} stopped" in bank.said(owner), "the alarm", 60)
    end = raw.ends(bank)[STRICKEN]
    time.sleep(2)
    assert raw.ends(bank)[STRICKEN] == end, "something was appended behind a loss"
    assert owner.poll() is None


def test_a_history_without_a_segment_in_its_middle_is_never_folded_past_it(bank: Namespace, broker: Broker, row: Row) -> None:
    row.injects("A8", "a segment in the middle of a history removed, the store wiped")
    raw.alter(bank, "history", segment_ms="1000")
    owner = bank.owner()
    bank.worker()
    for first in (0, 100, 200, 300):
        load = bank.load(40, 20, first=first)
        bank.until(lambda load=load: load.poll() is not None, "the load's end")  # type: ignore[misc]
        time.sleep(1.5)
    kill(owner)
    broker.stop()
    assert len(surgery.segments(broker, bank, "history", STRICKEN)) >= 3
    surgery.remove_segment(broker, bank, "history", STRICKEN, 1)
    row.injected()
    broker.start()
    shutil.rmtree(bank.directory / "store")
    assert "a part of the history topic is missing" in stops_alone(bank)


def test_a_bit_that_flipped_in_a_history_stops_its_partition_and_the_others_go_on(bank: Namespace, broker: Broker, row: Row) -> None:
    row.injects("B7", "a byte flipped in the middle of a history, the store wiped")
    used(bank)
    broker.stop()
    segment = surgery.segments(broker, bank, "history", STRICKEN)[0]
    places = surgery.batches(segment)
    at, size = places[len(places) // 2]
    surgery.flip(segment, at + size - 3)
    row.injected()
    broker.start()
    shutil.rmtree(bank.directory / "store")
    owner = bank.owner()
    bank.until(lambda: f"partition {STRICKEN} stopped" in bank.said(owner), "the alarm", 60)
    bank.until_leading(owner, PARTITIONS - 1)
    assert owner.poll() is None
