"""A store that cannot be trusted is set aside with a warning and rebuilt from the log, to the same content (P8, faults.md S1, S2)."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from kit.world import NAMESPACE, STEP_MS, Process, World, commands_of, open_account, plain
from perdure_platform.node.assignment import Stage
from perdure_platform.node.topics import describe_namespace, ensure_namespace
from perdure_platform.ops.verify import fold_partition
from perdure_platform.store import keys, tables
from perdure_platform.store.digest import digest
from perdure_platform.store.memory import MemoryStores
from perdure_platform.store.rocks import SET_ASIDE_MAX, RocksStore, RocksStores
from perdure_platform.store.tables import Tables
from perdure_schemas import codec
from perdure_schemas.commands import Command, DescribePartition, ReplyAddress, Request, SignalWorkflow

ACCOUNTS = [f"account-{number}" for number in range(12)]


def begun() -> World:
    """A world in which accounts are about to be opened."""
    world = World()
    for account in ACCOUNTS:
        start = open_account()
        world.ask(account, replace(start, memo={"note": plain(account * 300)[0]}))
    return world


def lead(world: World, directory: Path) -> Process:
    """Start an owner whose stores are RocksDB's, below `directory`."""
    process = world.start()
    process.node._around = replace(process.node._around, stores=RocksStores(directory))
    return process


def run(world: World, directory: Path) -> Process:
    """Start an owner and let it finish everything."""
    process = lead(world, directory)
    world.run_until_done()
    return process


def end(world: World, process: Process) -> None:
    """The owner goes, and its stores are closed."""
    process.node.close(0)
    world.processes.clear()


def written(world: World, directory: Path) -> None:
    """Let an owner fill its stores, and go."""
    end(world, run(world, directory))


def verify(world: World) -> None:
    """Ask for the digest of every partition, as `perdure partition verify` does: that reads all rows."""
    for partition in range(world.partitions):
        request = Request(f"verify-{partition}", world.clock.ms + 60_000, ReplyAddress("operator", 0))
        command = Command("", DescribePartition(with_digest=True), request)
        world.medium.append(*commands_of(partition), None, codec.encode_command(command))
    world.run_until_done()


def assert_rebuilt(world: World, process: Process) -> None:
    """Every partition is led, and its rows are those of a fold from 0."""
    for partition, assigned in process.node.partitions.items():
        assert assigned.stage is Stage.LEADING, f"{assigned.stage}: {assigned.failure}"
        assert assigned._store is not None
        position = Tables(assigned._store).positions().next_offset
        folded = fold_partition(world.log, NAMESPACE, partition, MemoryStores(), position)
        assert digest(assigned._store) == folded.digest
    world.check()


def asides(directory: Path) -> dict[str, str]:
    """Directories that were set aside, and why."""
    return {place.name: (place / "WHY").read_text() for place in directory.glob("*.aside-*")}


def overwrite(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    for at in range(position, min(position + 16, len(content))):
        content[at] ^= 0x5A
    path.write_bytes(content)


def test_a_good_store_is_used_again(tmp_path: Path) -> None:
    world = begun()
    written(world, tmp_path)
    process = run(world, tmp_path)
    assert_rebuilt(world, process)
    assert asides(tmp_path) == {}


def test_a_store_of_another_partition_is_set_aside_with_a_warning_and_rebuilt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = begun()
    written(world, tmp_path)
    (tmp_path / "partition-0").rename(tmp_path / "other")
    (tmp_path / "partition-1").rename(tmp_path / "partition-0")
    (tmp_path / "other").rename(tmp_path / "partition-1")
    process = run(world, tmp_path)
    assert_rebuilt(world, process)
    assert asides(tmp_path).keys() == {"partition-0.aside-1", "partition-1.aside-1"}
    assert "partition=1," in asides(tmp_path)["partition-0.aside-1"]
    warned = [record.getMessage() for record in caplog.records if "cannot be used" in record.getMessage()]
    assert len(warned) == 2
    assert str(tmp_path / "partition-0.aside-1") in warned[0]
    assert "rebuilt from the log" in warned[0]


def test_a_store_of_another_cluster_is_set_aside_and_rebuilt(tmp_path: Path) -> None:
    written(begun(), tmp_path)
    world = begun()
    world.medium._topics.clear()
    ensure_namespace(world.log, NAMESPACE)
    world.described = describe_namespace(world.log, NAMESPACE)
    process = run(world, tmp_path)
    assert_rebuilt(world, process)
    assert len(asides(tmp_path)) == 2
    assert all("it belongs to " in why and world.described[2] in why for why in asides(tmp_path).values())


def test_a_store_of_another_layout_is_set_aside_and_rebuilt(tmp_path: Path) -> None:
    world = begun()
    written(world, tmp_path)
    store = RocksStores(tmp_path).open(0)
    identity = Tables(store).identity()
    assert identity is not None
    store.write({keys.IDENTITY: tables.encode_identity(replace(identity, layout=tables.LAYOUT + 1))})
    store.close()
    process = run(world, tmp_path)
    assert_rebuilt(world, process)
    assert f"layout={tables.LAYOUT + 1}" in asides(tmp_path)["partition-0.aside-1"]


def test_an_older_store_folds_forward_and_is_not_set_aside(tmp_path: Path) -> None:
    world = begun()
    written(world, tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "older")
    for account in ACCOUNTS:
        world.ask(account, SignalWorkflow("deposit", input=plain(1)))
    written(world, tmp_path / "old")
    process = run(world, tmp_path / "older")
    assert_rebuilt(world, process)
    assert asides(tmp_path / "older") == {}


@pytest.mark.parametrize("pattern", ["*.sst", "MANIFEST-*", "CURRENT", "OPTIONS-*", "rocksdict-config.json"])
def test_damage_anywhere_in_a_file_is_harmless_or_noticed_and_the_rows_come_back_the_same(tmp_path: Path, pattern: str) -> None:
    """Noticed when the store is opened, or not before somebody asks for the damaged rows, whose owner leads by then."""
    seen: Counter[str] = Counter()
    world = begun()
    written(world, tmp_path / "good")
    size = next((tmp_path / "good" / "partition-0").glob(pattern)).stat().st_size
    for position in range(0, size, max(1, size // 12)):
        directory = tmp_path / f"damaged-{position}"
        shutil.copytree(tmp_path / "good", directory)
        overwrite(next((directory / "partition-0").glob(pattern)), position)
        process = lead(world, directory)
        for account in ACCOUNTS:
            world.ask(account, SignalWorkflow("deposit", input=plain(1)))
        leading = False
        while not (leading or asides(directory)):
            world.step()
            leading = all(assigned.stage is Stage.LEADING for assigned in process.node.partitions.values())
        world.run_until_done()
        verify(world)
        assert_rebuilt(world, process)
        assert asides(directory).keys() <= {"partition-0.aside-1"}
        seen["while leading" if leading and asides(directory) else "at the opening" if asides(directory) else "never"] += 1
        end(world, process)
    if not pattern.startswith("OPTIONS"):  # RocksDB writes that one for people
        assert seen["at the opening"], seen
    if pattern == "*.sst":
        assert seen["while leading"], seen


@pytest.mark.parametrize("pattern", ["*.sst", "MANIFEST-*", "CURRENT"])
@pytest.mark.parametrize("damage", ["missing", "empty", "half"])
def test_a_file_that_is_missing_or_cut_off_costs_no_row(tmp_path: Path, pattern: str, damage: str) -> None:
    world = begun()
    written(world, tmp_path)
    path = next((tmp_path / "partition-0").glob(pattern))
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    process = run(world, tmp_path)
    assert_rebuilt(world, process)
    if (pattern, damage) != ("MANIFEST-*", "half"):  # which is an older store
        assert asides(tmp_path).keys() == {"partition-0.aside-1"}


def test_only_the_newest_doubtful_stores_are_kept(tmp_path: Path) -> None:
    stores = RocksStores(tmp_path)
    kept = ""
    for number in range(1, 13):
        for partition in (1, 11):
            stores.open(partition).close()
            kept = stores.set_aside(partition, f"reason {number}")
    assert Path(kept).name == "partition-11.aside-12"
    newest = range(13 - SET_ASIDE_MAX, 13)
    assert asides(tmp_path) == {f"partition-{partition}.aside-{number}": f"reason {number}\n" for partition in (1, 11) for number in newest}


class BadDisk(RocksStores):
    """Whatever is written here cannot be read again."""

    def open(self, partition: int) -> RocksStore:
        super().open(partition).close()
        (self._place(partition) / "CURRENT").write_bytes(b"")
        return super().open(partition)


def test_a_disk_that_damages_every_new_store_is_tried_less_and_less_often(tmp_path: Path) -> None:
    world = World()
    process = world.start()
    process.node._around = replace(process.node._around, stores=BadDisk(tmp_path))
    for _ in range(10_000 // STEP_MS):
        world.step()
    assert {assigned.stage for assigned in process.node.partitions.values()} == {Stage.WAITING}
    last = max(int(name.rpartition("-")[2]) for name in asides(tmp_path))
    assert 5 <= last <= 20, f"{last} stores were set aside in 10 s, backing off to 1 s"
    process.node._around = replace(process.node._around, stores=RocksStores(tmp_path / "good"))
    for assigned in process.node.partitions.values():
        assigned._around = process.node._around
    world.ask("account-0", open_account())
    world.run_until_answered()


def test_a_disk_that_damages_every_store_does_not_fill_up(tmp_path: Path) -> None:
    world = begun()
    for _ in range(SET_ASIDE_MAX + 2):
        written(world, tmp_path)
        (tmp_path / "partition-0" / "CURRENT").write_bytes(b"")
    process = run(world, tmp_path)
    assert_rebuilt(world, process)
    assert len(asides(tmp_path)) == SET_ASIDE_MAX
