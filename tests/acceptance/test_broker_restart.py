"""A broker that is restarted and killed under load; it has to be one of our own."""

import subprocess
from pathlib import Path

import pytest

from kit.broker import Broker
from kit.namespace import COMMAND, Accounts

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400)]


def test_a_broker_that_goes_away_under_load_costs_time_and_nothing_else(tmp_path: Path) -> None:
    broker = Broker().start()
    transfers = 200
    url = f"kafka://{broker.bootstrap}/accounts"
    subprocess.run([*COMMAND, "namespace", "create", "accounts", "--partitions", "2", "--log", url], check=True, capture_output=True)
    accounts = Accounts(url, tmp_path)
    try:
        accounts.owner()
        accounts.worker()
        client = accounts.client(0, transfers)
        accounts.until(lambda: accounts.done() >= 40, "transfer 40")
        broker.restart()
        accounts.until(lambda: accounts.done() >= 100, "transfer 100")
        broker.kill()
        broker.start()
        accounts.until(lambda: client.poll() is not None, "the client's end", 200)
        assert accounts.done() == transfers
        accounts.check(transfers)
    finally:
        accounts.stop()
        broker.close()
