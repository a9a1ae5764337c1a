"""A broker that goes away: ended in order, killed, suspended (row B3)."""

import time

import pytest

from kit.broker import Broker
from kit.namespace import Namespace
from kit.row import Row

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]


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
