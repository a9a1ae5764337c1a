"""`perdure-check` beside a namespace that is at work, on Kafka and in a SQLite file: no false alarm, and nothing is in anybody's way."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.namespace import Namespace, kill

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PARTITIONS = 4
TRANSFERS = 200


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def bank(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Namespace]:
    bootstrap = request.getfixturevalue("kafka") if request.param == "kafka" else ""
    made = Namespace(bootstrap, f"checked-{uuid.uuid4().hex[:8]}", tmp_path)
    yield made.create(PARTITIONS)
    made.stop()


def test_a_namespace_at_work_is_checked_again_and_again(bank: Namespace) -> None:
    owner, load = bank.owner(), bank.load(TRANSFERS, 20)
    bank.worker()
    for part in (1, 2, 3):
        bank.until_done(part * TRANSFERS // 4)
        said = bank.checked_at_work()
        assert said.returncode == 0, said.stdout + said.stderr
        if part == 2:
            kill(owner)
            said = bank.checked_at_work()
            assert said.returncode == 0, said.stdout + said.stderr
            bank.owner()
    bank.finish(load, TRANSFERS)


def test_a_namespace_that_is_trimmed_meanwhile_can_be_checked(bank: Namespace) -> None:
    load = bank.load(TRANSFERS, 5)
    bank.owner(retention="2s")
    bank.worker()
    while load.poll() is None:
        said = bank.checked_at_work()
        assert said.returncode == 0, said.stdout + said.stderr
    bank.until(lambda: sum(start > 0 for start in bank.starts()) == PARTITIONS, "a trim of every partition")
    bank.finish(load, TRANSFERS)
