"""What is left of a store when its process dies, or when its files are not what they were."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import kit.store_process
from kit.store_process import batch
from perdure_platform.store.memory import MemoryStore
from perdure_platform.store.port import Store, StoreDamaged, StoreUnavailable
from perdure_platform.store.rocks import RocksStores, StoreLocked

ENOUGH_BATCHES = 3000
"""Sixty megabytes: some memtables are on disk by then, and the newest is not."""


@contextmanager
def writing_process(directory: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(Path(kit.store_process.__file__).parents[1])}
    command = [sys.executable, "-m", "kit.store_process", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def written(store: Store) -> dict[bytes, bytes]:
    return {key: value for key, value in store.scan(b"") if key != b"padding"}


def after_batches(count: int) -> dict[bytes, bytes]:
    rows: dict[bytes, bytes] = {}
    for number in range(max(1, count - 100), count + 1):
        rows.update(batch(number))
    rows.pop(b"padding", None)
    return rows


def test_a_killed_process_leaves_a_prefix_of_its_batches(tmp_path: Path) -> None:
    with writing_process(tmp_path) as process:
        assert process.stdout is not None
        last = next(number for number in map(int, process.stdout) if number >= ENOUGH_BATCHES)
        process.send_signal(signal.SIGKILL)
        rest = [int(line) for line in process.stdout.read().splitlines() if line.isdigit()]
    store = RocksStores(tmp_path).open(0)
    rows = written(store)
    count = int(rows.get(b"last", b"0"))
    assert 0 < count <= (rest or [last])[-1] + 1
    assert rows == after_batches(count)
    store.close()


def test_a_store_in_use_names_the_process_to_stop(tmp_path: Path) -> None:
    with writing_process(tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(StoreLocked, match=rf"process {process.pid}; stop it"):
            RocksStores(tmp_path).open(0)


def test_a_store_that_this_process_has_open_is_not_called_damaged(tmp_path: Path) -> None:
    stores = RocksStores(tmp_path / "BLOCK")
    first = stores.open(0)
    with pytest.raises(StoreLocked, match="open in this process"):
        stores.open(0)
    first.close()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = slice(len(content) // 4, len(content) // 2)
    content[middle] = bytes(byte ^ 0x5A for byte in content[middle])
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("*.sst", flip),
        ("*.sst", Path.unlink),
        ("*.sst", lambda path: os.truncate(path, path.stat().st_size // 2)),
        ("MANIFEST-*", flip),
        ("MANIFEST-*", Path.unlink),
        ("CURRENT", flip),
        ("CURRENT", lambda path: path.write_bytes(b"")),
        ("rocksdict-config.json", flip),
        ("rocksdict-config.json", lambda path: path.write_text('{"raw_mode": false}')),
    ],
)
def test_damaged_files_are_noticed_and_can_be_set_aside(tmp_path: Path, pattern: str, damage: Callable[[Path], object]) -> None:
    stores = RocksStores(tmp_path / "LOCKED BLOCKS")  # what the path is called must not make it look locked
    store = stores.open(0)
    store.write({b"%05d" % number: os.urandom(500) for number in range(1000)})
    store.close()
    for path in (tmp_path / "LOCKED BLOCKS" / "partition-0").glob(pattern):
        damage(path)
    with pytest.raises(StoreDamaged):
        _read_all(stores)
    aside = Path(stores.set_aside(0, "it was damaged"))
    assert (aside / "WHY").read_text() == "it was damaged\n"
    again = stores.open(0)
    assert list(again.scan(b"")) == []
    again.close()


def _read_all(stores: RocksStores) -> None:
    store = stores.open(0)
    try:
        for _ in store.scan(b""):
            pass
    finally:
        store.close()


def test_a_directory_that_cannot_be_made_is_a_reason_to_stop_and_not_to_rebuild(tmp_path: Path) -> None:
    (tmp_path / "stores").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        RocksStores(tmp_path / "stores").open(0)


def test_files_that_may_not_grow_are_a_reason_to_stop_and_not_to_rebuild(tmp_path: Path) -> None:
    """A full disk, as RocksDB sees it: the limit on the size of files is lowered for a moment."""
    store = RocksStores(tmp_path).open(0)
    store.write({b"%05d" % number: os.urandom(500) for number in range(1000)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(StoreUnavailable):
            store.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    store.close()


def test_a_crash_in_memory_takes_the_newest_batches_back_to_the_last_flush_at_most() -> None:
    chance, store = random.Random(7), MemoryStore()
    states = [dict(store.scan(b""))]
    for number in range(50):
        store.write({b"k%d" % chance.randrange(8): chance.choice([None, b"%d" % number]) for _ in range(3)})
        states.append(dict(store.scan(b"")))
        if number == 20:
            store.flush()
    assert store.batches_unflushed == 29
    store.crash(9)
    assert dict(store.scan(b"")) == states[41]
    store.crash(1000)
    assert dict(store.scan(b"")) == states[21]
    assert [key for key, _ in store.scan(b"")] == sorted(states[21])
