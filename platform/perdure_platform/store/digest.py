"""A name for the whole content of a store: two with the same rows have the same."""

from __future__ import annotations

import hashlib

from perdure_platform.store import keys
from perdure_platform.store.port import Store


class Digest:
    """Made bit by bit, of the rows as they are at the beginning, whatever is written meanwhile."""

    def __init__(self, store: Store) -> None:
        self._rows = store.scan(b"")
        self._total = hashlib.blake2b(digest_size=16)

    def go_on(self, rows: int, size_bytes: int) -> bool:
        """Take so many more rows, and none behind so many bytes; whether there are more."""
        for key, value in self._rows:
            if key == keys.BEGAN:
                continue
            self._total.update(len(key).to_bytes(4, "big"))
            self._total.update(key)
            self._total.update(len(value).to_bytes(4, "big"))
            self._total.update(value)
            rows, size_bytes = rows - 1, size_bytes - len(value)
            if rows <= 0 or size_bytes <= 0:
                return True
        return False

    @property
    def text(self) -> str:
        """The digest of the rows that were taken."""
        return self._total.hexdigest()


def digest(store: Store) -> str:
    """The digest of all rows, at once."""
    whole = Digest(store)
    while whole.go_on(1_000_000, 1 << 40):
        pass
    return whole.text
