"""The Store port: an ordered map of bytes that the owner can write in one atomic batch and throw away at any time.

An adapter
- must apply a batch wholly or not at all, also when the process dies inside the call;
- must keep batches in order: after a crash it may show an older state, never one with a batch missing in the middle;
- must return keys in the order of their bytes;
- must raise StoreDamaged for anything that makes its content doubtful, a scan that ends early included, and StoreUnavailable for what
  another store in its place would not heal (no space, no descriptors, no permission, held by another process, closed);
- must release everything at `close`, which raises nothing: a scan that somebody left open ends with StoreUnavailable;
- must not durably hold what was not written through `write` (nothing is buffered by the owner outside a batch).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from perdure_schemas.errors import PerdureError


class StoreDamaged(PerdureError):
    """The store cannot be read, or holds what it should not; it is set aside and rebuilt from the log."""


class StoreUnavailable(PerdureError):
    """The store cannot be used now, for a reason outside it; an operator has to see to that, and its content stays where it is."""


class Store(Protocol):
    """One partition's rows."""

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, from `start` on (a full key; empty means from the first), in key order.

        They are those of the moment of the call, whatever is written while you read; close the iterator if you leave it early.
        """

    def scan_back(self, prefix: bytes, before: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows whose key begins with `prefix`, strictly below `before` (empty means from the last), in descending key order."""

    def write(self, batch: Mapping[bytes, bytes | None]) -> None:
        """Put every row, or delete it where the value is None, at once."""

    def flush(self) -> None:
        """Bring everything written so far to the disk; without it a crash may show an older state."""

    def close(self) -> None:
        """Flush and release. Once more does nothing. What could not be flushed is what a crash would have lost."""


class StoreProvider(Protocol):
    """Opens the stores of a process, one per partition."""

    def open(self, partition: int) -> Store:
        """The partition's store, empty if there is none. Raises StoreDamaged, StoreUnavailable."""

    def set_aside(self, partition: int, reason: str) -> str:
        """Move a doubtful store out of the way, so that `open` gives an empty one; returns where it is now. Raises StoreUnavailable."""
