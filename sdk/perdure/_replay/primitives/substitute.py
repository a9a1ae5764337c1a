"""Puts Perdure's groups, waits, deadlines and locks in the place of asyncio's, for runs that began with them.

A class of asyncio makes an instance of Perdure's subclass where a workflow loop runs. So every reference to the class works, and every
subclass of a user. A function of asyncio is replaced by one that looks which loop runs, in asyncio and wherever it was imported by name.
"""

# ruff: noqa: SLF001 - what runs now is behind asyncio's underscored names

from __future__ import annotations

import asyncio
import asyncio.tasks
import functools
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

from perdure._replay.loop import WorkflowLoop
from perdure._replay.primitives.deadlines import Timeout, wait_for
from perdure._replay.primitives.groups import TaskGroup, gather
from perdure._replay.primitives.locks import Condition, Semaphore
from perdure._replay.primitives.order import TaskSet
from perdure._replay.primitives.waiting import as_completed, wait

_CLASSES: dict[type, type] = {
    asyncio.TaskGroup: TaskGroup,
    asyncio.Timeout: Timeout,
    asyncio.Semaphore: Semaphore,
    asyncio.Condition: Condition,
}
_VARIANT = "_perdure_variant"
_lock = threading.Lock()
_installed = False


def install() -> None:
    """Do it, once per process."""
    global _installed
    with _lock:
        if _installed:
            return
        _installed = True
        for theirs, ours in _CLASSES.items():
            _dispatch_class(theirs, ours)
        dispatchers = {
            id(theirs): dispatcher
            for theirs, dispatcher in (
                (asyncio.wait, _coroutine_dispatcher(asyncio.wait, wait)),
                (asyncio.wait_for, _coroutine_dispatcher(asyncio.wait_for, wait_for)),
                (asyncio.as_completed, _dispatcher(asyncio.as_completed, as_completed)),
                (asyncio.gather, _dispatcher(asyncio.gather, gather)),
                (asyncio.all_tasks, _all_tasks_dispatcher(asyncio.all_tasks)),
            )
        }
        for module in list(sys.modules.values()):
            _replace(module, dispatchers)


def _is_ours() -> bool:
    """Whether the code that runs belongs to a run that began with these."""
    loop = asyncio._get_running_loop()
    return isinstance(loop, WorkflowLoop) and loop.is_by_creation


def _replace(module: Any, dispatchers: dict[int, Callable[..., Any]]) -> None:
    """Modules that are imported later find the dispatchers in asyncio. `dispatchers` are by the identity of asyncio's functions."""
    for name, value in list(getattr(module, "__dict__", {}).items()):
        dispatcher = dispatchers.get(id(value))
        if dispatcher is not None:
            setattr(module, name, dispatcher)


def _dispatcher(theirs: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(theirs)
    def dispatch(*arguments: Any, **keywords: Any) -> Any:
        return (ours if _is_ours() else theirs)(*arguments, **keywords)

    return dispatch


def _coroutine_dispatcher(theirs: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(theirs)
    async def dispatch(*arguments: Any, **keywords: Any) -> Any:
        return await (ours if _is_ours() else theirs)(*arguments, **keywords)

    return dispatch


def _all_tasks_dispatcher(theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Tasks of workflows are known to their loop, and not to asyncio (see WorkflowTask)."""

    @functools.wraps(theirs)
    def dispatch(loop: asyncio.AbstractEventLoop | None = None) -> Any:
        asked = loop if loop is not None else asyncio.get_running_loop()
        return TaskSet(asked.open_tasks()) if isinstance(asked, WorkflowLoop) else theirs(asked)

    return dispatch


def _dispatch_class(theirs: type, ours: type) -> None:
    def new(cls: type, *_: Any, **__: Any) -> Any:
        return object.__new__(_variant(cls, theirs, ours) if _is_ours() else cls)

    theirs.__new__ = staticmethod(new)  # type: ignore[assignment]  # as loose as asyncio's own


def _variant(cls: type, theirs: type, ours: type) -> type:
    """`cls`, with what it takes from asyncio's class taken from Perdure's."""
    if cls is theirs:
        return ours
    if issubclass(cls, ours):
        return cls
    variant: type | None = cls.__dict__.get(_VARIANT)
    if variant is None:
        variant = types.new_class(cls.__name__, (cls, ours), exec_body=lambda body: body.update({"__module__": cls.__module__}))
        variant.__qualname__ = cls.__qualname__
        setattr(cls, _VARIANT, variant)
    return variant
