"""`wait` and `as_completed` with an order: asyncio's own answer with sets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


async def wait(
    fs: Iterable[asyncio.Future[T]],
    *,
    timeout: float | None = None,  # noqa: ASYNC109 - asyncio's own parameter
    return_when: str = asyncio.ALL_COMPLETED,
) -> tuple[list[asyncio.Future[T]], list[asyncio.Future[T]]]:
    """Like asyncio.wait, with lists in the order of `fs`. Coroutines are refused: make tasks of them."""
    futures = list(fs)
    if any(asyncio.iscoroutine(future) for future in futures):
        raise TypeError("workflow.wait takes tasks and futures, not coroutines; use asyncio.create_task")
    done, _ = await asyncio.wait(futures, timeout=timeout, return_when=return_when)
    return [future for future in futures if future in done], [future for future in futures if future not in done]


def as_completed(fs: Iterable[Awaitable[T]], *, timeout: float | None = None) -> Iterator[Awaitable[T]]:
    """Like asyncio.as_completed, in an order that is the same on replay."""
    loop = asyncio.get_running_loop()
    if getattr(loop, "is_by_creation", False):
        yield from asyncio.as_completed(fs, timeout=timeout)
        return
    futures: list[asyncio.Future[T]] = [asyncio.ensure_future(future) for future in fs]
    finished: asyncio.Queue[asyncio.Future[T]] = asyncio.Queue()
    for future in futures:
        future.add_done_callback(finished.put_nowait)
    deadline = None if timeout is None else loop.time() + timeout

    async def next_one() -> T:
        if deadline is None:
            return (await finished.get()).result()
        async with asyncio.timeout_at(deadline):
            future = await finished.get()
        return future.result()

    for _ in futures:
        yield next_one()
