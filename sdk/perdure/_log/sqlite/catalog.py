"""The topics and partitions in the file: made, found, described, trimmed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import apsw

from perdure._log.errors import OffsetOutOfRange, TopicNotFound
from perdure._log.port import TopicDescription, TopicPartition
from perdure._log.sqlite.batches import batch_id
from perdure._log.sqlite.database import Database, transaction
from perdure_schemas.topics import TopicSpec

_DELETED_AT_ONCE = 500
"""Batches per transaction of a deletion, so that appends are not held up by a long one."""


class Extent(NamedTuple):
    """What a partition holds."""

    partition_id: int
    start_offset: int
    next_offset: int
    timestamp_ms: int


class Catalog:
    """Finds partitions by name on one connection. Belongs to that connection's thread; topics are never deleted, so ids stay."""

    def __init__(self, database: Database, connection: apsw.Connection) -> None:
        self._database = database
        self._connection = connection
        self._ids: dict[TopicPartition, int] = {}

    def partition_id(self, where: TopicPartition) -> int:
        """The partition's number. Raises TopicNotFound."""
        found = self._ids.get(where)
        if found is None:
            found = self._connection.execute(
                "SELECT partition.id FROM partition JOIN topic ON topic.id = partition.topic WHERE name = ? AND partition = ?", where
            ).get
            if found is None:
                raise TopicNotFound(f"{self._database.url} has no {where[0]}[{where[1]}]; create its topics first")
            self._ids[where] = found
        return found

    def extents(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Extent]:
        """What the partitions hold, all at one moment. Raises TopicNotFound."""
        by_id = {self.partition_id(where): where for where in partitions}
        marks = ",".join("?" * len(by_id))
        rows: list[Any] = self._connection.execute(
            f"SELECT id, start_offset, next_offset, timestamp_ms FROM partition WHERE id IN ({marks})",  # noqa: S608 - question marks only
            tuple(by_id),
        ).fetchall()
        return {by_id[row[0]]: Extent(*row) for row in rows}

    def describe(self, names: Sequence[str]) -> dict[str, TopicDescription]:
        """Those topics among `names` that exist."""
        found = {}
        for name in names:
            rows: list[Any] = self._connection.execute(
                "SELECT topic_id, settings, (SELECT count(*) FROM partition WHERE partition.topic = topic.id) FROM topic WHERE name = ?",
                (name,),
            ).fetchall()
            for topic_id, settings, count in rows:
                found[name] = TopicDescription(name, topic_id, count, json.loads(settings))
        return found

    def names(self, prefix: str) -> list[str]:
        """Names of the topics that begin with `prefix`, sorted."""
        rows: list[Any] = self._connection.execute(
            "SELECT name FROM topic WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix)
        ).fetchall()
        return [name for (name,) in rows]

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Make those that are not there."""
        existing = self.describe([spec.name for spec in specs])
        missing = [spec for spec in specs if spec.name not in existing]
        if not missing:
            return
        with transaction(self._connection):
            for spec in missing:
                for (topic,) in self._connection.execute(
                    "INSERT INTO topic(name, topic_id, settings) VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING id",
                    (spec.name, uuid.uuid4().hex, json.dumps(spec.settings)),
                ).fetchall():
                    self._connection.executemany(
                        "INSERT INTO partition(topic, partition) VALUES (?, ?)", [(topic, number) for number in range(spec.partitions)]
                    )

    def truncate_before(self, where: TopicPartition, offset: int) -> None:
        """Delete what lies below `offset`. Raises OffsetOutOfRange above the end."""
        partition_id = self.partition_id(where)
        with transaction(self._connection):
            extent = self.extents([where])[where]
            if offset > extent.next_offset:
                raise OffsetOutOfRange(*where, f"cannot delete up to {offset}: the log ends at {extent.next_offset}")
            self._connection.execute("UPDATE partition SET start_offset = max(start_offset, ?) WHERE id = ?", (offset, partition_id))
        # The start has moved, so nobody reads these any more, and a crash in between only leaves them to the next call.
        while self._delete_some(partition_id, offset):
            pass

    def delete_expired(self, now_ms: int) -> None:
        """Delete what the topics' `retention.ms` no longer keeps."""
        topics: list[Any] = self._connection.execute("SELECT id, settings FROM topic").fetchall()
        for topic, settings in topics:
            retention_ms = int(json.loads(settings).get("retention.ms", "-1"))
            if retention_ms < 0:
                continue
            partitions: list[Any] = self._connection.execute("SELECT id, next_offset FROM partition WHERE topic = ?", (topic,)).fetchall()
            for partition_id, next_offset in partitions:
                self._delete_older(partition_id, next_offset, now_ms - retention_ms)

    def _delete_older(self, partition_id: int, next_offset: int, timestamp_ms: int) -> None:
        bounds = (batch_id(partition_id, 0), batch_id(partition_id, next_offset))
        # Times never go back within a partition: the old ones are a prefix. Blobs are not touched to find its end.
        kept = self._connection.execute(
            "SELECT id FROM batch WHERE id >= ? AND id < ? AND timestamp_ms >= ? ORDER BY id LIMIT 1", (*bounds, timestamp_ms)
        ).get
        start = next_offset if kept is None else kept - batch_id(partition_id, 0)
        first = self._connection.execute("SELECT min(id) FROM batch WHERE id >= ? AND id < ?", bounds).get
        if first is None or first >= batch_id(partition_id, start):
            return
        with transaction(self._connection):
            self._connection.execute("UPDATE partition SET start_offset = max(start_offset, ?) WHERE id = ?", (start, partition_id))
        while self._delete_some(partition_id, start):
            pass

    def _delete_some(self, partition_id: int, offset: int) -> bool:
        with transaction(self._connection):
            self._connection.execute(
                "DELETE FROM batch WHERE id IN (SELECT id FROM batch WHERE id >= ? AND id < ? AND next_offset <= ? ORDER BY id LIMIT ?)",
                (batch_id(partition_id, 0), batch_id(partition_id, offset), offset, _DELETED_AT_ONCE),
            )
            return self._connection.changes() == _DELETED_AT_ONCE
