"""Refuses what differs between a run and its replay: clocks, randomness, files, sockets, processes, threads (design.md 6).

Time-zone data is the one kind of file that may be read.

Two means, both silent outside of an activation: an audit hook for what Python reports by itself, and wrappers for the functions that it
does not report. The error names the replacement. It is not a security border; it catches mistakes.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import functools
import gc
import os
import queue
import random
import re
import secrets
import select
import signal
import sys
import threading
import time
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from typing import Any

from perdure.workflow._errors import RestrictedWorkflowAccessError


class _State(threading.local):
    active = False
    inside = False
    """Whether this thread is in an activation, restricted at the moment or not."""
    first: RestrictedWorkflowAccessError | None = None
    may_wait = True
    """Whether this thread may wait for another one: False for all code of a run, queries too."""


_state = _State()
_installed = False
_lock = threading.Lock()
_wrappers: dict[Any, Callable[..., Any]] = {}

_CLOCK = "use workflow.now(), workflow.time() or workflow.time_ns()"
_RANDOM = "use workflow.random() or workflow.uuid4()"
_ACTIVITY = "do it in an activity (workflow.execute_activity)"
_SLEEP = "use await workflow.sleep() or asyncio.sleep()"
_WAIT = "use await workflow.wait_condition() or asyncio primitives: nothing else runs while workflow code waits for a thread"
_THREAD = "use asyncio tasks, or an activity (workflow.execute_activity)"

_MACHINERY = ("importlib.", "_frozen_importlib")
"""Modules of the interpreter's own import, by the beginning of their names."""

_READERS = frozenset({"linecache", "traceback", "tokenize", "zipimport"})
"""Modules that read source files, to show them."""

_TIME_ZONES = re.compile(r"(zoneinfo|pytz|dateutil\.(tz|zoneinfo))(\.|$)")
"""Modules that read time-zone data."""

_AUDITED = {
    "open": _ACTIVITY,
    "os.": _ACTIVITY,
    "shutil.": _ACTIVITY,
    "tempfile.": _ACTIVITY,
    "glob.": _ACTIVITY,
    "pathlib.": _ACTIVITY,
    "socket.": _ACTIVITY,
    "subprocess.": _ACTIVITY,
    "urllib.": _ACTIVITY,
    "http.": _ACTIVITY,
    "sqlite3.": _ACTIVITY,
    "ftplib.": _ACTIVITY,
    "smtplib.": _ACTIVITY,
    "fcntl.": _ACTIVITY,
    "signal.": _ACTIVITY,
    "time.sleep": _SLEEP,
    "builtins.input": _ACTIVITY,
    "builtins.breakpoint": "set PERDURE_DEBUG and attach a debugger from outside",
}


@contextlib.contextmanager
def unrestricted() -> Iterator[None]:
    """Lift it for a block. Code that waits in such a block may leave it when its run is dropped: that puts nothing back."""
    before, could_wait = _state.active, _state.may_wait
    _state.active, _state.may_wait = False, True
    try:
        yield
    finally:
        _state.active = before and _state.inside
        _state.may_wait = could_wait


@contextlib.contextmanager
def waits_refused() -> Iterator[None]:
    """Refuse to wait for other threads, in a block in which code of a run is called."""
    _state.may_wait = False
    try:
        yield
    finally:
        _state.may_wait = True


def enter() -> None:
    """Refuse from here until `leave`, on this thread."""
    _state.first = None
    _state.active = _state.inside = True


def leave() -> RestrictedWorkflowAccessError | None:
    """End what `enter` began; the first thing that was refused, even if the code caught the error."""
    _state.active = _state.inside = False
    first, _state.first = _state.first, None
    return first


def install(module_names: set[str]) -> None:
    """Put hook and wrappers in place, once per process; and wrappers for originals that the named modules have imported by name."""
    global _installed
    with _lock:
        if not _installed:
            _installed = True
            _wrap_functions()
            _wrap_datetime()
            _wrap_threads()
            _wrap_waits()
            _wrap_unraisable()
            sys.addaudithook(_audit)
    for name in module_names:
        module = sys.modules.get(name)
        if module is not None:
            for attribute, value in list(vars(module).items()):
                try:
                    wrapper = _wrappers.get(value)
                except TypeError:
                    continue
                if wrapper is not None:
                    setattr(module, attribute, wrapper)


def _refuse(what: str, instead: str) -> None:
    error = RestrictedWorkflowAccessError(f"{what} is not allowed in workflow code, because it would differ on replay: {instead}")
    if _state.first is None:
        _state.first = error
    raise error


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _state.active:
        return
    for prefix, instead in _AUDITED.items():
        if event == prefix or (prefix.endswith(".") and event.startswith(prefix)):
            if not _is_machinery() and not (event == "open" and _is_time_zone(*arguments[:2])):
                _refuse(event, instead)
            return


def _is_machinery() -> bool:
    """Whether the interpreter does it for its own needs: importing a module, showing a traceback, or looking up a time zone."""
    frame = sys._getframe(2)  # noqa: SLF001 - the interpreter's own door to the stack
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith(_MACHINERY) or name in _READERS or _TIME_ZONES.match(name):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _is_time_zone(path: object, mode: object) -> bool:
    """Whether time-zone data is read. `ZoneInfo` opens its file from C, so that no frame of its module is on the stack.

    Time-zone data is data of the machine, like the code itself: the deployment pins it (README, "What a deployment pins").
    """
    if not isinstance(path, str) or mode not in ("r", "rb"):
        return False
    place = os.path.normpath(path)
    return any(place.startswith(os.path.join(directory, "")) for directory in zoneinfo.TZPATH)


def _is_logging() -> bool:
    """Whether the standard logging asks: a record's time is not the workflow's doing."""
    return str(sys._getframe(2).f_globals.get("__name__", "")).startswith("logging")  # noqa: SLF001


def _wrap_functions() -> None:
    for module, names, instead in (
        (time, ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "localtime"), _CLOCK),
        (time, ("process_time_ns", "thread_time", "thread_time_ns", "clock_gettime", "clock_gettime_ns"), _CLOCK),
        (time, ("sleep",), _SLEEP),
        (os, ("urandom", "getrandom"), _RANDOM),
        (
            random,
            (
                "random",
                "randint",
                "randrange",
                "uniform",
                "choice",
                "choices",
                "sample",
                "shuffle",
                "getrandbits",
                "randbytes",
                "gauss",
                "seed",
                "triangular",
                "betavariate",
                "binomialvariate",
                "expovariate",
                "gammavariate",
                "lognormvariate",
                "normalvariate",
                "paretovariate",
                "vonmisesvariate",
                "weibullvariate",
                "_urandom",  # what SystemRandom asks
            ),
            _RANDOM,
        ),
        (uuid, ("uuid1", "uuid4", "uuid6", "uuid7", "uuid8"), _RANDOM),
        (select, ("select", "poll", "epoll", "kqueue"), _ACTIVITY),
        (os, ("read", "readv", "pread", "wait", "wait3", "wait4", "waitid", "waitpid"), _ACTIVITY),
        (signal, ("pause", "sigwait", "sigwaitinfo", "sigtimedwait"), _ACTIVITY),
        (secrets, ("token_bytes", "token_hex", "token_urlsafe", "randbelow", "randbits", "choice"), _RANDOM),
    ):
        for name in names:
            if hasattr(module, name):
                _wrap(module, name, instead)
    # With a time these compute; without one they take the clock's.
    for name, arguments_max in (("gmtime", 0), ("ctime", 0), ("asctime", 0), ("strftime", 1)):
        _wrap(time, name, _CLOCK, arguments_max)


def _wrap(module: types.ModuleType, name: str, instead: str, arguments_max: int | None = None) -> None:
    """Refuse a function; with `arguments_max`, only calls with no more arguments than that."""
    original = getattr(module, name)
    what = f"{module.__name__}.{name}()"

    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        if _state.active and (arguments_max is None or len(arguments) <= arguments_max) and not _is_logging():
            _refuse(what, instead)
        return original(*arguments, **keywords)

    wrapper.__name__ = wrapper.__qualname__ = name
    wrapper.__doc__ = original.__doc__
    _wrappers[original] = wrapper
    setattr(module, name, wrapper)


def _wrap_threads() -> None:
    """Python reports no event when a thread starts."""
    original = threading.Thread.start

    def start(self: threading.Thread) -> None:
        if _state.active:
            _refuse("starting a thread", _THREAD)
        original(self)

    threading.Thread.start = start  # type: ignore[method-assign]


def _wrap_waits() -> None:
    """Waits for other threads: they would end only when the watchdog ends the process, because it cannot interrupt them.

    `Condition.wait` is what events, semaphores, barriers, queues and futures of threads wait in. A plain lock that is held is not
    found: its `acquire` is C, and everything uses it.
    """
    _refuse_waiting(threading.Condition, "wait", "waiting for another thread (threading.Condition.wait)")
    _refuse_waiting(threading.Thread, "join", "waiting for a thread to end (Thread.join)")
    (entries,) = gc.get_referents(queue.SimpleQueue.__dict__)
    original = entries["get"]

    def get(self: queue.SimpleQueue[Any], block: bool = True, timeout: float | None = None) -> Any:
        if not _state.may_wait and block and self.empty() and not _is_called_by_logging():
            _refuse("waiting for another thread (queue.SimpleQueue.get)", _WAIT)
        return original(self, block, timeout)

    entries["get"] = get
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(queue.SimpleQueue))


def _refuse_waiting(kind: type, name: str, what: str) -> None:
    original = getattr(kind, name)

    @functools.wraps(original)
    def wrapper(self: Any, timeout: float | None = None) -> Any:
        if not _state.may_wait and not _is_called_by_logging():
            _refuse(what, _WAIT)
        return original(self, timeout)

    setattr(kind, name, wrapper)


def _is_called_by_logging() -> bool:
    """Whether a handler of the standard logging waits, be it for room in a queue."""
    frame = sys._getframe(2)  # noqa: SLF001 - the interpreter's own door to the stack
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("logging"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _wrap_unraisable() -> None:
    """To show what a finalizer raised, the interpreter opens source files. It may be of another run, collected in the midst of this one."""
    original = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        with unrestricted():
            original(unraisable)

    sys.unraisablehook = hook


def _wrap_datetime() -> None:
    """`datetime.now` and its like are methods of types that C made and that cannot be assigned to, and every module has its own reference
    to the type: so the entry in the type's own dictionary is replaced, which is the one place that all of them share."""
    for kind, names in ((datetime.datetime, ("now", "utcnow")), (datetime.date, ("today",))):
        (entries,) = gc.get_referents(kind.__dict__)
        for name in names:
            entries[name] = classmethod(_clock_method(kind, name, kind.__dict__[name]))
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def _clock_method(kind: type, name: str, original: Any) -> Callable[..., Any]:
    what = f"{kind.__name__}.{name}()"

    def method(cls: type, *arguments: Any, **keywords: Any) -> Any:
        if _state.active:
            _refuse(what, _CLOCK)
        return original.__get__(None, cls)(*arguments, **keywords)

    return method
