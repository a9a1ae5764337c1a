"""Interrupts workflow code that loops (design.md 5): one thread, which looks at the activation that runs now.

The interrupt is an exception raised inside of the code's thread, so it reaches loops in Python but not calls that block in C. After
twice the limit the log says which run does not react and where its code stands. After ten times the limit the process is ended, because
an owner that cannot turn must lose its partitions; the next owner tries that run apart from the others (faults.md R14).
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

_logger = logging.getLogger("perdure.workflow")
_monotonic = time.monotonic
_sleep = time.sleep

UNRESPONSIVE_FACTOR = 2
"""Number of limits after which code that was interrupted and still runs is named in the log."""

STUCK_FACTOR = 10
"""Number of limits after which the process ends."""

STACK_FRAMES = 12
"""Number of innermost frames of the code's stack that are told."""

LOG_TIMEOUT_S = 1.0
"""Timeout of writing to the log, whose lock the stuck code may hold, in seconds."""

EXIT_CODE = 70
"""Exit code of a process that ends because of code that cannot be interrupted."""


class ActivationInterrupted(BaseException):
    """Raised inside of code that ran for too long."""


def end_process(what: str) -> None:
    """What happens to code that cannot be interrupted. Writes past Python's buffers, whose locks the code may hold."""
    line = f"perdure: {what} cannot be interrupted; the process ends so that other owners take over\n"
    os.write(2, line.encode("utf-8", "replace"))
    os._exit(EXIT_CODE)


class Watchdog:
    """Watches one activation at a time. `timeout_ms` 0 switches it off."""

    def __init__(self, timeout_ms: int, on_stuck: Callable[[str], None] = end_process) -> None:
        self.timeout_ms = timeout_ms
        self._on_stuck = on_stuck
        self._lock = threading.Lock()
        self._began: float | None = None
        self._thread_id = 0
        self._what = ""
        self._fired = False
        self._is_told = False
        self.stood_at = ""
        """Where the code stood that was interrupted last: file, line and function."""
        self._thread: threading.Thread | None = None

    def begin(self, what: str) -> None:
        """An activation starts on this thread."""
        if not self.timeout_ms:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="perdure-watchdog", daemon=True)
            self._thread.start()
        with self._lock:
            self._thread_id = threading.get_ident()
            self._what = what
            self._fired = self._is_told = False
            self._began = _monotonic()

    def end(self) -> bool:
        """The activation is over, whether or not it was interrupted; an interrupt that has not reached it yet is taken back."""
        with self._lock:
            self._began = None
            fired, self._fired = self._fired, False
            if fired:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread_id), None)
        return fired

    def _watch(self) -> None:
        nap = max(0.01, self.timeout_ms / 1000 / 8)
        while True:
            _sleep(nap)
            with self._lock:
                if self._began is None:
                    continue
                ran_ms = (_monotonic() - self._began) * 1000
                what, thread_id = self._what, self._thread_id
                if ran_ms > self.timeout_ms and not self._fired:
                    self._fired = True
                    self.stood_at = _stood_at(thread_id)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(ActivationInterrupted))
                is_unresponsive = ran_ms > self.timeout_ms * UNRESPONSIVE_FACTOR and not self._is_told
                self._is_told = self._is_told or is_unresponsive
                stuck = ran_ms > self.timeout_ms * STUCK_FACTOR
            if is_unresponsive or stuck:
                self._tell(what, thread_id, stuck=stuck)
            if stuck:
                self._on_stuck(what)
                return

    def _tell(self, what: str, thread_id: int, *, stuck: bool) -> None:
        """Log which code it is and where it stands, elsewhere: the code may hold the log's lock."""
        after_ms = self.timeout_ms * (STUCK_FACTOR if stuck else UNRESPONSIVE_FACTOR)
        then = "the process ends now" if stuck else f"the process ends if that takes {self.timeout_ms * STUCK_FACTOR} ms"
        advice = "Code must not wait for threads or block in C; do that in an activity"
        message = "%s: its code has kept its thread for more than %d ms and does not react to an interrupt; %s. %s. It stands at:\n%s"
        arguments = (message, what, after_ms, then, advice, _stack(thread_id))
        telling = threading.Thread(target=_logger.critical if stuck else _logger.error, args=arguments, daemon=True)
        telling.start()
        telling.join(LOG_TIMEOUT_S)


def _stood_at(thread_id: int) -> str:
    frame = sys._current_frames().get(thread_id)  # noqa: SLF001 - the interpreter's own door to the stack
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}" if frame is not None else ""


def _stack(thread_id: int) -> str:
    frame = sys._current_frames().get(thread_id)  # noqa: SLF001 - see above
    return "".join(traceback.format_stack(frame)[-STACK_FRAMES:]).rstrip() if frame is not None else ""
