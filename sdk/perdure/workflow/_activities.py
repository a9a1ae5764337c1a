"""Activities from workflow code: start one and go on, or start one and wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Generic, TypedDict, TypeVar, Unpack, overload

from perdure._foreign_options import ACTIVITY, sift
from perdure.common import RetryPolicy
from perdure.workflow._context import _MISSING, ActivityOptions, Runtime, positional
from perdure_schemas.options import ActivityCancellationType

ResultT = TypeVar("ResultT")
ParamT = TypeVar("ParamT")
SelfT = TypeVar("SelfT")

ACTIVITY_DEFINITION = "__perdure_activity_definition__"
"""Where @activity.defn leaves what it found out."""


class ActivityConfig(TypedDict, total=False):
    """How an activity is run. One of `schedule_to_close_timeout` and `start_to_close_timeout` must be given.

    `task_queue` is the workflow's own unless given; without `retry_policy` an activity is tried without limit, after 1, 2, 4 … s up to
    100 s. `cancellation_type` says what a cancelled caller waits for (TRY_CANCEL). `activity_id` is the activity's number unless given.
    `summary` is known from Temporal's SDK and has no effect.
    """

    task_queue: str | None
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    heartbeat_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    cancellation_type: ActivityCancellationType
    activity_id: str | None
    summary: str | None


class ActivityHandle(asyncio.Task[ResultT], Generic[ResultT]):  # type: ignore[type-var,unused-ignore]
    """An activity under way: await it, or cancel it."""


def _start(activity: Any, arguments: Sequence[Any], config: Any, result_type: Any) -> Any:
    name, hinted = activity_target(activity)
    own = sift(f"activity {name!r}", config, ACTIVITY, ActivityConfig.__annotations__.keys() - ACTIVITY.keys())
    options = ActivityOptions(result_type=result_type if result_type is not None else hinted, **own)
    if options.schedule_to_close_timeout is None and options.start_to_close_timeout is None:
        raise ValueError(f"activity {name!r} needs start_to_close_timeout or schedule_to_close_timeout; without one it could run for ever")
    return Runtime.current().start_activity(name, arguments, options)


def activity_target(activity: Any) -> tuple[str, Any]:
    """Name and result type of an activity that is given as a string, a function, a method or an instance. Raises ValueError, TypeError."""
    if isinstance(activity, str):
        return activity, None
    function = activity if hasattr(activity, ACTIVITY_DEFINITION) else getattr(type(activity), "__call__", None)  # noqa: B004
    if isinstance(activity, type):
        function = activity.__call__
    definition = getattr(activity, ACTIVITY_DEFINITION, None) or getattr(function, ACTIVITY_DEFINITION, None)
    if definition is None:
        raise ValueError(f"{getattr(activity, '__qualname__', activity)!r} is not an activity: decorate it with @activity.defn")
    if definition.name is None:
        raise TypeError("a dynamic activity has no name to start it by; give the name as a string")
    return definition.name, definition.result


@overload
def start_activity(activity: Callable[[], Awaitable[ResultT]], **config: Unpack[ActivityConfig]) -> ActivityHandle[ResultT]: ...


@overload
def start_activity(activity: Callable[[], ResultT], **config: Unpack[ActivityConfig]) -> ActivityHandle[ResultT]: ...


@overload
def start_activity(
    activity: Callable[[ParamT], Awaitable[ResultT]], arg: ParamT, **config: Unpack[ActivityConfig]
) -> ActivityHandle[ResultT]: ...


@overload
def start_activity(activity: Callable[[ParamT], ResultT], arg: ParamT, **config: Unpack[ActivityConfig]) -> ActivityHandle[ResultT]: ...


@overload
def start_activity(
    activity: Callable[..., Awaitable[ResultT]], *, args: Sequence[Any], **config: Unpack[ActivityConfig]
) -> ActivityHandle[ResultT]: ...


@overload
def start_activity(
    activity: Callable[..., ResultT], *, args: Sequence[Any], **config: Unpack[ActivityConfig]
) -> ActivityHandle[ResultT]: ...


@overload
def start_activity(
    activity: str, arg: Any = ..., *, args: Sequence[Any] = ..., result_type: Any = ..., **config: Unpack[ActivityConfig]
) -> ActivityHandle[Any]: ...


def start_activity(activity: Any, arg: Any = _MISSING, *, args: Sequence[Any] = (), result_type: Any = None, **config: Any) -> Any:
    """Start an activity and go on; await the handle for its result. Raises ValueError without a timeout.

    The result is ActivityError if the activity fails for good; its `cause` says why.
    """
    return _start(activity, positional(arg, args), config, result_type)


@overload
async def execute_activity(activity: Callable[[], Awaitable[ResultT]], **config: Unpack[ActivityConfig]) -> ResultT: ...


@overload
async def execute_activity(activity: Callable[[], ResultT], **config: Unpack[ActivityConfig]) -> ResultT: ...


@overload
async def execute_activity(activity: Callable[[ParamT], Awaitable[ResultT]], arg: ParamT, **config: Unpack[ActivityConfig]) -> ResultT: ...


@overload
async def execute_activity(activity: Callable[[ParamT], ResultT], arg: ParamT, **config: Unpack[ActivityConfig]) -> ResultT: ...


@overload
async def execute_activity(
    activity: Callable[..., Awaitable[ResultT]], *, args: Sequence[Any], **config: Unpack[ActivityConfig]
) -> ResultT: ...


@overload
async def execute_activity(activity: Callable[..., ResultT], *, args: Sequence[Any], **config: Unpack[ActivityConfig]) -> ResultT: ...


@overload
async def execute_activity(
    activity: str, arg: Any = ..., *, args: Sequence[Any] = ..., result_type: Any = ..., **config: Unpack[ActivityConfig]
) -> Any: ...


async def execute_activity(activity: Any, arg: Any = _MISSING, *, args: Sequence[Any] = (), result_type: Any = None, **config: Any) -> Any:
    """Run an activity and wait for its result. Raises ActivityError if it fails for good, ValueError without a timeout."""
    return await _start(activity, positional(arg, args), config, result_type)


@overload
def start_activity_method(activity: Callable[[SelfT], Awaitable[ResultT]], **config: Unpack[ActivityConfig]) -> ActivityHandle[ResultT]: ...


@overload
def start_activity_method(
    activity: Callable[[SelfT, ParamT], Awaitable[ResultT]], arg: ParamT, **config: Unpack[ActivityConfig]
) -> ActivityHandle[ResultT]: ...


@overload
def start_activity_method(
    activity: Callable[[SelfT, ParamT], ResultT], arg: ParamT, **config: Unpack[ActivityConfig]
) -> ActivityHandle[ResultT]: ...


@overload
def start_activity_method(
    activity: Callable[..., Awaitable[ResultT]], *, args: Sequence[Any], **config: Unpack[ActivityConfig]
) -> ActivityHandle[ResultT]: ...


@overload
def start_activity_method(
    activity: Callable[..., ResultT], *, args: Sequence[Any] = ..., **config: Unpack[ActivityConfig]
) -> ActivityHandle[ResultT]: ...


def start_activity_method(activity: Any, arg: Any = _MISSING, *, args: Sequence[Any] = (), **config: Any) -> Any:
    """`start_activity` for an activity that is a method, named through its class."""
    return _start(activity, positional(arg, args), config, None)


@overload
async def execute_activity_method(activity: Callable[[SelfT], Awaitable[ResultT]], **config: Unpack[ActivityConfig]) -> ResultT: ...


@overload
async def execute_activity_method(
    activity: Callable[[SelfT, ParamT], Awaitable[ResultT]], arg: ParamT, **config: Unpack[ActivityConfig]
) -> ResultT: ...


@overload
async def execute_activity_method(
    activity: Callable[[SelfT, ParamT], ResultT], arg: ParamT, **config: Unpack[ActivityConfig]
) -> ResultT: ...


@overload
async def execute_activity_method(
    activity: Callable[..., Awaitable[ResultT]], *, args: Sequence[Any], **config: Unpack[ActivityConfig]
) -> ResultT: ...


@overload
async def execute_activity_method(
    activity: Callable[..., ResultT], *, args: Sequence[Any] = ..., **config: Unpack[ActivityConfig]
) -> ResultT: ...


async def execute_activity_method(activity: Any, arg: Any = _MISSING, *, args: Sequence[Any] = (), **config: Any) -> Any:
    """`execute_activity` for an activity that is a method, named through its class."""
    return await _start(activity, positional(arg, args), config, None)


def start_activity_class(
    activity: type, arg: Any = _MISSING, *, args: Sequence[Any] = (), **config: Unpack[ActivityConfig]
) -> ActivityHandle[Any]:
    """`start_activity` for an activity that is a class with a decorated `__call__`."""
    handle: ActivityHandle[Any] = _start(activity, positional(arg, args), config, None)
    return handle


async def execute_activity_class(activity: type, arg: Any = _MISSING, *, args: Sequence[Any] = (), **config: Unpack[ActivityConfig]) -> Any:
    """`execute_activity` for an activity that is a class with a decorated `__call__`."""
    return await _start(activity, positional(arg, args), config, None)
