"""Two releases at once: rolled forward and back under load, and forward for good once the format level is raised (row Z3)."""

from pathlib import Path

import pytest

from kit import raw
from kit.namespace import COMMAND, Namespace
from kit.releases import NEXT_LEVEL, Release, next_release
from kit.row import Row
from perdure_schemas import codec
from perdure_schemas.history import Checkpoint, Claim

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(500)]

PARTITIONS = 4
TRANSFERS = 1_200


def test_releases_are_rolled_forward_and_back_and_an_older_one_is_kept_out_once_the_level_is_raised(
    bank: Namespace, row: Row, tmp_path: Path
) -> None:
    row.injects("Z3", "owners of this release and the next, one by one, forward, back and forward; the level raised, written, the old back")
    reads = next_release(tmp_path / "reads")
    records = next_release(tmp_path / "records", records=True)
    writes = next_release(tmp_path / "writes", records=True, writes=True)
    owners = {store: bank.owner(store) for store in "ab"}

    def rolls(store: str, release: Release | None) -> None:
        """The store goes from hand to hand."""
        owners[store].terminate()
        owners[store].wait(60)
        owners[store] = bank.owner(store, more={} if release is None else release.environment)
        bank.until_leading(owners[store], 1)
        bank.until_done(bank.done() + 20)
        row.injected()

    bank.worker()
    bank.worker(more=reads.environment)
    load = bank.load(TRANSFERS, 20, per_second=10)
    bank.until_done(20)
    with row.fault(bank):
        for store, release in [("a", reads), ("a", None), ("a", reads), ("b", reads), ("a", None), ("a", reads)]:
            rolls(store, release)
        assert {"0.1.0", "next"} <= builds(bank)
        assert levels(bank) == [1] * PARTITIONS, "the level was raised by a release that only reads it"
        rolls("a", records)
        rolls("b", records)
        bank.until(lambda: levels(bank) == [NEXT_LEVEL] * PARTITIONS, "the level of each partition")
        rolls("a", writes)
        rolls("b", writes)
        bank.until(lambda: NEXT_LEVEL in sent_levels(bank), "commands of the next level")

        old = bank.owner("c")
        bank.until(lambda: old.poll() is not None, "the end of the old release")
        assert old.returncode != 0
        assert f"must read format level {NEXT_LEVEL}, and this build (0.1.0) reads {NEXT_LEVEL - 1}: run a newer build" in bank.said(old)
        assert "leading with claim" not in bank.said(old)
        row.injected()
        bank.until_done(bank.done() + 20)
    bank.finish(load, TRANSFERS, seconds=300)
    verify = bank.run([*COMMAND, "partition", "verify", "--log", bank.url], "verify", writes.environment)
    assert verify.wait(120) == 0, bank.said(verify)


def builds(bank: Namespace) -> set[str]:
    """Which builds have claimed partitions."""
    return {record.build for partition in range(PARTITIONS) for _, record in raw.history(bank, partition) if isinstance(record, Claim)}


def levels(bank: Namespace) -> list[int]:
    """Which level each partition has recorded."""
    histories = [raw.history(bank, partition) for partition in range(PARTITIONS)]
    return [max((record.format_level for _, record in one if isinstance(record, Checkpoint)), default=1) for one in histories]


def sent_levels(bank: Namespace) -> set[int]:
    """The levels of the commands that owners have sent."""
    sent = [codec.decode_command(record.value) for partition in range(PARTITIONS) for record in raw.read(bank, "commands", partition)]
    return {command.format_level for command in sent if command.origin is not None}
