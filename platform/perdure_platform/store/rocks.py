"""The Store on RocksDB: raw bytes, one column family, no write-ahead log; the log is the log (faults.md 7b).

A killed process finds an older state, a prefix of its batches, and folds forward from the offset in it. Iterators of rocksdict are used
nowhere else: they end silently at an error, and they keep the database open and locked (its `close` waits for them to be dropped).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    RdictIter,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from perdure_platform.config import DEFAULT_LIMITS
from perdure_platform.store.keys import behind
from perdure_platform.store.port import StoreDamaged, StoreUnavailable
from perdure_schemas.errors import PerdureError

MEMTABLE_BYTES = 16 * 1024 * 1024
"""One partition's writes before they go to disk; a rebuild after a kill folds about this much again."""

MEMTABLES_MAX = 2
"""One fills while the other goes to disk. A third would only delay the stall of a disk that is too slow."""

OPEN_FILES_MAX = 64
"""Per partition, so that many partitions do not use up the process' descriptors."""

SET_ASIDE_MAX = 3
"""Doubtful stores that are kept per partition, the newest: enough to find a cause, and a bad disk does not fill a good one."""

_SURROUNDINGS = ("No space left", "Too many open files", "Permission denied", "Read-only file system", "Disk quota", "File too large")
"""What RocksDB says when it is not the store that is broken: rebuilding in the same place would end in the same way."""

_logger = logging.getLogger("perdure.store")


class StoreLocked(StoreUnavailable):
    """Somebody has the store open."""


class _Rows:
    """A RocksDB iterator that its store can drop at `close`."""

    __slots__ = ("__weakref__", "iterator")

    def __init__(self, iterator: RdictIter) -> None:
        self.iterator: RdictIter | None = iterator


class RocksStore:
    """One partition's rows in a directory."""

    def __init__(self, directory: Path, cache: Cache, memtables: WriteBufferManager) -> None:
        self._directory = directory
        try:
            directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # RocksDB's own files have the modes of the umask
            _check_raw_mode(directory)
            self._db = Rdict(str(directory), _options(cache, memtables), access_type=AccessType.read_write())
        except PerdureError:
            raise
        except OSError as error:
            raise _unavailable(directory, error) from error
        except Exception as error:
            raise _opening_error(directory, error) from error
        with suppress(OSError):  # it only names the holder in another's error message
            _holder(directory).write_text(f"process {os.getpid()}", encoding="ascii")
        self._is_open = True
        self._reading: WeakSet[_Rows] = WeakSet()
        self._write_options = WriteOptions()
        self._write_options.disable_wal = True  # type: ignore[method-assign,assignment]  # a property; the stubs call it a method

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise self._error(error) from error
        return value

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, from `start` on."""
        rows = self._rows()
        self._iterator_of(rows).seek(max(prefix, start))
        return self._read(rows, prefix, RdictIter.next)

    def scan_back(self, prefix: bytes, before: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The same, backwards from below `before`."""
        rows = self._rows()
        iterator = self._iterator_of(rows)
        if end := min(filter(None, (before, behind(prefix))), default=b""):
            iterator.seek_for_prev(end)
            if iterator.valid() and iterator.key() == end:
                iterator.prev()
        else:
            iterator.seek_to_last()
        return self._read(rows, prefix, RdictIter.prev)

    def write(self, batch: Mapping[bytes, bytes | None]) -> None:
        """Put or delete every row, at once."""
        rows = WriteBatch(raw_mode=True)
        for key, value in batch.items():
            if value is None:
                rows.delete(key)
            else:
                rows.put(key, value)
        if len(rows) != len(batch):
            raise StoreDamaged(f"{self._directory}: a batch of {len(batch)} rows was made of {len(rows)}")
        try:
            self._db.write(rows, self._write_options)
        except Exception as error:
            raise self._error(error) from error

    def flush(self) -> None:
        """Bring everything to the disk."""
        try:
            self._db.flush()
        except Exception as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Flush and release the directory's lock, open scans or not."""
        if not self._is_open:
            return
        try:
            self.flush()
        except PerdureError as error:
            _logger.warning("the newest rows of a store were not flushed; its next owner folds them from the log again: %s", error)
        self._is_open = False
        for rows in list(self._reading):
            rows.iterator = None
        with suppress(OSError):
            _holder(self._directory).unlink()
        with suppress(Exception):  # it flushes too, and reports again what was reported above
            self._db.close()

    def _rows(self) -> _Rows:
        """An iterator over the rows of this moment.

        It has no bounds of its own: rocksdict 0.3.29 forgets the bytes of a bound while RocksDB still reads them, and a scan ends anywhere.
        """
        try:
            rows = _Rows(self._db.iter())
        except Exception as error:
            raise self._error(error) from error
        self._reading.add(rows)
        return rows

    def _read(self, rows: _Rows, prefix: bytes, step: Callable[[RdictIter], None]) -> Iterator[tuple[bytes, bytes]]:
        """Between two rows only `rows` holds the iterator, so that `close` can drop it."""
        while (row := self._row(rows)) is not None and row[0].startswith(prefix):
            yield row
            step(self._iterator_of(rows))

    def _row(self, rows: _Rows) -> tuple[bytes, bytes] | None:
        """The row that the iterator is at; None behind the last. It also stops at an error, silently: its status tells."""
        iterator = self._iterator_of(rows)
        if iterator.valid():
            return iterator.key(), iterator.value()
        try:
            iterator.status()
        except Exception as error:
            raise self._error(error) from error
        return None

    def _iterator_of(self, rows: _Rows) -> RdictIter:
        if rows.iterator is None:
            raise StoreUnavailable(f"{self._directory} was closed while it was read; open it again")
        return rows.iterator

    def _error(self, error: Exception) -> PerdureError:
        if not self._is_open:
            return StoreUnavailable(f"{self._directory} is closed; open it again")
        return _classified(self._directory, error)


def check_writable(directory: Path) -> None:
    """Make the directory if it is absent, and write a file in it. Raises StoreUnavailable where that cannot be."""
    probe = directory / f".writable-{os.getpid()}"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unavailable(directory, error) from error


class RocksStores:
    """Stores below one directory, `partition-<n>` each.

    `memory_bytes` is for all of them: one half for writes that are not on disk yet (an owner of a hundred partitions would hold 3 GiB of
    them otherwise; about so much is kept), the other for blocks that were read.
    """

    def __init__(self, directory: Path, memory_bytes: int = DEFAULT_LIMITS.store_memory_bytes) -> None:
        self._directory = directory
        self._cache = Cache(memory_bytes // 2)
        self._memtables = WriteBufferManager(memory_bytes // 2, allow_stall=False)

    @property
    def memtable_bytes(self) -> int:
        """What all open stores hold in memory until it goes to disk."""
        return self._memtables.get_usage()

    def open(self, partition: int) -> RocksStore:
        """The partition's store. Raises StoreDamaged, StoreUnavailable, StoreLocked."""
        return RocksStore(self._place(partition), self._cache, self._memtables)

    def set_aside(self, partition: int, reason: str) -> str:
        """Rename the directory to `partition-<n>.aside-<m>`, with the reason in it, and delete all but the newest of them."""
        place = self._place(partition)
        numbers = (aside.name.removeprefix(f"{place.name}.aside-") for aside in self._directory.glob(f"{place.name}.aside-*"))
        older = sorted(int(number) for number in numbers if number.isdecimal())
        aside = _aside(place, older[-1] + 1 if older else 1)
        try:
            if place.exists():
                place.rename(aside)
                (aside / "WHY").write_text(reason + "\n", encoding="utf-8")
        except OSError as error:
            raise _unavailable(place, error) from error
        for number in older[: 1 - SET_ASIDE_MAX]:
            shutil.rmtree(_aside(place, number), ignore_errors=True)
        return str(aside)

    def remove(self, partition: int) -> None:
        """Delete the partition's store; it is rebuilt from the log."""
        shutil.rmtree(self._place(partition), ignore_errors=True)

    def _place(self, partition: int) -> Path:
        return self._directory / f"partition-{partition}"


def _aside(place: Path, number: int) -> Path:
    return place.with_name(f"{place.name}.aside-{number}")


def _options(cache: Cache, memtables: WriteBufferManager) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(MEMTABLE_BYTES)
    options.set_write_buffer_manager(memtables)
    options.set_max_write_buffer_number(MEMTABLES_MAX)
    options.set_max_background_jobs(2)
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(2)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(cache)
    blocks.set_bloom_filter(10, False)
    options.set_block_based_table_factory(blocks)
    return options


def _check_raw_mode(directory: Path) -> None:
    """A store written without raw mode holds pickled values; none of ours ever did (faults.md 6)."""
    settings = directory / "rocksdict-config.json"
    if not settings.exists():
        return
    try:
        is_raw = json.loads(settings.read_bytes())["raw_mode"] is True
    except (ValueError, LookupError, TypeError) as error:
        raise StoreDamaged(f"{settings} cannot be read: {error!r}") from error
    if not is_raw:
        raise StoreDamaged(f"{settings} says that the store does not hold raw bytes; Perdure did not write it")


def _holder(directory: Path) -> Path:
    return directory / "HOLDER"


def _opening_error(directory: Path, error: Exception) -> PerdureError:
    text = str(error)
    if "lock hold by current process" in text:
        return StoreLocked(f"{directory} is open in this process already; close it there first")
    if "While lock file" in text and "temporarily unavailable" in text:
        try:
            holder = _holder(directory).read_text(encoding="ascii")
        except (OSError, ValueError):
            holder = "another process"
        return StoreLocked(
            f"{directory} is in use by {holder}; stop it, or give each owner of this machine a directory of its own (--store)"
        )
    return _classified(directory, error)


def _classified(directory: Path, error: Exception) -> PerdureError:
    text = str(error)
    if any(reason in text for reason in _SURROUNDINGS):
        return _unavailable(directory, error)
    return StoreDamaged(f"{directory}: {text}")


def _unavailable(directory: Path, error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"{directory} cannot be used: {error}. Mend that and start the owner again; nothing in the store is lost")
