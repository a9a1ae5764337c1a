"""The Store on RocksDB: raw bytes, one column family, no write-ahead log; the log is the log (faults.md 7b).

A killed process finds an older state, a prefix of its batches, and folds forward from the offset in it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from rocksdict import AccessType, BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, RdictIter, WriteBatch, WriteOptions

from perdure_platform.store.port import StoreDamaged
from perdure_schemas.errors import PerdureError

MEMTABLE_BYTES = 16 * 1024 * 1024
"""One partition's writes before they go to disk; a rebuild after a kill folds about this much again."""

BLOCK_CACHE_BYTES = 64 * 1024 * 1024
"""Shared by all partitions of a process."""

OPEN_FILES_MAX = 64
"""Per partition, so that many partitions do not use up the process' descriptors."""


class StoreLocked(PerdureError):
    """Another process has the store open."""


class RocksStore:
    """One partition's rows in a directory."""

    def __init__(self, directory: Path, cache: Cache) -> None:
        directory.parent.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        try:
            self._db = Rdict(str(directory), _options(cache), access_type=AccessType.read_write())
        except Exception as error:
            raise _classified(directory, error) from error
        self._write_options = WriteOptions()
        self._write_options.disable_wal = True  # type: ignore[method-assign,assignment]  # a property; the stubs call it a method
        self._db.set_write_options(self._write_options)

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise _classified(self._directory, error) from error
        return value

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, from `start` on."""
        rows = self._iterator()
        rows.seek(max(prefix, start))
        while rows.valid():
            key = rows.key()
            if not key.startswith(prefix):
                return
            yield key, rows.value()
            rows.next()
        self._check(rows)

    def scan_back(self, prefix: bytes, before: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The same, backwards from below `before`."""
        rows = self._iterator()
        bound = before or _behind(prefix)
        if bound:
            rows.seek_for_prev(bound)
            if rows.valid() and rows.key() == bound:
                rows.prev()
        else:
            rows.seek_to_last()
        while rows.valid():
            key = rows.key()
            if not key.startswith(prefix):
                return
            yield key, rows.value()
            rows.prev()
        self._check(rows)

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
            raise _classified(self._directory, error) from error

    def flush(self) -> None:
        """Bring everything to the disk."""
        try:
            self._db.flush()
        except Exception as error:
            raise _classified(self._directory, error) from error

    def close(self) -> None:
        """Flush and release the directory's lock."""
        self.flush()
        self._db.close()

    def _iterator(self) -> RdictIter:
        try:
            return self._db.iter()
        except Exception as error:
            raise _classified(self._directory, error) from error

    def _check(self, rows: RdictIter) -> None:
        """An iterator also stops at an error, silently; its status tells."""
        try:
            rows.status()
        except Exception as error:
            raise _classified(self._directory, error) from error


class RocksStores:
    """Stores below one directory, `partition-<n>` each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cache = Cache(BLOCK_CACHE_BYTES)

    def open(self, partition: int) -> RocksStore:
        """The partition's store. Raises StoreDamaged, StoreLocked."""
        return RocksStore(self._place(partition), self._cache)

    def set_aside(self, partition: int, reason: str) -> str:
        """Rename the directory; the reason is kept beside it."""
        place = self._place(partition)
        number = 1
        while (aside := place.with_name(f"{place.name}.aside-{number}")).exists():
            number += 1
        if place.exists():
            place.rename(aside)
            (aside / "WHY").write_text(reason + "\n", encoding="utf-8")
        return str(aside)

    def remove(self, partition: int) -> None:
        """Delete the partition's store; it is rebuilt from the log."""
        shutil.rmtree(self._place(partition), ignore_errors=True)

    def _place(self, partition: int) -> Path:
        return self._directory / f"partition-{partition}"


def _options(cache: Cache) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(MEMTABLE_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_background_jobs(2)
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(2)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(cache)
    blocks.set_bloom_filter(10, False)
    options.set_block_based_table_factory(blocks)
    return options


def _classified(directory: Path, error: Exception) -> PerdureError:
    text = str(error)
    if "lock" in text.lower() and ("LOCK" in text or "Resource temporarily unavailable" in text):
        return StoreLocked(
            f"{directory} is in use by another process; stop it, or give each owner of this machine a directory of its own (--store)"
        )
    return StoreDamaged(f"{directory}: {text}")


def _behind(prefix: bytes) -> bytes:
    """The first key above all that begin with `prefix`; nothing if there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b""
