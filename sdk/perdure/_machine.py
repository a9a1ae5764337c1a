"""What a connection takes from the machine it runs on besides the log: time that passes, chance, and threads.

A thread is a step that is repeated. What the steps do is known where they are written; who repeats them, and when, is decided here, or
by a simulation that gives a Machine of its own.
"""

from __future__ import annotations

import math
import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Step = Callable[[], float | None]
"""Does what there is to do. Returns the seconds that it may rest unless it is woken (UNTIL_WOKEN: for ever), or None: it is over."""

UNTIL_WOKEN = math.inf


class Repeated(Protocol):
    """A step that somebody repeats."""

    def start(self) -> None:
        """Begin."""

    def wake(self) -> None:
        """End a rest, or leave out the next one; from any thread."""

    def join(self, timeout_s: float) -> None:
        """Wait until the step is over, at most so long; at once if it never began."""


class StepThread:
    """Repeats a step on a thread of its own."""

    def __init__(self, step: Step, name: str) -> None:
        self._step = step
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """See Repeated."""
        self._thread.start()

    def wake(self) -> None:
        """See Repeated."""
        if not self._woken.is_set():
            self._woken.set()

    def join(self, timeout_s: float) -> None:
        """See Repeated."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (rest_s := self._step()) is not None:
            if rest_s > 0:
                self._woken.wait(None if rest_s == UNTIL_WOKEN else rest_s)
            self._woken.clear()  # before the step looks at what it was woken for


def _new_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Machine:
    """`chance` gives a number from 0 to below 1, `new_id` a name that nobody else has, `repeat` the thread for a step and its name."""

    monotonic_s: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    new_id: Callable[[], str] = _new_id
    repeat: Callable[[Step, str], Repeated] = StepThread


THIS_MACHINE = Machine()
