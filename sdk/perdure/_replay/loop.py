"""The event loop of workflow code: FIFO, no selector, no threads, and time that stands still during an activation.

Tasks and futures know the order in which they were made, so that a replay sees the same order in every set, whatever PYTHONHASHSEED is
and whichever Python it runs on. A hash decides where a set keeps a thing, so it must not depend on how many tasks and futures Perdure or
asyncio make for themselves, which changes from version to version: tasks that user code makes are counted by themselves, and a future is
counted when it is first put into a set or dictionary. Runs that began before the flag CREATION_ORDER count everything alike, as it was.
"""

# ruff: noqa: SLF001 - the interface between asyncio and its loops is underscored

from __future__ import annotations

import asyncio
import asyncio.tasks
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

_swap_current_task: Callable[[Any, Any], Any] = getattr(asyncio.tasks, "_swap_current_task", lambda *_: None)
"""From Python 3.12. In 3.14 a thread has one current task, whatever loop it belongs to; before, each loop has its own."""

_FUTURES = 1 << 40
_OWN_TASKS = 1 << 41
"""Hashes of futures, and of tasks that Perdure makes for itself, are above these."""


class WorkflowFuture(asyncio.Future[T]):
    """A future with a place in the order of its loop: `made` is its number among all that the loop made."""

    def __init__(self, *, loop: WorkflowLoop) -> None:
        super().__init__(loop=loop)
        self.made = loop.next_made()
        self._hash = 0 if loop.is_by_creation else self.made

    def __hash__(self) -> int:
        if not self._hash:
            self._hash = self.get_loop().next_hashed_future()  # type: ignore[attr-defined]  # it is ours
        return self._hash

    def set_result(self, result: T, /) -> None:
        """See asyncio.Future. Refused to a query, whose answer must change nothing."""
        _check_writable(self, "settle a future")
        super().set_result(result)

    def set_exception(self, exception: type | BaseException, /) -> None:
        """The same."""
        _check_writable(self, "settle a future")
        super().set_exception(exception)

    def cancel(self, msg: Any | None = None) -> bool:
        """The same."""
        _check_writable(self, "cancel anything")
        return super().cancel(msg)


class WorkflowTask(asyncio.Task[T]):
    """A task with a place in the order of its loop: `made` is its number among all that the loop made.

    asyncio does not keep it among all tasks of the process, where it would be looked up by a hash that is the same in every run. Its loop
    keeps it.
    """

    def __init__(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        loop: WorkflowLoop,
        name: str | None,
        context: contextvars.Context | None,
        is_own: bool = False,
    ) -> None:
        self.made = loop.next_made()
        self._is_by_creation = loop.is_by_creation
        self._hash = loop.next_task(is_own=is_own) if self._is_by_creation else self.made
        self._cancels = 0
        super().__init__(coro, loop=loop, name=name or f"task-{self._hash}", context=context)
        asyncio.tasks._unregister_task(self)

    def __hash__(self) -> int:
        return self._hash

    def cancel(self, msg: Any | None = None) -> bool:
        """See asyncio.Task. Refused to a query."""
        _check_writable(self, "cancel anything")
        is_asked = super().cancel(msg)
        self._cancels += is_asked
        return is_asked

    def cancelling(self) -> int:
        """See asyncio.Task."""
        return self._cancels if self._is_by_creation else super().cancelling()

    def uncancel(self) -> int:
        """See asyncio.Task. As in Python 3.11 and 3.12, a cancel that is under way stays so; in 3.13 the last call takes it back."""
        if not self._is_by_creation:
            return super().uncancel()
        self._cancels = max(0, self._cancels - 1)
        return self._cancels


def _check_writable(future: asyncio.Future[Any], what: str) -> None:
    runtime = future.get_loop().perdure_runtime  # type: ignore[attr-defined]  # it is ours
    if runtime.is_read_only and not future.done():
        runtime.refuse_read_only(what)


class WorkflowTimerHandle(asyncio.TimerHandle):
    """A timer of a workflow's loop; `timer` is what the runtime keeps of it."""

    __slots__ = ("timer",)

    def __init__(
        self, when: float, callback: Callable[..., Any], args: Any, loop: WorkflowLoop, context: contextvars.Context | None
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.timer: Any = None


class _Gone:
    """The runtime of a run that was dropped, for futures and tasks of it that somebody still holds."""

    is_read_only = False

    def timer_started(self, handle: WorkflowTimerHandle, seconds: float) -> None:
        """A timer of a run that was dropped never fires."""

    def timer_cancelled(self, handle: WorkflowTimerHandle) -> None:
        """The same."""


def no_context() -> contextvars.Context:
    """The context of a callback that needs none: a copy of the current one would be kept as long as the callback waits.

    Each callback has its own, because a context cannot be entered by two threads at once, and each owner of a process has a thread.
    """
    return contextvars.Context()


def _forget(task: asyncio.Task[Any]) -> None:
    loop = task.get_loop()
    assert isinstance(loop, WorkflowLoop)
    loop.forget(task)


class WorkflowLoop(asyncio.AbstractEventLoop):
    """Runs callbacks until none is ready. `runtime` is told of timers that start and are cancelled."""

    def __init__(self, runtime: Any) -> None:
        self.perdure_runtime = runtime
        self._ready: deque[asyncio.Handle] | None = None
        """None while nothing is ready, as in every run that waits; an empty one takes 600 bytes."""
        self.is_by_creation = False
        """Whether the run began with the flag CREATION_ORDER."""
        self._made = 0
        self._user_tasks = 0
        self._own_tasks = 0
        self._hashed_futures = 0
        self._tasks: dict[int, WorkflowTask[Any]] = {}
        """Tasks that are not done, in the order in which they were made, by identity. asyncio keeps none, and one that is lost ends
        wherever the garbage collector finds it. A task that is done goes, or its result would stay as long as the run."""
        self._exception_handler: Any = None
        self.now_seconds = 0.0
        self.is_closing = False

    def next_made(self) -> int:
        """A number for the next future or task, whoever makes it."""
        self._made += 1
        return self._made

    def next_task(self, *, is_own: bool) -> int:
        """The hash of the next task; `is_own` if Perdure makes it for itself."""
        if is_own:
            self._own_tasks += 1
            return _OWN_TASKS + self._own_tasks
        self._user_tasks += 1
        return self._user_tasks

    def next_hashed_future(self) -> int:
        """The hash of a future that is hashed for the first time."""
        self._hashed_futures += 1
        return _FUTURES + self._hashed_futures

    # -- running

    @contextmanager
    def running(self) -> Iterator[None]:
        """Make it the running loop of this thread for a block. If a loop runs already, it and its task go on behind the block."""
        previous = asyncio._get_running_loop()
        task = _swap_current_task(previous, None) if previous is not None else None
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(previous)
            if task is not None:
                _swap_current_task(previous, task)

    def run_until_blocked(self, handles_max: int | None = None) -> None:
        """Run what is ready, and what becomes ready by it."""
        while self._ready:
            handle = self._ready.popleft()
            if not handle._cancelled:
                handle._run()
            if handles_max is not None:
                handles_max -= 1
                if handles_max <= 0:
                    return
        self._ready = None

    @property
    def has_ready(self) -> bool:
        """Whether something would run."""
        return bool(self._ready)

    def open_tasks(self) -> list[WorkflowTask[Any]]:
        """Tasks that are not done, in the order in which they were made."""
        return [task for task in self._tasks.values() if not task.done()]

    def drop(self) -> None:
        """Forget what is ready and what is not done, without a sound."""
        self._ready = None
        for task in self._tasks.values():
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio's own switch
        self._tasks.clear()
        # Run and loop know each other, and the garbage collector looks for such pairs seldom: what ends here is freed here.
        self.perdure_runtime = _Gone()

    # -- what asyncio needs of a loop

    def get_debug(self) -> bool:
        return False

    def time(self) -> float:
        return self.now_seconds

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(  # type: ignore[override]  # as loose as asyncio's own loops
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._let_run(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = WorkflowTimerHandle(self.now_seconds + delay, callback, args, self, context)
        if delay <= 0:
            self._let_run(handle)
        else:
            self.perdure_runtime.timer_started(handle, delay)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_later(when - self.now_seconds, callback, *args, context=context)

    def _let_run(self, handle: asyncio.Handle) -> None:
        if self.perdure_runtime.is_read_only:
            self.perdure_runtime.refuse_read_only("let anything run later")
        self.fire(handle)

    def fire(self, handle: asyncio.Handle) -> None:
        """A timer's time has come."""
        if self._ready is None:
            self._ready = deque()
        self._ready.append(handle)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self.perdure_runtime.timer_cancelled(handle)

    def create_future(self) -> WorkflowFuture[Any]:
        return WorkflowFuture(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        eager_start: bool | None = None,
    ) -> asyncio.Task[T]:
        if eager_start:
            coro.close()
            raise NotImplementedError("a task of a workflow does not start eagerly: leave eager_start out")
        return self._start_task(coro, name, context, is_own=False)

    def create_own_task(self, coro: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """A task of Perdure's own, which does not shift the hashes of those that user code makes."""
        return self._start_task(coro, name, None, is_own=True)

    def _start_task(
        self, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], name: str | None, context: contextvars.Context | None, *, is_own: bool
    ) -> asyncio.Task[T]:
        if self.perdure_runtime.is_read_only:
            coro.close()
            self.perdure_runtime.refuse_read_only("start a task")
        task: WorkflowTask[T] = WorkflowTask(coro, loop=self, name=name, context=context, is_own=is_own)
        self._tasks[id(task)] = task
        task.add_done_callback(_forget, context=no_context())
        return task

    def forget(self, task: asyncio.Task[Any]) -> None:
        """A task is done."""
        self._tasks.pop(id(task), None)

    def get_task_factory(self) -> None:
        return None

    def set_exception_handler(self, handler: Any) -> None:
        self._exception_handler = handler

    def get_exception_handler(self) -> Any:
        return self._exception_handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """An error that nobody took is logged, once, and not while the run is dropped."""
        if self._exception_handler is not None:
            self._exception_handler(self, context)
        elif not self.is_closing:
            self.perdure_runtime.log_unhandled(context)


def _refuse(name: str) -> Callable[..., Any]:
    def refused(self: WorkflowLoop, *_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"loop.{name} does not exist in a workflow: do this in an activity (workflow.execute_activity)")

    return refused


for _name in (
    "run_forever",
    "run_until_complete",
    "stop",
    "close",
    "shutdown_asyncgens",
    "shutdown_default_executor",
    "call_soon_threadsafe",
    "run_in_executor",
    "set_default_executor",
    "getaddrinfo",
    "getnameinfo",
    "create_connection",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "create_datagram_endpoint",
    "connect_accepted_socket",
    "start_tls",
    "sendfile",
    "connect_read_pipe",
    "connect_write_pipe",
    "subprocess_shell",
    "subprocess_exec",
    "add_reader",
    "remove_reader",
    "add_writer",
    "remove_writer",
    "sock_recv",
    "sock_sendall",
    "sock_connect",
    "sock_accept",
    "add_signal_handler",
    "remove_signal_handler",
    "set_task_factory",
    "set_debug",
):
    setattr(WorkflowLoop, _name, _refuse(_name))
