"""A broker that goes away: ended in order, killed, suspended, out of disk; or forgets its producers (rows A2 B3 B6)."""

import time
from pathlib import Path

import pytest

from kit import raw
from kit.broker import Broker
from kit.namespace import Namespace
from kit.row import Row

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

PARTITIONS = 4
FORGETS_S = 5


@pytest.mark.sharp
def test_a_broker_that_is_restarted_and_killed_under_load_costs_time_and_nothing_else(bank: Namespace, broker: Broker, row: Row) -> None:
    row.injects("B3", "SIGTERM and SIGKILL of the broker under load")
    transfers = 200
    bank.owner()
    bank.worker()
    load = bank.load(transfers)
    bank.until_done(40)
    broker.restart()
    bank.until_done(100)
    broker.kill()
    broker.start()
    row.injected(2)
    bank.finish(load, transfers, 200)


@pytest.mark.timeout(900)
def test_a_broker_that_is_restarted_again_and_again_is_found_again_each_time(bank: Namespace, broker: Broker, row: Row) -> None:
    """One restart in ten to thirty left a client of the library without brokers for ever; the product's own watch has to notice."""
    row.injects("B3", "SIGTERM of the broker under load, thirty times in a row")
    restarts, items = 30, 60
    bank.owner()
    for _ in range(3):
        bank.worker()
    load = bank.load(10_000)
    bank.until_done(items)
    slowest = 0.0
    for _ in range(restarts):
        broker.restart()
        row.injected()
        back = time.monotonic()
        bank.until_done(bank.done() + items)
        slowest = max(slowest, time.monotonic() - back)
    row.figures["slowest_s"] = round(slowest, 1)
    load.terminate()
    bank.until(lambda: load.poll() is not None, "the load's end")
    bank.check(bank.done())


def test_a_broker_that_stands_still_longer_than_any_session_is_forgiven(bank: Namespace, broker: Broker, row: Row) -> None:
    row.injects("B3", "SIGSTOP of the broker for 25 s under load")
    transfers = 200
    bank.owner()
    bank.worker()
    load = bank.load(transfers)
    bank.until_done(40)
    broker.suspend()
    row.injected()
    time.sleep(25)
    broker.resume()
    resumed = time.monotonic()
    before = bank.done()
    bank.until_done(before + 20, 60)
    row.figures["resumed_after_s"] = round(time.monotonic() - resumed, 1)
    bank.finish(load, transfers, 200)


def test_a_broker_whose_disk_is_full_ends_and_everything_goes_on_where_it_was_once_there_is_room(
    bank: Namespace, broker: Broker, row: Row
) -> None:
    row.injects("B6", "no file of the broker may grow any more, under load, until it ends; started again with room")
    transfers = 200
    owner = bank.owner()
    bank.worker()
    load = bank.load(transfers)
    bank.until_done(40)
    broker.fill_disk(1)
    bank.until(lambda: not broker.is_running, "the broker's end", 60)
    row.injected()
    time.sleep(5)
    broker.restart()
    bank.finish(load, transfers, 200)
    assert owner.poll() is None


def test_producers_whose_state_the_broker_has_lost_go_on_without_a_hole(tmp_path: Path, row: Row) -> None:
    row.injects("A2", f"the broker forgets producers that are idle for {FORGETS_S} s; everybody is idle for longer, three times")
    settings = {"producer.id.expiration.ms": str(FORGETS_S * 1000), "producer.id.expiration.check.interval.ms": "500"}
    broker = Broker(settings).start()
    bank = Namespace(broker.bootstrap, "bank", tmp_path).create(PARTITIONS)
    try:
        owner = bank.owner()
        bank.worker()
        for part in range(4):
            load = bank.load(20, 10, first=20 * part)
            bank.until(lambda load=load: load.poll() is not None, "the load's end")  # type: ignore[misc]
            time.sleep(3)  # the positions of what is idle are written once
            ends = raw.ends(bank)
            time.sleep(FORGETS_S + 1)
            row.injected(sum(map(int.__eq__, raw.ends(bank), ends)))
        assert owner.poll() is None
        assert bank.said(owner).count("leading with claim") == PARTITIONS, "a producer that was forgotten cost a claim"
        bank.check(80)
    finally:
        bank.stop()
        broker.close()
