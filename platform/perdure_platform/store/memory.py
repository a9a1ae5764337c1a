"""The Store in memory: a sorted list of keys beside a dict. For verification, tests and simulation."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping

from perdure_platform.store.keys import behind
from perdure_platform.store.port import StoreUnavailable


class MemoryStore:
    """Rows of one partition.

    `crash` does what a killed process does to RocksDB without a write-ahead log: the newest batches may be gone.
    """

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._undo: list[dict[bytes, bytes | None]] = []
        self._is_open = True

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        self._check_open()
        return self._rows.get(key)

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, as they are now."""
        return self._read(self._keys[bisect_left(self._keys, max(prefix, start)) : self._end(prefix)])

    def scan_back(self, prefix: bytes, before: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The same, backwards from below `before`."""
        end = min(self._end(prefix), bisect_left(self._keys, before)) if before else self._end(prefix)
        return self._read(self._keys[bisect_left(self._keys, prefix) : end][::-1])

    def write(self, batch: Mapping[bytes, bytes | None]) -> None:
        """Put or delete every row."""
        self._check_open()
        self._undo.append({key: self._rows.get(key) for key in batch})
        self._apply(batch)

    def _apply(self, batch: Mapping[bytes, bytes | None]) -> None:
        for key, value in batch.items():
            if value is None:
                if self._rows.pop(key, None) is not None:
                    del self._keys[bisect_left(self._keys, key)]
            else:
                if key not in self._rows:
                    insort(self._keys, key)
                self._rows[key] = value

    def flush(self) -> None:
        """Everything written so far survives a crash."""
        self._check_open()
        self._undo.clear()

    def close(self) -> None:
        """Flush; to use it again, open it again."""
        if self._is_open:
            self.flush()
            self._is_open = False

    def opened(self) -> MemoryStore:
        """Itself, ready for use."""
        self._is_open = True
        return self

    def crash(self, batches_lost: int) -> None:
        """Take back the newest batches, at most those since the last flush."""
        for _ in range(min(batches_lost, len(self._undo))):
            self._apply(self._undo.pop())

    @property
    def batches_unflushed(self) -> int:
        """How many batches a crash could take."""
        return len(self._undo)

    def _end(self, prefix: bytes) -> int:
        end = behind(prefix)
        return bisect_left(self._keys, end) if end else len(self._keys)

    def _read(self, keys: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
        self._check_open()
        return self._yield([(key, self._rows[key]) for key in keys])

    def _yield(self, rows: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        for row in rows:
            self._check_open()
            yield row

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable("the store in memory is closed; open it again")


class MemoryStores:
    """Stores that outlive their owner's process in a simulation: opening gives the rows that are there."""

    def __init__(self) -> None:
        self.stores: dict[int, MemoryStore] = {}
        self.aside: list[tuple[int, str]] = []

    def open(self, partition: int) -> MemoryStore:
        """The partition's store."""
        return self.stores.setdefault(partition, MemoryStore()).opened()

    def set_aside(self, partition: int, reason: str) -> str:
        """Forget a doubtful store."""
        self.stores.pop(partition, None)
        self.aside.append((partition, reason))
        return "memory"
