"""Members of the groups of the log in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perdure._log.errors import LogClosed, OffsetOutOfRange, TopicNotFound
from perdure._log.memory.medium import MemoryMedium
from perdure._log.memory.sessions import Group
from perdure._log.port import Record

_CHECK_MS = 50
"""How often a waiting member of a group looks whether its share has changed."""


class _Member:
    def __init__(self, medium: MemoryMedium, group: str, topic: str, session_timeout_ms: int) -> None:
        self.name = f"member-{next(medium.numbers):06}"
        self._medium = medium
        self._topic = topic
        self._session_timeout_ms = session_timeout_ms
        with medium.changed:
            self.group = medium.groups.setdefault(group, Group())

    def beat(self) -> dict[int, int]:
        described = self._medium.describe([self._topic])
        if self._topic not in described:
            raise TopicNotFound(f"{self._medium.url} has no topic {self._topic}; create it first")
        with self._medium.changed:
            return self.group.beat(self.name, self._session_timeout_ms, described[self._topic].partitions, self._medium.monotonic_ms())

    def leave(self) -> None:
        with self._medium.changed:
            self.group.leave(self.name)
            self._medium.changed.notify_all()


class MemoryMembership:
    """A member that leads."""

    def __init__(self, medium: MemoryMedium, group: str, topic: str, session_timeout_ms: int) -> None:
        self._member = _Member(medium, group, topic, session_timeout_ms)
        self._left = False

    def poll(self) -> frozenset[int]:
        """See Membership."""
        if self._left:
            raise LogClosed("this member has left its group")
        return frozenset(self._member.beat())

    def show(self, positions: Mapping[int, int]) -> None:
        """See Membership: there are no such tools."""

    def leave(self) -> None:
        """See Membership."""
        self._left = True
        self._member.leave()


@dataclass(slots=True)
class _Share:
    generation: int
    begin: int
    position: int
    backlog_end: int


class MemoryGroupConsumer:
    """A member that reads."""

    def __init__(self, medium: MemoryMedium, group: str, topic: str, session_timeout_ms: int) -> None:
        self._medium = medium
        self._topic = topic
        self._member = _Member(medium, group, topic, session_timeout_ms)
        self._shares: dict[int, _Share] = {}
        self._paused = False
        self._closed = False

    def poll(self, records_max: int, timeout_ms: int) -> list[Record]:
        """See GroupConsumer."""
        if self._closed:
            raise LogClosed("the group consumer is closed")
        left_ms = timeout_ms
        with self._medium.changed:
            while True:
                self._take_over(self._member.beat())
                records = self._take(records_max)
                if records or left_ms <= 0:
                    return records
                self._medium.wait(self._has_news, min(left_ms, _CHECK_MS))
                left_ms -= _CHECK_MS

    def backlog_end(self, partition: int) -> int:
        """See GroupConsumer."""
        return self._shares[partition].backlog_end

    @property
    def begins(self) -> dict[int, int]:
        """See GroupConsumer."""
        return {partition: share.begin for partition, share in self._shares.items()}

    def positions(self) -> dict[int, int]:
        """See GroupConsumer."""
        return {partition: share.position for partition, share in self._shares.items()}

    def commit(self, positions: Mapping[int, int]) -> None:
        """See GroupConsumer."""
        self.commit_now(positions)

    def commit_now(self, positions: Mapping[int, int]) -> bool:
        """See GroupConsumer."""
        if self._closed:
            raise LogClosed("the group consumer is closed")
        group, recorded = self._member.group, True
        with self._medium.changed:
            for partition, offset in positions.items():
                share = self._shares.get(partition)
                if share and group.held.get(partition) == self._member.name and group.generations[partition] == share.generation:
                    group.committed[partition] = offset
                else:
                    recorded = False
        return recorded

    def pause(self) -> None:
        """See GroupConsumer."""
        self._paused = True

    def resume(self) -> None:
        """See GroupConsumer."""
        self._paused = False

    def close(self) -> None:
        """See GroupConsumer."""
        if not self._closed:
            self._closed = True
            self._member.leave()

    def _take_over(self, held: dict[int, int]) -> None:
        shares = {}
        for partition, generation in held.items():
            known = self._shares.get(partition)
            if known is None or known.generation != generation:
                start, end = self._medium.bounds(self._topic, partition)
                position = max(start, self._member.group.committed.get(partition, start))
                known = _Share(generation, position, position, end)
            shares[partition] = known
        # In the order of the last visit, so that a busy partition cannot starve the others.
        order = [partition for partition in self._shares if partition in shares]
        self._shares = {partition: shares[partition] for partition in (*order, *(p for p in shares if p not in order))}

    def _has_news(self) -> bool:
        if self._paused:
            return False
        return any(share.position < self._medium.bounds(self._topic, partition)[1] for partition, share in self._shares.items())

    def _take(self, records_max: int) -> list[Record]:
        taken: list[Record] = []
        if self._paused:
            return taken
        for partition in list(self._shares):
            if len(taken) >= records_max:
                break
            share = self._shares[partition]
            try:
                records = self._medium.read(self._topic, partition, share.position, records_max - len(taken))
            except OffsetOutOfRange:
                share.position = self._medium.bounds(self._topic, partition)[0]  # truncated meanwhile: what is gone needs no delivery
                records = self._medium.read(self._topic, partition, share.position, records_max - len(taken))
            if records:
                taken += records
                share.position = records[-1].offset + 1
                self._shares[partition] = self._shares.pop(partition)
        return taken
