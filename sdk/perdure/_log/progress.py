"""Notices that a reader stands still although its log goes on (faults A6, A8): a fetch that is never answered, records that were skipped.

It knows offsets and nothing of what they hold. What to do about a stall is the reader's: it begins anew, with a new consumer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from perdure._log.errors import LogUnavailable
from perdure._log.port import EndOffsetsRequest, Log, TopicPartition

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
