"""When each partition of a process is to take its next turn, if nothing comes for it before."""

from __future__ import annotations

import heapq


class WakeTimes:
    """Times by partition. A partition has one, the last that was put; what is taken is gone until it is put again."""

    def __init__(self) -> None:
        self._at_ms: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    def put(self, partition: int, at_ms: float) -> None:
        """Its next turn is at `at_ms` at the latest."""
        if self._at_ms.get(partition) != at_ms:
            self._at_ms[partition] = at_ms
            heapq.heappush(self._heap, (at_ms, partition))
            if len(self._heap) > 2 * len(self._at_ms) + 16:
                self._heap = [(at_ms, partition) for partition, at_ms in self._at_ms.items()]
                heapq.heapify(self._heap)

    def forget(self, partition: int) -> None:
        """It takes no turns any more."""
        self._at_ms.pop(partition, None)

    def take(self, now_ms: float) -> set[int]:
        """Whose time has come."""
        taken: set[int] = set()
        while self._heap and self._heap[0][0] <= now_ms:
            at_ms, partition = heapq.heappop(self._heap)
            if self._at_ms.get(partition) == at_ms:
                del self._at_ms[partition]
                taken.add(partition)
        return taken

    def next_ms(self) -> float | None:
        """The earliest of them."""
        while self._heap and self._at_ms.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
