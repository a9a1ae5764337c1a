"""Which runs are due: the near end of the store's due-time index, in memory, with what is decided and not yet stored.

An entry says only that a run may be due. What is due, and whether it may fire, is `transition/deadlines.py`'s to say.
"""

from __future__ import annotations

import heapq

from perdure_platform.partition.transition.state import FAR_AHEAD_MS
from perdure_platform.store.tables import Tables


class DueRuns:
    """A window onto the due-time index. `window_max` bounds what is read at once; deadlines behind the window stay in the store."""

    def __init__(self, store_tables: Tables, window_max: int) -> None:
        self._tables = store_tables
        self._window_max = window_max
        self._heap: list[tuple[int, str]] = []
        self._queued: dict[str, int] = {}
        self._horizon_ms = 0
        self._refill()

    def add(self, workflow_id: str, due_ms: int) -> None:
        """The current run of `workflow_id` may be due then. Deadlines behind the window are left to the store."""
        if not due_ms or due_ms > self._horizon_ms:
            return
        known = self._queued.get(workflow_id)
        if known is not None and known <= due_ms:
            return
        self._queued[workflow_id] = due_ms
        heapq.heappush(self._heap, (due_ms, workflow_id))

    def look_again(self, workflow_id: str, at_ms: int) -> None:
        """Look at the run at `at_ms` at the latest, although the store has no deadline of it there: behind the window nobody would."""
        self.add(workflow_id, min(at_ms, self._horizon_ms))

    def take(self, now_ms: int) -> list[str]:
        """Workflow ids that may be due, in due order, each once; they must be added again if they are due later."""
        due: list[str] = []
        while True:
            while self._heap and self._heap[0][0] <= now_ms:
                due_ms, workflow_id = heapq.heappop(self._heap)
                if self._queued.get(workflow_id) == due_ms:
                    del self._queued[workflow_id]
                    due.append(workflow_id)
            if now_ms < self._horizon_ms:
                return list(dict.fromkeys(due))  # a window ends within a millisecond, and the next begins with that millisecond again
            self._refill()

    def next_ms(self) -> int:
        """When somebody may be due next."""
        return min(self._heap[0][0] if self._heap else FAR_AHEAD_MS, self._horizon_ms)

    def _refill(self) -> None:
        """Read on from the horizon. Entries that are not stored yet come by `add` when they are confirmed."""
        start_ms = self._horizon_ms
        self._horizon_ms = FAR_AHEAD_MS
        for count, (due_ms, workflow_id, _) in enumerate(self._tables.due(start_ms)):
            if count >= self._window_max and due_ms > start_ms:
                self._horizon_ms = due_ms
                break
            self.add(workflow_id, due_ms)
