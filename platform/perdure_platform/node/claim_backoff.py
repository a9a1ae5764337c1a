"""How long an owner waits before it claims a partition again (design.md 3.1)."""

from __future__ import annotations

from collections.abc import Callable


class ClaimBackoff:
    """Waits from `first_ms` on, doubled with each loss up to `max_ms`, with jitter. Who has led for `max_ms` begins anew.

    A process keeps one for each partition it was ever told to lead: a membership that flaps makes nobody forget that he has a rival (C5).
    """

    def __init__(self, first_ms: int, max_ms: int, monotonic_ms: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._first_ms = first_ms
        self._max_ms = max_ms
        self._monotonic_ms = monotonic_ms
        self._jitter = jitter
        self._losses = 0
        self._until_ms = 0.0

    def wait_ms(self) -> float:
        """How long to wait from now on, in milliseconds; 0.0 if one may claim."""
        return max(0.0, self._until_ms - self._monotonic_ms())

    def led(self, led_ms: float) -> None:
        """Leading has ended after so many milliseconds, in whatever way."""
        if led_ms >= self._max_ms:
            self._losses = 0

    def lost(self) -> None:
        """A claim was lost, or could not be made."""
        wait_ms = min(self._first_ms * 2**self._losses, self._max_ms)
        self._losses = min(self._losses + 1, 16)
        self._until_ms = self._monotonic_ms() + wait_ms * (0.5 + self._jitter() / 2)
