"""What must survive, against a real broker with real processes. Balances are kept by workflows that are not idempotent (kit.accounts)."""

import random
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.namespace import COMMAND, Accounts, kill

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def accounts(kafka: str, tmp_path: Path) -> Iterator[Accounts]:
    namespace = f"accounts-{uuid.uuid4().hex[:8]}"
    url = f"kafka://{kafka}/{namespace}"
    subprocess.run([*COMMAND, "namespace", "create", namespace, "--partitions", "4", "--log", url], check=True, capture_output=True)
    made = Accounts(url, tmp_path)
    yield made
    made.stop()


def test_kill_9_of_owner_worker_and_client_at_random_during_500_transfers(accounts: Accounts) -> None:
    chance = random.Random(20261123)
    transfers = 500
    owner, worker, client = accounts.owner(), accounts.worker(), accounts.client(0, transfers)
    for round_number in range(8):
        goal = (round_number + 1) * transfers // 10
        accounts.until(lambda goal=goal: accounts.done() >= goal, f"transfer {goal}")  # type: ignore[misc]
        match chance.randrange(3):
            case 0:
                kill(owner)
                owner = accounts.owner()
            case 1:
                kill(worker)
                worker = accounts.worker()
            case _:
                kill(client)
                client = accounts.client(0, transfers)
    accounts.until(lambda: client.poll() is not None, "the last client's end", 240)
    assert accounts.done() == transfers
    accounts.check(transfers)


def test_a_stopped_owner_wakes_as_a_zombie_and_everything_it_appends_is_dead(accounts: Accounts) -> None:
    transfers = 200
    zombie, client = accounts.owner("first"), accounts.client(0, transfers)
    accounts.worker()
    accounts.until(lambda: accounts.done() >= 40, "transfer 40")
    zombie.send_signal(signal.SIGSTOP)
    accounts.owner("second")
    accounts.until(lambda: accounts.done() >= 100, "progress under the second owner")
    zombie.send_signal(signal.SIGCONT)
    accounts.until(lambda: "given up" in accounts.said(zombie) or "took the partition" in accounts.said(zombie), "the zombie's retirement")
    accounts.until(lambda: client.poll() is not None, "the client's end")
    accounts.check(transfers)


def test_a_wiped_store_is_rebuilt_and_nothing_is_lost(accounts: Accounts) -> None:
    transfers = 150
    owner, client = accounts.owner(), accounts.client(0, transfers)
    accounts.worker()
    accounts.until(lambda: accounts.done() >= 50, "transfer 50")
    kill(owner)
    shutil.rmtree(accounts.directory / "store")
    accounts.owner()
    accounts.until(lambda: client.poll() is not None, "the client's end")
    accounts.check(transfers)


def test_two_owners_share_the_partitions_and_hand_them_over_both_ways(accounts: Accounts) -> None:
    transfers = 300
    first, client = accounts.owner("first"), accounts.client(0, transfers)
    accounts.worker()
    accounts.until(lambda: accounts.done() >= 50, "transfer 50")
    second = accounts.owner("second")
    accounts.until(lambda: "leading" in accounts.said(second), "a hand-over to the second owner")
    accounts.until(lambda: accounts.done() >= 120, "transfer 120")
    first.terminate()
    assert first.wait(60) == 0
    accounts.until(lambda: accounts.done() >= 200, "transfer 200")
    third = accounts.owner("first")
    accounts.until(lambda: "leading" in accounts.said(third), "a hand-over back")
    second.terminate()
    assert second.wait(60) == 0
    accounts.until(lambda: client.poll() is not None, "the client's end")
    accounts.check(transfers)


def test_a_history_that_is_trimmed_under_load_goes_on_and_can_be_rebuilt_from_where_it_begins(accounts: Accounts) -> None:
    transfers = 300
    owner, client = accounts.owner(retention="2s"), accounts.client(0, transfers, 10)
    accounts.worker()
    accounts.until(lambda: accounts.trimmed() >= 2, "a trim")
    for part in (1, 2):
        accounts.until(lambda part=part: accounts.done() >= part * transfers // 4, f"part {part} of the transfers")  # type: ignore[misc]
        kill(owner)
        shutil.rmtree(accounts.directory / "store")
        owner = accounts.owner(retention="2s")
    accounts.until(lambda: client.poll() is not None, "the client's end")
    accounts.until(lambda: accounts.trimmed() == 4, "a trim of every partition")
    accounts.check(transfers)
