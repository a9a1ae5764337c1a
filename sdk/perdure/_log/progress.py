"""Notices that a reader stands still although its log goes on (faults A6, A8): a fetch that is never answered, records that were skipped.

It knows offsets and nothing of what they hold. What to do about a stall is the reader's: it begins anew, with a new consumer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from perdure._log.errors import LogUnavailable
from perdure._log.port import EndOffsetsRequest, Log, TopicPartition

GAP_READINGS = 5
"""A reader that skips may do so again where it is begun anew; what so many readings do not find is not in the log."""
LOOK_MS = 5_000
"""Between two looks at the ends; who stands at one place over two of them, with records behind it, is stalled."""


class ProgressWatch:
    """Compares positions with end offsets, one request for all of them at a time."""

    def __init__(self, log: Log, monotonic_ms: Callable[[], float]) -> None:
        self._log = log
        self._monotonic_ms = monotonic_ms
        self._look_at_ms = monotonic_ms() + LOOK_MS
        self._request: EndOffsetsRequest | None = None
        self._asked: dict[TopicPartition, int] = {}
        self._behind: dict[TopicPartition, int] = {}

    def stalled(self, positions: Callable[[], Mapping[TopicPartition, int]]) -> list[TopicPartition]:
        """Where reading stands still, told once. `positions` says what is read, and from where it goes on; called when it is needed."""
        if self._request is None:
            if self._monotonic_ms() >= self._look_at_ms:
                self._asked = dict(positions())
                self._request = self._log.request_end_offsets(list(self._asked))
            return []
        try:
            ends = self._request.result()
        except LogUnavailable:
            ends = {}
        if ends is None:
            return []
        self._request = None
        self._look_at_ms = self._monotonic_ms() + LOOK_MS
        now = positions()
        behind = {place: at for place, at in self._asked.items() if now.get(place) == at < ends.get(place, 0)}
        still = [place for place, at in behind.items() if self._behind.get(place) == at]
        self._behind = {} if still else behind  # a new consumer gets its time
        return still


class GapReadings:
    """How often offsets were found missing at the same place; what `readings` in a row say is believed."""

    def __init__(self, readings: int = GAP_READINGS) -> None:
        self._needed = readings
        self._at = -1
        self._readings = 0

    def is_believed(self, expected: int) -> bool:
        """Note that `expected` was missing once more; whether it is not in the log."""
        self._readings = self._readings + 1 if expected == self._at else 1
        self._at = expected
        return self._readings >= self._needed
