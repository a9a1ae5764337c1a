"""A bound on what is in flight, in records and in bytes, for callers on one event loop."""

from __future__ import annotations

import asyncio
from collections import deque


class Room:
    """Admits callers in the order in which they came; a value larger than all room is admitted alone."""

    def __init__(self, records_max: int, bytes_max: int) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._records = 0
        self._bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def try_take(self, size_bytes: int) -> bool:
        """Take room for one record at once, unless there is none or others wait for it."""
        if self._waiting or not self._fits(size_bytes):
            return False
        self._add(size_bytes)
        return True

    async def take(self, size_bytes: int) -> None:
        """Take room for one record, waiting for it behind those who came earlier."""
        if self.try_take(size_bytes):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size_bytes, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # admitted in the same step as it was cancelled
                self.give(size_bytes)
            else:
                self._admit()  # it may have been the one that kept the others waiting
            raise

    def give(self, size_bytes: int) -> None:
        """Give the room of one record back."""
        self._records -= 1
        self._bytes -= size_bytes
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            size_bytes, turn = self._waiting[0]
            if not turn.done():
                if not self._fits(size_bytes):
                    return
                self._add(size_bytes)
                turn.set_result(None)
            self._waiting.popleft()

    def _fits(self, size_bytes: int) -> bool:
        return self._records == 0 or (self._records < self._records_max and self._bytes + size_bytes <= self._bytes_max)

    def _add(self, size_bytes: int) -> None:
        self._records += 1
        self._bytes += size_bytes
