"""Write activities: functions that touch the world. They run at least once, and are tried again until they succeed or their policy ends.

Async functions run on the worker's loop, sync ones in threads. `info` and the rest find their attempt by a context variable, which
follows tasks and `asyncio.to_thread`.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NoReturn, Protocol, TypeVar, overload

from perdure.common import RetryPolicy
from perdure.converter import PayloadConverter
from perdure.workflow._activities import ACTIVITY_DEFINITION
from perdure.workflow._definition import Parameters, result_hint
from perdure_schemas.errors import PerdureError

CallableT = TypeVar("CallableT", bound=Callable[..., Any])

__all__ = [
    "ActivityCancellationDetails",
    "ActivityDefinition",
    "Info",
    "cancellation_details",
    "defn",
    "heartbeat",
    "in_activity",
    "info",
    "is_cancelled",
    "is_worker_shutdown",
    "logger",
    "payload_converter",
    "raise_complete_async",
    "shield_thread_cancel_exception",
    "wait_for_cancelled",
    "wait_for_cancelled_sync",
    "wait_for_worker_shutdown",
    "wait_for_worker_shutdown_sync",
]


@dataclass(frozen=True)
class ActivityDefinition:
    """What @activity.defn found out. `name` None is the dynamic one."""

    name: str | None
    function: Callable[..., Any]
    is_async: bool
    is_method: bool
    no_thread_cancel_exception: bool = False

    @cached_property
    def parameters(self) -> Parameters:
        """What it takes. Found when it is first called, because annotations may name what the module defines below it."""
        return Parameters.find(self.function, skip_self=self.is_method)

    @cached_property
    def result(self) -> Any:
        """The annotation of what it returns; None where it has none. Found when it is first asked for, as `parameters` are, and once:
        each look compiles every annotation that is a text."""
        return result_hint(self.function)

    @staticmethod
    def must_of(activity: Any) -> ActivityDefinition:
        """The definition of a decorated function, method or callable instance. Raises ValueError for anything else."""
        found = getattr(activity, ACTIVITY_DEFINITION, None) or getattr(type(activity).__call__, ACTIVITY_DEFINITION, None)
        if not isinstance(found, ActivityDefinition):
            raise ValueError(f"{getattr(activity, '__qualname__', activity)!r} is not an activity: decorate it with @activity.defn")
        return found


@overload
def defn(function: CallableT) -> CallableT: ...


@overload
def defn(
    *, name: str | None = None, no_thread_cancel_exception: bool = False, dynamic: bool = False
) -> Callable[[CallableT], CallableT]: ...


def defn(function: Any = None, *, name: str | None = None, no_thread_cancel_exception: bool = False, dynamic: bool = False) -> Any:
    """Make a function, a method or a class's `__call__` an activity, under its own name unless `name` is given.

    A dynamic one takes a Sequence[RawValue] and serves every name that has no activity of its own. Raises TypeError for keyword-only
    parameters, ValueError for what is decorated already.
    """
    if name is not None and dynamic:
        raise RuntimeError("a dynamic activity has no name; give one of name and dynamic")

    def decorate(decorated: CallableT) -> CallableT:
        target: Any = vars(decorated).get("__call__") if isinstance(decorated, type) else decorated
        if target is None or not callable(target):
            raise TypeError(f"{decorated!r} cannot be called, so it cannot be an activity")
        if hasattr(target, ACTIVITY_DEFINITION):
            raise ValueError(f"{decorated.__qualname__} is decorated with @activity.defn already")
        parameters = list(inspect.signature(target).parameters.values())
        if any(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters):
            raise TypeError(f"{target.__qualname__} has keyword-only parameters; activities are called with positional arguments")
        shown = decorated.__name__
        definition = ActivityDefinition(
            None if dynamic else name or shown,
            target,
            inspect.iscoroutinefunction(target),
            bool(parameters) and parameters[0].name == "self",
            no_thread_cancel_exception,
        )
        setattr(target, ACTIVITY_DEFINITION, definition)
        if decorated is not target:
            setattr(decorated, ACTIVITY_DEFINITION, definition)
        return decorated

    return decorate if function is None else decorate(function)


@dataclass(frozen=True)
class Info:
    """The attempt that runs. Times are UTC; timeouts that do not apply are None."""

    activity_id: str
    activity_type: str
    attempt: int
    current_attempt_scheduled_time: datetime
    heartbeat_details: Sequence[Any]
    heartbeat_timeout: timedelta | None
    is_local: bool
    namespace: str
    schedule_to_close_timeout: timedelta | None
    scheduled_time: datetime
    start_to_close_timeout: timedelta | None
    started_time: datetime
    task_queue: str
    task_token: bytes
    workflow_id: str
    workflow_namespace: str
    workflow_run_id: str
    workflow_type: str
    retry_policy: RetryPolicy | None = None

    @property
    def in_workflow(self) -> bool:
        """Whether a workflow scheduled it; every activity is scheduled by one."""
        return True


@dataclass(frozen=True)
class ActivityCancellationDetails:
    """Why an attempt is to end. With none of these, its heartbeat details could not be encoded (semantics 26)."""

    not_found: bool = False
    cancel_requested: bool = False
    timed_out: bool = False
    worker_shutdown: bool = False


class CompleteAsyncError(BaseException):
    """Ends an attempt without a result; not to be caught."""


class Event:
    """An event for coroutines of the worker's loop and for threads."""

    def __init__(self) -> None:
        self.thread = threading.Event()
        self.loop = asyncio.Event()

    def set(self) -> None:
        """Wake everyone; to be called on the loop."""
        self.thread.set()
        self.loop.set()


class Shield(Protocol):
    """Holds back the exception that a cancellation throws into a thread."""

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...


@dataclass(slots=True)
class Context:
    """What an attempt can ask of its worker. `beat` may be called from any thread; `shield` is there for sync functions only."""

    info: Info
    payload_converter: PayloadConverter
    beat: Callable[[Sequence[Any]], None]
    worker_shutdown: Event
    cancelled: Event = field(default_factory=Event)
    details: ActivityCancellationDetails | None = None
    shield: Shield | None = None

    @staticmethod
    def current() -> Context:
        """The context of the activity that calls. Raises NotInActivityError."""
        context = _current.get()
        if context is None:
            raise NotInActivityError("this works only inside of an activity that a worker runs")
        return context


class NotInActivityError(PerdureError, RuntimeError):
    """A function of `perdure.activity` was called outside of an activity."""


_current: contextvars.ContextVar[Context | None] = contextvars.ContextVar("perdure_activity", default=None)


@contextmanager
def running(context: Context) -> Iterator[None]:
    """Make what is called inside an activity; for workers."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


def in_activity() -> bool:
    """Whether the caller is an activity."""
    return _current.get() is not None


def info() -> Info:
    """The attempt that calls."""
    return Context.current().info


def payload_converter() -> PayloadConverter:
    """The converter of this activity's values."""
    return Context.current().payload_converter


def heartbeat(*details: Any) -> None:
    """Say that the attempt is alive, and how far it is; the next attempt finds `details` in its info. Throttled, the latest wins."""
    Context.current().beat(details)


def is_cancelled() -> bool:
    """Whether the attempt is to end."""
    return Context.current().cancelled.thread.is_set()


async def wait_for_cancelled() -> None:
    """Wait until the attempt is to end; async activities only."""
    await Context.current().cancelled.loop.wait()


def wait_for_cancelled_sync(timeout: timedelta | float | None = None) -> None:
    """The same for sync activities; returns after `timeout` as well."""
    Context.current().cancelled.thread.wait(_seconds(timeout))


def cancellation_details() -> ActivityCancellationDetails | None:
    """Why the attempt is to end; None if it is not."""
    return Context.current().details


def is_worker_shutdown() -> bool:
    """Whether the worker is shutting down."""
    return Context.current().worker_shutdown.thread.is_set()


async def wait_for_worker_shutdown() -> None:
    """Wait until the worker shuts down; async activities only."""
    await Context.current().worker_shutdown.loop.wait()


def wait_for_worker_shutdown_sync(timeout: timedelta | float | None = None) -> None:
    """The same for sync activities; returns after `timeout` as well."""
    Context.current().worker_shutdown.thread.wait(_seconds(timeout))


@contextmanager
def shield_thread_cancel_exception() -> Iterator[None]:
    """Within this block no CancelledError is thrown into the thread; one that is due is raised at the end of the outermost block.

    Only sync activities need it; elsewhere it does nothing.
    """
    shield = Context.current().shield
    if shield is None:
        yield
        return
    with shield:
        yield


def raise_complete_async() -> NoReturn:
    """End the attempt without a result: somebody completes it later, through `client.get_async_activity_handle`."""
    raise CompleteAsyncError


def _seconds(timeout: timedelta | float | None) -> float | None:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout


class LoggerAdapter(logging.LoggerAdapter[logging.Logger]):
    """Logs with the attempt's names."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger, {})
        self.activity_info_on_message = True
        self.activity_info_on_extra = True
        self.full_activity_info_on_extra = False

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the attempt's names to the message and to the record."""
        context = _current.get()
        if context is not None:
            names = _names(context.info)
            if self.activity_info_on_message:
                msg = f"{msg} ({names})"
            if self.activity_info_on_extra:
                kwargs = {**kwargs, "extra": {"temporal_activity": names, **names, **(kwargs.get("extra") or {})}}
            if self.full_activity_info_on_extra:
                kwargs = {**kwargs, "extra": {**(kwargs.get("extra") or {}), "activity_info": context.info}}
        return msg, kwargs


def _names(found: Info) -> Mapping[str, Any]:
    return {
        "activity_id": found.activity_id,
        "activity_type": found.activity_type,
        "attempt": found.attempt,
        "namespace": found.namespace,
        "task_queue": found.task_queue,
        "workflow_id": found.workflow_id,
        "workflow_run_id": found.workflow_run_id,
        "workflow_type": found.workflow_type,
    }


logger = LoggerAdapter(logging.getLogger("perdure.activity"))
"""Logs from activities."""
