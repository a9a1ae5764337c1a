"""SqliteLog: a connection to the log in one file."""

from __future__ import annotations

# ruff: noqa: ARG002 - the file answers at once
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from perdure._log.errors import LogClosed, LogUnavailable, TopicNotFound
from perdure._log.port import (
    Consumer,
    Delivery,
    EndOffsetsRequest,
    GroupConsumer,
    GroupDescription,
    Membership,
    Producer,
    TopicDescription,
    TopicPartition,
)
from perdure._log.sqlite.catalog import Catalog
from perdure._log.sqlite.database import BUSY_TIMEOUT_MS, Database
from perdure._log.sqlite.groups import SqliteGroupConsumer, SqliteMembership, described_group
from perdure._log.sqlite.reader import SqliteConsumer
from perdure._log.sqlite.writer import SqliteProducer, Writer
from perdure_schemas.topics import TopicSpec

_QUEUE_RECORDS_MAX = 100_000

T = TypeVar("T")


class _EndOffsets:
    def __init__(self, log: SqliteLog, partitions: Sequence[TopicPartition]) -> None:
        self._log = log
        self._partitions = tuple(partitions)

    def result(self) -> dict[TopicPartition, int] | None:
        """See EndOffsetsRequest."""
        try:
            return self._log.end_offsets(self._partitions, 0)
        except TopicNotFound as error:
            raise LogUnavailable(str(error)) from error


class SqliteLog:
    """A log in a file. The file is made if it is not there, its directory is not.

    Raises LogMisconfigured (place, kind or format of the file), LogDamaged, LogUnavailable.
    """

    creates_namespaces = True
    default_partitions = 4

    def __init__(self, path: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS, queue_records_max: int = _QUEUE_RECORDS_MAX) -> None:
        absolute = path.expanduser().absolute()
        self.url = f"sqlite:///{absolute}"
        self._database = Database(absolute, self.url, busy_timeout_ms)
        self._database.prepare()
        self._writer = Writer(self._database, self.now_ms, queue_records_max)
        self._lock = threading.Lock()
        self._connection = self._database.connect()
        self._catalog = Catalog(self._database, self._connection)
        self._closed = False

    def producer(self, delivery: Delivery) -> Producer:
        """See Log."""
        self._check_open()
        return SqliteProducer(self._writer, delivery)

    def consumer(self) -> Consumer:
        """See Log."""
        self._check_open()
        return SqliteConsumer(self._database)

    def membership(self, group: str, topic: str, session_timeout_ms: int) -> Membership:
        """See Log."""
        self._check_open()
        return SqliteMembership(self._database, group, topic, session_timeout_ms)

    def group_consumer(self, group: str, topic: str, session_timeout_ms: int) -> GroupConsumer:
        """See Log."""
        self._check_open()
        return SqliteGroupConsumer(self._database, group, topic, session_timeout_ms)

    def request_end_offsets(self, partitions: Sequence[TopicPartition]) -> EndOffsetsRequest:
        """See Log."""
        self._check_open()
        return _EndOffsets(self, partitions)

    def end_offsets(self, partitions: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """See Log."""
        extents = self._read(lambda catalog: catalog.extents(partitions))
        return {where: extent.next_offset for where, extent in extents.items()}

    def start_offsets(self, partitions: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """See Log."""
        extents = self._read(lambda catalog: catalog.extents(partitions))
        return {where: extent.start_offset for where, extent in extents.items()}

    def describe_topics(self, names: Sequence[str], timeout_ms: int) -> dict[str, TopicDescription]:
        """See Log."""
        return self._read(lambda catalog: catalog.describe(names))

    def list_topics(self, prefix: str, timeout_ms: int) -> list[str]:
        """See Log."""
        return self._read(lambda catalog: catalog.names(prefix))

    def nodes(self, timeout_ms: int) -> int:
        """See Log."""
        return 0

    def create_topics(self, specs: Sequence[TopicSpec], timeout_ms: int) -> None:
        """See Log."""
        self._change(lambda catalog: catalog.create(specs), timeout_ms)

    def describe_group(self, group: str, topic: str, timeout_ms: int) -> GroupDescription:
        """See Log."""
        return self._read(lambda catalog: described_group(self._connection, catalog, group, topic))

    def truncate_before(self, topic: str, partition: int, offset: int, timeout_ms: int) -> None:
        """See Log."""
        self._change(lambda catalog: catalog.truncate_before((topic, partition), offset), timeout_ms)

    def now_ms(self) -> int:
        """See Log."""
        return time.time_ns() // 1_000_000

    def close(self) -> None:
        """See Log."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._connection.close()
        self._writer.close()

    def _read(self, ask: Callable[[Catalog], T]) -> T:
        """Reading waits for nobody, so one connection serves all threads in turn."""
        with self._lock, self._database.errors():
            self._check_open()
            return ask(self._catalog)

    def _change(self, change: Callable[[Catalog], None], timeout_ms: int) -> None:
        """A connection of its own: others must not wait for this one's turn and disk."""
        self._check_open()
        connection = self._database.connect(timeout_ms)
        try:
            with self._database.errors():
                change(Catalog(self._database, connection))
        finally:
            connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed(f"{self.url} is closed")
