"""The Store in memory: a sorted list of keys beside a dict. For verification, tests and simulation."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping


class MemoryStore:
    """Rows of one partition.

    `crash` does what a killed process does to RocksDB without a write-ahead log: the newest batches may be gone.
    """

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._undo: list[dict[bytes, bytes | None]] = []

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        return self._rows.get(key)

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, as they are now."""
        at = bisect_left(self._keys, max(prefix, start))
        end = bisect_left(self._keys, _behind(prefix)) if prefix and _behind(prefix) else len(self._keys)
        return iter([(key, self._rows[key]) for key in self._keys[at:end]])

    def scan_back(self, prefix: bytes, before: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The same, backwards from below `before`."""
        at = bisect_left(self._keys, prefix)
        end = bisect_left(self._keys, _behind(prefix)) if prefix and _behind(prefix) else len(self._keys)
        if before:
            end = min(end, bisect_left(self._keys, before))
        return iter([(key, self._rows[key]) for key in reversed(self._keys[at:end])])

    def write(self, batch: Mapping[bytes, bytes | None]) -> None:
        """Put or delete every row."""
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
        self._undo.clear()

    def close(self) -> None:
        """Flush."""
        self.flush()

    def crash(self, batches_lost: int) -> None:
        """Take back the newest batches, at most those since the last flush."""
        for _ in range(min(batches_lost, len(self._undo))):
            self._apply(self._undo.pop())

    @property
    def batches_unflushed(self) -> int:
        """How many batches a crash could take."""
        return len(self._undo)


class MemoryStores:
    """Stores that outlive their owner's process in a simulation: opening gives the rows that are there."""

    def __init__(self) -> None:
        self.stores: dict[int, MemoryStore] = {}
        self.aside: list[tuple[int, str]] = []

    def open(self, partition: int) -> MemoryStore:
        """The partition's store."""
        return self.stores.setdefault(partition, MemoryStore())

    def set_aside(self, partition: int, reason: str) -> str:
        """Forget a doubtful store."""
        self.stores.pop(partition, None)
        self.aside.append((partition, reason))
        return "memory"


def _behind(prefix: bytes) -> bytes:
    """The first key that does not begin with `prefix` and is above those that do; nothing if there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b""
