"""Partition time: append time of the last record read back + monotonic time since, and never back (design.md 3.9, R13)."""

from __future__ import annotations

from collections.abc import Callable


class PartitionClock:
    """`monotonic_ms` is any clock that only counts forward."""

    def __init__(self, monotonic_ms: Callable[[], float], start_ms: int) -> None:
        self._monotonic_ms = monotonic_ms
        self._base_ms = float(start_ms)
        self._at_ms = monotonic_ms()
        self._ahead_ms = 0.0

    def observe(self, append_time_ms: int) -> None:
        """A record was read back. If the log's clock is behind this one, this one runs at half speed until the log has caught up:
        a jump forward that was taken back then neither freezes time nor leaves it ahead for ever."""
        now_ms = self._exact_ms()
        self._at_ms = self._monotonic_ms()
        self._ahead_ms = max(0.0, now_ms - append_time_ms)
        self._base_ms = max(now_ms, float(append_time_ms))

    def now_ms(self) -> int:
        """Partition time."""
        return int(self._exact_ms())

    def _exact_ms(self) -> float:
        elapsed_ms = self._monotonic_ms() - self._at_ms
        slowed_ms = min(elapsed_ms, 2 * self._ahead_ms)
        return self._base_ms + elapsed_ms - slowed_ms / 2
