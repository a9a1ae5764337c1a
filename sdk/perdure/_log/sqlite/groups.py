"""Groups in the file: members with leases that share out the partitions of a topic (sharing.py), and what they have committed.

A lease runs on the machine's monotonic clock, which all of its processes share and nobody sets. It starts over with the machine:
a lease that would end later than one made now was made before. The death of a member's process ends its lease at once (presence.py).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import apsw

from perdure._log.errors import LogClosed, LogError, LogUnavailable, OffsetOutOfRange, TopicNotFound
from perdure._log.port import DescribedMember, GroupDescription, Record
from perdure._log.sharing import changes
from perdure._log.sqlite import presence
from perdure._log.sqlite.catalog import Catalog
from perdure._log.sqlite.database import Database, transaction
from perdure._log.sqlite.reader import PartitionReader

_LOOK_MS = 50
"""How often a member looks whether its share has changed."""
_RENEW_MS = 1_000
"""How often it renews its lease, or four times per session if that is more often."""


def _elapsed_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class GroupMember:
    """One member of a group, with a connection of its own."""

    def __init__(self, database: Database, group: str, topic: str, session_timeout_ms: int) -> None:
        self.name = f"{os.getpid()}-{uuid.uuid4().hex}"  # who describes the group is told the process
        self.connection = database.connect()
        self.catalog = Catalog(database, self.connection)
        self._presence = presence.Presence(database.path, self.name)
        self._database = database
        self._group = group
        self._topic = topic
        self._session_timeout_ms = session_timeout_ms
        self._renew_at_ms = 0
        self._look_at_ms = 0
        self._partitions = 0
        self._held: dict[int, int] = {}

    def beat(self) -> dict[int, int]:
        """The partitions that this member holds, with their generations. Renews the lease and settles who holds what when due."""
        now_ms = _elapsed_ms()
        if now_ms < self._look_at_ms:
            return self._held
        with self._database.errors():
            if not self._partitions:
                described = self.catalog.describe([self._topic])
                if self._topic not in described:
                    raise TopicNotFound(f"{self._database.url} has no topic {self._topic}; create it first")
                self._partitions = described[self._topic].partitions
            if now_ms >= self._renew_at_ms or self._unsettled(now_ms):
                self._synchronous("NORMAL")  # a lease that a power cut takes is none the less over
                with transaction(self.connection):
                    self._settle(_elapsed_ms())
                self._renew_at_ms = now_ms + min(_RENEW_MS, self._session_timeout_ms // 4)
            self._held = {partition: generation for partition, (holder, generation) in self._holdings().items() if holder == self.name}
        self._look_at_ms = now_ms + _LOOK_MS
        return self._held

    def committed(self, partition: int) -> int | None:
        """The offset that the group has committed."""
        found: int | None = self.connection.execute(
            "SELECT next_offset FROM committed WHERE grp = ? AND partition = ?", (self._group, partition)
        ).get
        return found

    def commit(self, positions: Mapping[int, tuple[int, int]], *, awaited: bool) -> bool:
        """Record offsets, per partition with the generation under which it is held; False if one is no longer held so."""
        with self._database.errors():
            self._synchronous("FULL" if awaited else "NORMAL")
            with transaction(self.connection):
                holdings = self._holdings()
                ours = {p: offset for p, (generation, offset) in positions.items() if holdings.get(p) == (self.name, generation)}
                for partition, offset in ours.items():
                    self.connection.execute("INSERT OR REPLACE INTO committed VALUES (?, ?, ?)", (self._group, partition, offset))
            return len(ours) == len(positions)

    def leave(self) -> None:
        """Give everything up at once and close."""
        try:
            with self._database.errors(), transaction(self.connection):
                self.connection.execute("DELETE FROM member WHERE grp = ? AND name = ?", (self._group, self.name))
                self.connection.execute("UPDATE holding SET member = NULL WHERE grp = ? AND member = ?", (self._group, self.name))
        finally:
            self._presence.leave()
            self.connection.close()

    def _leases(self, now_ms: int) -> dict[str, bool]:
        """Every member in the order in which they joined, and whether its lease still runs."""
        rows: list[Any] = self.connection.execute(
            "SELECT name, session_timeout_ms, lease_until_ms FROM member WHERE grp = ? ORDER BY joined", (self._group,)
        ).fetchall()
        return {
            name: now_ms < until_ms <= now_ms + session_ms and (name == self.name or not presence.is_dead(self._database.path, name))
            for name, session_ms, until_ms in rows
        }

    def _holdings(self) -> dict[int, tuple[str | None, int]]:
        rows: list[Any] = self.connection.execute(
            "SELECT partition, member, generation FROM holding WHERE grp = ?", (self._group,)
        ).fetchall()
        return {partition: (member, generation) for partition, member, generation in rows}

    def _unsettled(self, now_ms: int) -> bool:
        leases = self._leases(now_ms)
        if not all(leases.values()) or self.name not in leases:
            return True
        held = {partition: holder for partition, (holder, _) in self._holdings().items() if holder}
        return any(changes(self.name, self._partitions, list(leases), held))

    def _settle(self, now_ms: int) -> None:
        """Renew the own lease, end those that have run out, give and take. Within a transaction."""
        leases = self._leases(now_ms)
        for name, runs in leases.items():
            if not runs:  # the own one too: who slept through its lease begins anew, behind the others
                self.connection.execute("DELETE FROM member WHERE grp = ? AND name = ?", (self._group, name))
                self.connection.execute("UPDATE holding SET member = NULL WHERE grp = ? AND member = ?", (self._group, name))
                if name != self.name:
                    presence.forget(self._database.path, name)
        self.connection.execute(
            "INSERT INTO member(grp, name, session_timeout_ms, lease_until_ms) VALUES (?1, ?2, ?3, ?4)"
            " ON CONFLICT(grp, name) DO UPDATE SET lease_until_ms = ?4",
            (self._group, self.name, self._session_timeout_ms, now_ms + self._session_timeout_ms),
        )
        if self.name not in leases:
            named: list[Any] = self.connection.execute("SELECT name FROM member").fetchall()
            presence.sweep(self._database.path, {name for (name,) in named})
        members = [name for name, runs in leases.items() if runs]
        if self.name not in members:
            members.append(self.name)
        holdings = self._holdings()
        held = {partition: holder for partition, (holder, _) in holdings.items() if holder}
        gives_up, takes = changes(self.name, self._partitions, members, held)
        for partition in gives_up:
            self.connection.execute("UPDATE holding SET member = NULL WHERE grp = ? AND partition = ?", (self._group, partition))
        for partition in takes:
            self.connection.execute(
                "INSERT INTO holding VALUES (?1, ?2, ?3, 1)"
                " ON CONFLICT(grp, partition) DO UPDATE SET member = ?3, generation = generation + 1",
                (self._group, partition, self.name),
            )

    def _synchronous(self, mode: str) -> None:
        self.connection.execute(f"PRAGMA synchronous={mode}")


def described_group(connection: apsw.Connection, catalog: Catalog, group: str, topic: str) -> GroupDescription:
    """The group's members whose leases run, and its committed offsets. Raises TopicNotFound."""
    catalog.partition_id((topic, 0))
    now_ms = _elapsed_ms()
    held: dict[str, list[int]] = {}
    holdings: list[Any] = connection.execute("SELECT partition, member FROM holding WHERE grp = ? ORDER BY partition", (group,)).fetchall()
    for partition, name in holdings:
        held.setdefault(name, []).append(partition)
    members: list[Any] = connection.execute(
        "SELECT name, session_timeout_ms, lease_until_ms FROM member WHERE grp = ? ORDER BY joined", (group,)
    ).fetchall()
    committed: list[Any] = connection.execute("SELECT partition, next_offset FROM committed WHERE grp = ?", (group,)).fetchall()
    return GroupDescription(
        tuple(
            DescribedMember(name, socket.gethostname(), tuple(held.get(name, ())), now_ms - (until_ms - session_ms))
            for name, session_ms, until_ms in members
            if now_ms < until_ms <= now_ms + session_ms
        ),
        dict(committed),
    )


class SqliteMembership:
    """A member that leads."""

    def __init__(self, database: Database, group: str, topic: str, session_timeout_ms: int) -> None:
        self._member = GroupMember(database, group, topic, session_timeout_ms)
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
        if not self._left:
            self._left = True
            self._member.leave()


@dataclass(frozen=True, slots=True)
class _Share:
    generation: int
    begin: int
    backlog_end: int


class SqliteGroupConsumer:
    """A member that reads."""

    def __init__(self, database: Database, group: str, topic: str, session_timeout_ms: int) -> None:
        self._database = database
        self._ear = database.ear()
        self._topic = topic
        self._member = GroupMember(database, group, topic, session_timeout_ms)
        self._reader = PartitionReader(self._member.connection, self._member.catalog)
        self._shares: dict[int, _Share] = {}
        self._uncommitted: dict[int, int] = {}
        self._paused = False
        self._closed = False

    def poll(self, records_max: int, timeout_ms: int) -> list[Record]:
        """See GroupConsumer."""
        self._check_open()
        deadline = time.monotonic() + timeout_ms / 1000
        with self._database.errors():
            while True:
                self._take_over(self._member.beat())
                records = [] if self._paused else self._take(records_max)
                if records:
                    self._ear.rest()
                    return records
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return []
                self._ear.wait(left_s)

    def backlog_end(self, partition: int) -> int:
        """See GroupConsumer."""
        return self._shares[partition].backlog_end

    @property
    def begins(self) -> dict[int, int]:
        """See GroupConsumer."""
        return {partition: share.begin for partition, share in self._shares.items()}

    def positions(self) -> dict[int, int]:
        """See GroupConsumer."""
        return {partition: self._reader.position((self._topic, partition)) for partition in self._shares}

    def commit(self, positions: Mapping[int, int]) -> None:
        """See GroupConsumer."""
        self._check_open()
        self._uncommitted.update(positions)
        try:
            self._commit(self._uncommitted, awaited=False)
        except LogUnavailable:
            return  # goes with the next one
        self._uncommitted.clear()

    def commit_now(self, positions: Mapping[int, int]) -> bool:
        """See GroupConsumer."""
        self._check_open()
        try:
            recorded = self._commit(positions, awaited=True)
        except LogUnavailable:
            return False
        for partition in positions:  # what waits to be recorded is older
            self._uncommitted.pop(partition, None)
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
            self._ear.close()
            with contextlib.suppress(LogError):  # the lease runs out by itself
                self._member.leave()

    def _commit(self, positions: Mapping[int, int], *, awaited: bool) -> bool:
        known = {p: (self._shares[p].generation, offset) for p, offset in positions.items() if p in self._shares}
        recorded = not known or self._member.commit(known, awaited=awaited)
        return recorded and len(known) == len(positions)

    def _take_over(self, held: Mapping[int, int]) -> None:
        for partition in [p for p, share in self._shares.items() if held.get(p) != share.generation]:
            del self._shares[partition]
            self._uncommitted.pop(partition, None)
            self._reader.remove((self._topic, partition))
        for partition, generation in held.items():
            if partition not in self._shares:
                where = (self._topic, partition)
                extent = self._member.catalog.extents([where])[where]
                begin = max(extent.start_offset, self._member.committed(partition) or 0)
                self._shares[partition] = _Share(generation, begin, extent.next_offset)
                self._reader.add(where, begin)

    def _take(self, records_max: int) -> list[Record]:
        try:
            return self._reader.take(records_max)
        except OffsetOutOfRange as error:
            where = (error.topic, error.partition)  # truncated meanwhile: what is gone needs no delivery
            self._reader.add(where, self._member.catalog.extents([where])[where].start_offset)
            return []

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed(f"{self._database.url}: the group consumer is closed")
