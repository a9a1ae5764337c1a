"""How far each partition of the queue's topic is done.

A task's offset is committed only when its start, its result or its drop is settled.
"""

from __future__ import annotations

from collections import deque


class Progress:
    """Contiguous prefixes of settled offsets, by partition."""

    def __init__(self) -> None:
        self._taken: dict[int, deque[int]] = {}
        self._settled: dict[int, set[int]] = {}

    def take(self, partition: int, offset: int) -> bool:
        """A task was delivered; False if it is here already."""
        taken = self._taken.setdefault(partition, deque())
        if taken and offset <= taken[-1]:
            return offset not in taken and self._behind(partition, offset)
        taken.append(offset)
        return True

    def _behind(self, partition: int, offset: int) -> bool:
        """The partition came back to this member, from an earlier position: start over from there."""
        self._taken[partition] = deque([offset])
        self._settled[partition] = set()
        return True

    def position_behind(self, partition: int, offset: int) -> int | None:
        """What to commit so that the task is not delivered again; None while an earlier one is unsettled."""
        taken = self._taken.get(partition)
        if taken and taken[0] <= offset:
            return None
        return taken[0] if taken else offset + 1

    def settle(self, partition: int, offset: int) -> int | None:
        """The task needs no other delivery; the offset to commit, if the prefix has grown."""
        taken = self._taken.get(partition)
        if taken is None or offset not in taken:
            return None
        settled = self._settled.setdefault(partition, set())
        settled.add(offset)
        position = None
        while taken and taken[0] in settled:
            settled.discard(taken[0])
            position = taken.popleft() + 1
        return position
