"""Interrupts a sync function in its thread: CancelledError is thrown between two of its steps (semantics 32)."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any

from perdure.exceptions import CancelledError


class ThreadCall:
    """One call of a sync function. As a context manager it is the shield that holds the exception back."""

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        self._function = function
        self._arguments = arguments
        self._lock = threading.Lock()
        self._thread_id = 0
        self._shields = 0
        self._owed = False

    def run(self) -> Any:
        """Call the function; to be called in its thread."""
        self._thread_id = threading.get_ident()
        try:
            try:
                return self._function(*self._arguments)
            except StopIteration as error:  # a future cannot carry it
                raise RuntimeError("the activity raised StopIteration") from error
            finally:
                self._leave()
        except BaseException:
            # An interrupt that struck inside of `_leave`. There is one at most, so this time it runs through.
            self._leave()
            raise

    def interrupt(self) -> None:
        """Throw CancelledError into the function, once; nothing if it has not begun or has returned."""
        with self._lock:
            if not self._thread_id:
                return
            if self._shields:
                self._owed = True
            else:
                _throw(self._thread_id, CancelledError)

    def __enter__(self) -> None:
        with self._lock:
            self._shields += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._shields -= 1
            is_due = self._owed and not self._shields
            if is_due:
                self._owed = False
        if is_due:
            raise CancelledError

    def _leave(self) -> None:
        """From here on the thread belongs to its pool again; an exception that has not struck yet must not strike there."""
        with self._lock:
            thread_id, self._thread_id = self._thread_id, 0
            if thread_id:
                _throw(thread_id, None)


def _throw(thread_id: int, exception: type[BaseException] | None) -> None:
    what = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), what)
