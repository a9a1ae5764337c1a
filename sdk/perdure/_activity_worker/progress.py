"""How far each partition of a queue's topic is done: pure bookkeeping, owned by the thread that polls.

An offset is committed only when everything up to it is settled: started or finished in the log's sight, dropped, or set aside.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class _Taken:
    """Taken from `begin` on. The offsets from `first` to before `end` are here; those in `settled` wait only for earlier ones."""

    begin: int
    first: int
    end: int
    settled: set[int] = field(default_factory=set)


class Progress:
    """Contiguous prefixes of settled offsets, by partition."""

    def __init__(self) -> None:
        self._partitions: dict[int, _Taken] = {}
        self._moved: set[int] = set()
        self._sent: set[int] = set()

    def take(self, partition: int, offset: int) -> bool:
        """A record was delivered. False if it does not follow the one before.

        Then the partition has been another member's meanwhile, and what was taken from it before is no longer this one's to commit.
        """
        taken = self._partitions.get(partition)
        if taken is not None and taken.end == offset:
            taken.end += 1
            return True
        self.forget(partition)
        self._partitions[partition] = _Taken(offset, offset, offset + 1)
        return taken is None

    def next_of(self, partition: int) -> int | None:
        """The offset that follows what was taken; None if nothing was."""
        taken = self._partitions.get(partition)
        return None if taken is None else taken.end

    def settle(self, partition: int, offset: int) -> None:
        """The record needs no other delivery. Offsets that are not here any more are ignored."""
        taken = self._partitions.get(partition)
        if taken is None or not taken.first <= offset < taken.end:
            return
        taken.settled.add(offset)
        while taken.first in taken.settled:
            taken.settled.remove(taken.first)
            taken.first += 1
            self._moved.add(partition)

    def has_passed(self, partition: int, offset: int) -> bool:
        """Whether the record and all that were taken before it are settled."""
        taken = self._partitions.get(partition)
        return taken is not None and taken.begin <= offset < taken.first

    def has(self, partition: int, offset: int) -> bool:
        """Whether the record was taken, and its partition not forgotten since."""
        taken = self._partitions.get(partition)
        return taken is not None and taken.begin <= offset < taken.end

    def forget(self, partition: int) -> None:
        """The partition is another member's."""
        self._partitions.pop(partition, None)
        self._moved.discard(partition)
        self._sent.discard(partition)

    def moved(self) -> dict[int, int]:
        """What is to be committed: the partitions whose prefix has grown since `sent` or `committed`, and to where."""
        return {partition: self._partitions[partition].first for partition in self._moved}

    def unconfirmed(self) -> dict[int, int]:
        """What is not known to be committed: the same, and what was only `sent`."""
        return {partition: self._partitions[partition].first for partition in self._moved | self._sent}

    def sent(self) -> None:
        """A commit of what `moved` returned is on its way; nobody hears what becomes of it."""
        self._sent |= self._moved
        self._moved.clear()

    def committed(self) -> None:
        """What `unconfirmed` returned is committed."""
        self._moved.clear()
        self._sent.clear()
