"""`Semaphore` and `Condition`. asyncio's other locks and queues are the same in all versions."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal


class Semaphore(asyncio.Semaphore):
    """See asyncio.Semaphore. Who asks first is let in first."""

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError("a semaphore begins with 0 or more")
        self._value = value
        self._queue: deque[asyncio.Future[None]] = deque()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} value={self._value} waiters={len(self._queue)}>"

    def locked(self) -> bool:
        """Whether `acquire` would wait."""
        return not self._value or any(not waiter.cancelled() for waiter in self._queue)

    async def acquire(self) -> Literal[True]:
        """See asyncio.Semaphore."""
        if not self.locked():
            self._value -= 1
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._value += 1  # it was let in, and does not come
            raise
        finally:
            self._queue.remove(waiter)
            self._let_in()
        return True

    def release(self) -> None:
        """See asyncio.Semaphore."""
        self._value += 1
        self._let_in()

    def _let_in(self) -> None:
        for waiter in self._queue:
            if not self._value:
                return
            if not waiter.done():
                self._value -= 1
                waiter.set_result(None)


class Condition(asyncio.Condition):
    """See asyncio.Condition. Who is cancelled when it has been notified notifies the next."""

    def __init__(self, lock: asyncio.Lock | None = None) -> None:
        super().__init__(lock)
        self._queue: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> Literal[True]:
        """See asyncio.Condition."""
        if not self.locked():
            raise RuntimeError("a condition is waited for under its lock")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        self.release()
        try:
            try:
                await waiter
            finally:
                self._queue.remove(waiter)
                await self._acquire_in_any_case()
        except BaseException:
            if not waiter.cancelled():
                self._wake(1)
            raise
        return True

    async def _acquire_in_any_case(self) -> None:
        cancel = None
        while True:
            try:
                await self.acquire()
                break
            except asyncio.CancelledError as error:
                cancel = error
        if cancel is not None:
            raise cancel

    def notify(self, n: int = 1) -> None:
        """See asyncio.Condition."""
        if not self.locked():
            raise RuntimeError("a condition is notified under its lock")
        self._wake(n)

    def notify_all(self) -> None:
        """See asyncio.Condition."""
        self.notify(len(self._queue))

    def _wake(self, count: int) -> None:
        for waiter in [waiter for waiter in self._queue if not waiter.done()][:count]:
            waiter.set_result(None)
