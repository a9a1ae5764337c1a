"""`timeout`, `timeout_at` and `wait_for`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from enum import Enum
from types import TracebackType
from typing import Any


class _State(Enum):
    NEW = "created"
    ENTERED = "active"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    LEFT = "finished"


class Timeout(asyncio.Timeout):  # type: ignore[misc]  # final, and yet the only way to stand in for it
    """See asyncio.Timeout."""

    def __init__(self, when: float | None) -> None:
        self._at = when
        self._stage = _State.NEW
        self._parent: asyncio.Task[Any] | None = None
        self._cancels_before = 0
        self._alarm: asyncio.Handle | None = None

    def __repr__(self) -> str:
        when = f" when={self._at}" if self._stage is _State.ENTERED else ""
        return f"<Timeout [{self._stage.value}]{when}>"

    def when(self) -> float | None:
        """The deadline, by the loop's clock."""
        return self._at

    def expired(self) -> bool:
        """Whether the deadline has passed while the block ran."""
        return self._stage in (_State.EXPIRING, _State.EXPIRED)

    def reschedule(self, when: float | None) -> None:
        """Move the deadline."""
        if self._stage is _State.NEW:
            raise RuntimeError("the timeout has not been entered")
        if self._stage is not _State.ENTERED:
            raise RuntimeError(f"the timeout cannot be moved, it is {self._stage.value}")
        self._at = when
        self._silence()
        if when is not None:
            loop = asyncio.get_running_loop()
            is_due = when <= loop.time()
            self._alarm = loop.call_soon(self._expire) if is_due else loop.call_at(when, self._expire)

    async def __aenter__(self) -> Timeout:
        if self._stage is not _State.NEW:
            raise RuntimeError("the timeout has already been entered")
        self._parent = asyncio.current_task()
        if self._parent is None:
            raise RuntimeError("a timeout can only be used in a task")
        self._cancels_before = self._parent.cancelling()
        self._stage = _State.ENTERED
        self.reschedule(self._at)
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None) -> None:
        self._silence()
        if self._stage is not _State.EXPIRING:
            self._stage = _State.LEFT
            return
        self._stage = _State.EXPIRED
        assert self._parent is not None
        is_ours = self._parent.uncancel() <= self._cancels_before  # nobody else has cancelled the task besides
        if is_ours and isinstance(exc_val, asyncio.CancelledError):
            raise TimeoutError from exc_val

    def _expire(self) -> None:
        assert self._parent is not None
        self._alarm = None
        self._stage = _State.EXPIRING
        self._parent.cancel()

    def _silence(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


async def wait_for(fut: Awaitable[Any], timeout: float | None) -> Any:  # noqa: ASYNC109 - asyncio's own parameter
    """See asyncio.wait_for. A cancel that comes together with the result is not swallowed."""
    if timeout is None or timeout > 0:
        async with Timeout(None if timeout is None else asyncio.get_running_loop().time() + timeout):
            return await fut
    future = asyncio.ensure_future(fut)
    if not future.done():
        await _cancel(future)
    try:
        return future.result()
    except asyncio.CancelledError as error:
        raise TimeoutError from error


async def _cancel(future: asyncio.Future[Any]) -> None:
    """Cancel `future`, and wait for its end. A cancel of the caller ends the wait and not the future."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def release(_: asyncio.Future[Any]) -> None:
        if not ended.done():
            ended.set_result(None)

    future.add_done_callback(release)
    try:
        future.cancel()
        await ended
    finally:
        future.remove_done_callback(release)
