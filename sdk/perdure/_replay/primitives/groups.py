"""`TaskGroup` and `gather`: cancels go to tasks in the order in which they were made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from contextvars import Context
from types import TracebackType
from typing import Any

from perdure._replay.loop import WorkflowFuture, WorkflowLoop
from perdure.exceptions import is_cancelled_exception


class TaskGroup(asyncio.TaskGroup):
    """See asyncio.TaskGroup.

    A cancel of the parent that comes while the group waits is told once: by CancelledError, or by the group's error where that says it
    (a member is a cancellation), or else again at the parent's next wait.
    """

    def __init__(self) -> None:
        self._parent: asyncio.Task[Any] | None = None
        self._cancels_before = 0
        self._members: dict[asyncio.Task[Any], None] = {}
        self._failures: list[BaseException] = []
        self._fatal: BaseException | None = None
        self._empty: asyncio.Future[None] | None = None
        self._is_leaving = False
        self._is_aborting = False
        self._has_cancelled_parent = False

    def __repr__(self) -> str:
        state = "cancelling" if self._is_aborting else "entered" if self._parent is not None else "created"
        return f"<TaskGroup {state}, {len(self._members)} tasks, {len(self._failures)} errors>"

    async def __aenter__(self) -> TaskGroup:
        if self._parent is not None:
            raise RuntimeError(f"{self!r} has already been entered")
        self._parent = asyncio.current_task()
        if self._parent is None:
            raise RuntimeError(f"{self!r} can only be used in a task")
        self._cancels_before = self._parent.cancelling()
        return self

    async def __aexit__(self, et: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._is_leaving = True
        cancel = exc if isinstance(exc, asyncio.CancelledError) else None
        if isinstance(exc, SystemExit | KeyboardInterrupt):
            self._fatal = self._fatal or exc
        if exc is not None and not self._is_aborting:
            self._abort_members()
        cancel = await self._members_ended() or cancel
        if self._fatal is not None:
            raise self._fatal
        parent = self._entered_parent()
        if self._has_cancelled_parent and parent.uncancel() <= self._cancels_before:
            cancel = None  # it was the group's own
        if exc is not None and not isinstance(exc, asyncio.CancelledError):
            self._failures.append(exc)
        if not self._failures:
            if cancel is not None:
                raise cancel
            return
        is_told = cancel is None or any(is_cancelled_exception(failure) for failure in self._failures)
        if not is_told and parent.cancelling() > self._cancels_before:
            parent.uncancel()  # the count stays
            parent.cancel()
        failures, self._failures = self._failures, []
        raise BaseExceptionGroup("unhandled errors in a TaskGroup", failures) from None

    def create_task(  # type: ignore[override]  # with what newer versions take besides
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None, **options: Any
    ) -> asyncio.Task[Any]:
        """See asyncio.TaskGroup."""
        if self._parent is None:
            problem = "has not been entered"
        elif self._is_leaving and not self._members:
            problem = "is finished"
        elif self._is_aborting:
            problem = "is shutting down"
        else:
            task = self._parent.get_loop().create_task(coro, name=name, context=context, **options)
            self._members[task] = None
            task.add_done_callback(self._member_ended)
            return task
        coro.close()
        raise RuntimeError(f"{self!r} {problem}")

    def _entered_parent(self) -> asyncio.Task[Any]:
        assert self._parent is not None
        return self._parent

    async def _members_ended(self) -> asyncio.CancelledError | None:
        """Wait for all members; the last cancel that came meanwhile."""
        cancel = None
        while self._members:
            self._empty = self._entered_parent().get_loop().create_future()
            try:
                await self._empty
            except asyncio.CancelledError as error:
                cancel = error
                if not self._is_aborting:
                    self._abort_members()
            self._empty = None
        return cancel

    def _abort_members(self) -> None:
        self._is_aborting = True
        for task in list(self._members):
            if not task.done():
                task.cancel()

    def _member_ended(self, task: asyncio.Task[Any]) -> None:
        del self._members[task]
        if not self._members and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        self._failures.append(error)
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self._fatal = self._fatal or error
        parent = self._entered_parent()
        if parent.done():
            context = {"message": f"{task!r} failed after the end of its parent {parent!r}", "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)
        elif not self._is_aborting:
            self._abort_members()
            self._has_cancelled_parent = True
            parent.cancel()


class GatheringFuture(WorkflowFuture[list[Any]]):
    """What `gather` returns: cancelling it cancels what is gathered, in the order given."""

    def __init__(self, children: list[asyncio.Future[Any]], *, loop: WorkflowLoop) -> None:
        super().__init__(loop=loop)
        self.children = children
        self.is_cancel_requested = False

    def cancel(self, msg: Any | None = None) -> bool:
        """See asyncio.gather."""
        if self.done():
            return False
        cancelled = [child.cancel(msg) for child in self.children]
        self.is_cancel_requested = self.is_cancel_requested or any(cancelled)
        return any(cancelled)


def gather(*coros_or_futures: Awaitable[Any], return_exceptions: bool = False) -> asyncio.Future[list[Any]]:
    """See asyncio.gather."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, WorkflowLoop)
    futures: dict[int, asyncio.Future[Any]] = {}
    for one in coros_or_futures:
        if id(one) not in futures:
            futures[id(one)] = asyncio.ensure_future(one, loop=loop)
    children = [futures[id(one)] for one in coros_or_futures]
    outer = GatheringFuture(children, loop=loop)
    if not children:
        outer.set_result([])
    left = len(futures)

    def completed(child: asyncio.Future[Any]) -> None:
        nonlocal left
        left -= 1
        error = asyncio.CancelledError() if child.cancelled() else child.exception()  # asked for also if nobody hears of it
        if outer.done():
            return
        if error is not None and not return_exceptions:
            outer.set_exception(error)
        elif not left:
            if outer.is_cancel_requested:
                outer.set_exception(asyncio.CancelledError())
            else:
                outer.set_result([_outcome(one) for one in children])

    for future in futures.values():
        future.add_done_callback(completed)
    return outer


def _outcome(child: asyncio.Future[Any]) -> Any:
    if child.cancelled():
        return asyncio.CancelledError()
    error = child.exception()
    return child.result() if error is None else error
