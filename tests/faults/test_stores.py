"""Stores that are older, another's, torn or full (rows S1 S2 S3)."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kit import surgery
from kit.namespace import COMMAND, Namespace, kill
from kit.row import Row

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]


def older(store: Path, keep: Path) -> None:
    """The store as it was a while ago."""
    shutil.rmtree(store)
    shutil.copytree(keep, store)


def swapped(store: Path, _: Path) -> None:
    """Two partitions' directories with each other's name."""
    (store / "partition-0").rename(store / "away")
    (store / "partition-1").rename(store / "partition-0")
    (store / "away").rename(store / "partition-1")


def torn(store: Path, _: Path) -> None:
    """No CURRENT, so that RocksDB does not know which manifest counts."""
    for partition in store.glob("partition-?"):
        (partition / "CURRENT").unlink()


def flipped(store: Path, _: Path) -> None:
    """A byte in the middle of every table."""
    tables = list(store.glob("partition-?/*.sst"))
    assert tables, f"there is no table in {store}"
    for table in tables:
        surgery.flip(table, table.stat().st_size // 2, 8)


def without_manifest(store: Path, _: Path) -> None:
    """The list of tables is gone."""
    for manifest in store.glob("partition-?/MANIFEST-*"):
        manifest.unlink()


@pytest.mark.parametrize("damage", [older, swapped, torn, flipped, without_manifest], ids=lambda damage: damage.__name__)
def test_a_store_that_is_not_what_it_was_is_folded_forward_or_made_anew(
    bank: Namespace, row: Row, damage: Callable[[Path, Path], None]
) -> None:
    row.injects("S1 S2", f"stores of all partitions {damage.__name__.replace('_', ' ')}, under load")
    transfers, store, keep = 200, bank.directory / "store", bank.directory / "kept"
    owner, load = bank.owner(), bank.load(transfers, 10)
    bank.worker()
    bank.until_done(40)
    owner.terminate()  # what it holds in memory goes to the disk
    owner.wait(30)
    shutil.copytree(store, keep)
    owner = bank.owner()
    bank.until_done(100)
    owner.terminate()
    owner.wait(30)
    damage(store, keep)
    row.injected()
    owner = bank.owner()
    bank.finish(load, transfers)
    assert owner.poll() is None


def test_a_full_disk_under_the_store_costs_nothing_that_was_confirmed(bank: Namespace, row: Row) -> None:
    row.injects("S3", "the store on a file system of 2 MB, which is then filled; SIGTERM, so that all is flushed")
    transfers, small = 150, bank.directory / "small"
    small.mkdir()
    arguments = ["owner", f"kit.workloads.{bank.workload}:registry", "--log", bank.url, "--store", str(small / "store")]
    mounted = f'mount -t tmpfs -o size=2m perdure "{small}" && exec "$@"'
    owner = bank.run(["unshare", "-Urm", "sh", "-c", mounted, "sh", *COMMAND, *arguments], "owner")
    bank.worker()
    load = bank.load(transfers, 10)
    bank.until_leading(owner, 4)
    bank.until_done(40)
    inside = Path(f"/proc/{owner.pid}/root") / str(small)[1:]
    with (inside / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            row.injected()
    bank.until_done(80)
    assert os.statvfs(inside).f_bavail == 0
    owner.terminate()
    assert owner.wait(60) == 0, bank.said(owner)
    bank.owner("second")
    bank.finish(load, transfers)


def test_a_store_that_does_not_fit_from_the_start_is_told(bank: Namespace, row: Row) -> None:
    row.injects("S3", "the store on a file system of 16 kB")
    small = bank.directory / "small"
    small.mkdir()
    arguments = ["owner", f"kit.workloads.{bank.workload}:registry", "--log", bank.url, "--store", str(small / "store")]
    mounted = f'mount -t tmpfs -o size=16k perdure "{small}" && exec "$@"'
    owner = bank.run(["unshare", "-Urm", "sh", "-c", mounted, "sh", *COMMAND, *arguments], "owner")
    assert owner.wait(60) != 0
    row.injected()
    assert "No space left" in bank.said(owner), bank.said(owner)
    successor = bank.owner("large")
    bank.until_leading(successor, 4)
    kill(successor)
