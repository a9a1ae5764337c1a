"""Interrupts workflow code that loops (design.md 5): one thread, which looks at the activation that runs now.

The interrupt is an exception raised inside of the code's thread, so it reaches loops in Python but not calls that block in C; after ten
times the limit the process is ended instead, because an owner that cannot turn must lose its partitions.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable

_monotonic = time.monotonic
_sleep = time.sleep

STUCK_FACTOR = 10


class ActivationInterrupted(BaseException):
    """Raised inside of code that ran for too long."""


def end_process(what: str) -> None:
    """What happens to code that cannot be interrupted."""
    print(f"perdure: {what} cannot be interrupted; the process ends so that other owners take over", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(70)


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
            self._fired = False
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
                what = self._what
                if ran_ms > self.timeout_ms and not self._fired:
                    self._fired = True
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread_id), ctypes.py_object(ActivationInterrupted))
                stuck = ran_ms > self.timeout_ms * STUCK_FACTOR
            if stuck:
                self._on_stuck(what)
                return
