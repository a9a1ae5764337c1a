"""`wait` and `as_completed`."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any

from perdure._replay.primitives.order import TaskSet, in_order

_RETURN_WHEN = (asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION)


async def wait(
    fs: Iterable[asyncio.Future[Any]],
    *,
    timeout: float | None = None,  # noqa: ASYNC109 - asyncio's own parameter
    return_when: str = asyncio.ALL_COMPLETED,
) -> tuple[TaskSet[asyncio.Future[Any]], TaskSet[asyncio.Future[Any]]]:
    """See asyncio.wait. Both sets iterate in the order in which their members were made."""
    if asyncio.isfuture(fs) or asyncio.iscoroutine(fs):
        raise TypeError(f"asyncio.wait takes several tasks or futures in a list, not {type(fs).__name__}")
    if return_when not in _RETURN_WHEN:
        raise ValueError(f"return_when is one of {', '.join(_RETURN_WHEN)}, not {return_when!r}")
    futures = in_order(fs)
    if not futures:
        raise ValueError("asyncio.wait has nothing to wait for")
    for future in futures:
        if not asyncio.isfuture(future):
            _close(futures)
            raise TypeError(f"asyncio.wait takes tasks and futures, not {type(future).__name__}: use asyncio.create_task")
    await _until_completed(futures, timeout, return_when)
    done = TaskSet(future for future in futures if future.done())
    return done, TaskSet(future for future in futures if future not in done)


def _close(given: Iterable[Any]) -> None:
    """A coroutine that is refused will not run: close it, or Python warns of it wherever it is collected."""
    for one in given:
        if asyncio.iscoroutine(one):
            one.close()


async def _until_completed(
    futures: list[asyncio.Future[Any]],
    timeout: float | None,  # noqa: ASYNC109 - asyncio's own parameter
    return_when: str,
) -> None:
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    open_count = len(futures)

    def release() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def completed(future: asyncio.Future[Any]) -> None:
        nonlocal open_count
        open_count -= 1
        failed = not future.cancelled() and future.exception() is not None
        first = return_when == asyncio.FIRST_COMPLETED or (failed and return_when == asyncio.FIRST_EXCEPTION)
        if first or not open_count:
            release()

    deadline = None if timeout is None else loop.call_later(timeout, release)
    for future in futures:
        future.add_done_callback(completed)
    try:
        await waiter
    finally:
        if deadline is not None:
            deadline.cancel()
        for future in futures:
            future.remove_done_callback(completed)


class AsCompleted:
    """What `as_completed` returns. A `for` gets coroutines, an `async for` gets futures."""

    def __init__(self, fs: Iterable[Awaitable[Any]], timeout: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        futures = [asyncio.ensure_future(one, loop=self._loop) for one in _each_once(fs)]
        self._open = {id(future): future for future in futures}
        self._left = len(self._open)
        self._finished: deque[asyncio.Future[Any] | None] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        for future in self._open.values():
            future.add_done_callback(self._completed)
        has_deadline = bool(self._open) and timeout is not None
        self._deadline = self._loop.call_later(timeout or 0.0, self._expired) if has_deadline else None

    def __iter__(self) -> AsCompleted:
        return self

    def __next__(self) -> Coroutine[Any, Any, Any]:
        if not self._left:
            raise StopIteration
        self._left -= 1
        return self._result()

    def __aiter__(self) -> AsCompleted:
        return self

    async def __anext__(self) -> asyncio.Future[Any]:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return await self._next()

    async def _result(self) -> Any:
        return (await self._next()).result()

    async def _next(self) -> asyncio.Future[Any]:
        while not self._finished:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()  # what it was woken for is the next one's
                raise
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        future = self._finished.popleft()
        if future is None:
            raise TimeoutError
        return future

    def _completed(self, future: asyncio.Future[Any]) -> None:
        if self._open.pop(id(future), None) is None:
            return  # its deadline was first
        self._put(future)
        if not self._open and self._deadline is not None:
            self._deadline.cancel()

    def _expired(self) -> None:
        late, self._open = self._open, {}
        for future in late.values():
            future.remove_done_callback(self._completed)
            self._put(None)

    def _put(self, future: asyncio.Future[Any] | None) -> None:
        self._finished.append(future)
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


def _each_once(fs: Iterable[Awaitable[Any]]) -> list[Awaitable[Any]]:
    """A set of coroutines has no order that a replay could repeat."""
    given = in_order(fs)
    if isinstance(fs, set | frozenset) and sum(not asyncio.isfuture(one) for one in given) > 1:
        _close(given)
        raise TypeError("asyncio.as_completed got coroutines in a set, which has no order that a replay could repeat: give it a list")
    return given


def as_completed(fs: Iterable[Awaitable[Any]], *, timeout: float | None = None) -> AsCompleted:
    """See asyncio.as_completed."""
    if inspect.isawaitable(fs):
        raise TypeError(f"asyncio.as_completed takes several tasks, futures or coroutines in a list, not {type(fs).__name__}")
    return AsCompleted(fs, timeout)
