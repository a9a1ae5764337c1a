"""Appends: producers queue, and one thread per log commits all that is queued in one transaction (group commit).

While a commit is on its way to the disk the next ones queue, so the busier the log, the larger its transactions. The thread serves
all producers of the log; each of their partitions gets its records in the order in which they were queued.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import apsw

from perdure._log.errors import LogBusy, LogClosed, LogError, LogUnavailable
from perdure._log.port import Delivery, FailedAppend, Headers, TopicPartition
from perdure._log.size import check_size
from perdure._log.sqlite.batches import batch_id, checksum, pack
from perdure._log.sqlite.bell import Bell
from perdure._log.sqlite.catalog import Catalog, Extent
from perdure._log.sqlite.database import Database

_logger = logging.getLogger("perdure.log.sqlite")

_COMMIT_BYTES_MAX = 16 * 1024 * 1024
_BATCH_BYTES_MAX = 1024 * 1024
_BATCH_RECORDS_MAX = 1000
_QUEUE_BYTES_MAX = 256 * 1024 * 1024
_RETENTION_EVERY_S = 30.0


@dataclass(slots=True, eq=False)
class _Append:
    where: TopicPartition
    key: bytes | None
    value: bytes
    headers: Headers
    token: object
    size: int
    producer: SqliteProducer
    generation: int


class Writer:
    """The committing thread of one log and its queue. It starts with the first append."""

    def __init__(self, database: Database, now_ms: Callable[[], int], queue_records_max: int) -> None:
        lock = threading.Lock()
        self.changed = threading.Condition(lock)
        """Notified after each commit; guards the queue and the producers' reports."""
        self._work = threading.Condition(lock)
        self.queue_records_max = queue_records_max
        self._database = database
        self._now_ms = now_ms
        self._queue: list[_Append] = []
        self._queued_bytes = 0
        self._thread: threading.Thread | None = None
        self._connection: apsw.Connection | None = None
        self._catalog: Catalog | None = None
        self._bell: Bell | None = None
        self._closed = False

    def put(self, append: _Append) -> None:
        """Queue an append. Called with `changed` held."""
        if self._closed:
            raise LogClosed(f"{self._database.url} is closed")
        if len(self._queue) >= self.queue_records_max or self._queued_bytes > _QUEUE_BYTES_MAX:
            raise LogBusy(f"{len(self._queue)} appends to {self._database.url} wait for the disk")
        self._queue.append(append)
        self._queued_bytes += append.size
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="perdure-sqlite-writer", daemon=True)
            self._thread.start()
        elif len(self._queue) == 1:
            self._work.notify()

    def close(self) -> None:
        """End the thread after the commit that it is in; what is still queued is not written, and fails."""
        with self.changed:
            self._closed = True
            queue, self._queue = self._queue, []
            for append in queue:
                append.producer.settle(append, LogClosed(f"{self._database.url} is closed"))
            self.changed.notify_all()
            self._work.notify()
            thread = self._thread
        if thread is not None:
            thread.join(self._database.busy_timeout_ms / 1000 + 1)

    def _run(self) -> None:
        retention_at = time.monotonic() + _RETENTION_EVERY_S
        try:
            while True:
                with self.changed:
                    while not self._queue and not self._closed:
                        self._work.wait(_RETENTION_EVERY_S)
                    if self._closed:
                        return
                    appends = self._take()
                self._commit(appends)
                if time.monotonic() > retention_at:
                    self._delete_expired()
                    retention_at = time.monotonic() + _RETENTION_EVERY_S
        finally:
            self._disconnect()

    def _take(self) -> list[_Append]:
        size = taken = 0
        for append in self._queue:
            size += append.size
            taken += 1
            if size >= _COMMIT_BYTES_MAX:
                break
        appends = self._queue[:taken]
        del self._queue[:taken]
        self._queued_bytes -= size
        return [append for append in appends if append.producer.takes(append)]

    def _commit(self, appends: list[_Append]) -> None:
        failures: dict[_Append, LogError] = {}
        try:
            with self._database.errors():
                found = self._found(appends, failures)
                if found:
                    self._write(found)
                    assert self._bell is not None
                    self._bell.ring()
        except LogError as error:
            failures = dict.fromkeys(appends, error)
            self._disconnect()
        except Exception as error:
            _logger.exception("a commit to %s failed", self._database.url)
            failures = dict.fromkeys(appends, LogUnavailable(f"{self._database.url}: {error}"))
            self._disconnect()
        with self.changed:
            for append in appends:
                append.producer.settle(append, failures.get(append))
            self.changed.notify_all()

    def _found(self, appends: list[_Append], failures: dict[_Append, LogError]) -> dict[TopicPartition, list[_Append]]:
        """The appends by partition, without those whose topic does not exist."""
        if self._connection is None or self._catalog is None:
            self._connection = self._database.connect()
            self._bell = self._database.bell()
            self._catalog = Catalog(self._database, self._connection)
        found: dict[TopicPartition, list[_Append]] = {}
        stopped: set[SqliteProducer] = set()
        for append in appends:
            if append.producer in stopped:
                failures[append] = append.producer.stopped(failures)
                continue
            try:
                self._catalog.partition_id(append.where)
            except LogError as error:
                failures[append] = error
                if append.producer.ordered:
                    stopped.add(append.producer)
            else:
                found.setdefault(append.where, []).append(append)
        return found

    def _write(self, appends: dict[TopicPartition, list[_Append]]) -> None:
        assert self._connection is not None
        assert self._catalog is not None
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            extents = self._catalog.extents(appends)
            now_ms = self._now_ms()
            batches: list[tuple[int, int, int, int, bytes]] = []
            ends: list[tuple[int, int, int]] = []
            for where, records in appends.items():
                extent = extents[where]
                batches += _batches(extent, max(now_ms, extent.timestamp_ms), records)
                ends.append((extent.partition_id, extent.next_offset + len(records), max(now_ms, extent.timestamp_ms)))
            # As few steps as can be: each may have to wait for the interpreter.
            statements = (
                "INSERT INTO batch VALUES " + ",".join(["(?,?,?,?,?)"] * len(batches)),  # noqa: S608 - question marks only
                *["UPDATE partition SET next_offset = ?2, timestamp_ms = ?3 WHERE id = ?1"] * len(ends),
                "COMMIT",
            )
            self._connection.execute(";".join(statements), [value for row in (*batches, *ends) for value in row])
        finally:
            if self._connection.in_transaction:
                with contextlib.suppress(apsw.Error):
                    self._connection.execute("ROLLBACK")

    def _delete_expired(self) -> None:
        try:
            with self._database.errors():
                if self._catalog is not None:
                    self._catalog.delete_expired(self._now_ms())
        except LogError as error:
            _logger.warning("old records could not be deleted: %s", error)

    def _disconnect(self) -> None:
        """The next commit opens the file anew: after an error, nothing is assumed about the connection."""
        connection, self._connection, self._catalog = self._connection, None, None
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.close()
        if connection is not None:
            with contextlib.suppress(apsw.Error):
                connection.close()


def _batches(extent: Extent, timestamp_ms: int, records: list[_Append]) -> list[tuple[int, int, int, int, bytes]]:
    """Rows of `batch` for new records of one partition."""
    rows = []
    first = 0
    while first < len(records):
        size, last = records[first].size, first + 1
        while last < len(records) and last - first < _BATCH_RECORDS_MAX and size + records[last].size <= _BATCH_BYTES_MAX:
            size += records[last].size
            last += 1
        identity = batch_id(extent.partition_id, extent.next_offset + first)
        blob = pack((append.key, append.value, append.headers) for append in records[first:last])
        rows.append((identity, extent.next_offset + last, timestamp_ms, checksum(identity, timestamp_ms, blob), blob))
        first = last
    return rows


class SqliteProducer:
    """A producer; its records wait in the queue of the log's writer."""

    def __init__(self, writer: Writer, delivery: Delivery) -> None:
        self.ordered = delivery is Delivery.ORDERED
        self._writer = writer
        self._generation = 0
        self._outstanding = 0
        self._tokens: list[object] = []
        self._failed: list[FailedAppend] = []
        self._broken: LogError | None = None
        self._closed = False

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers = (), token: object = None) -> None:
        """See Producer."""
        if self._closed:
            raise LogClosed("the producer is closed")
        size = check_size(topic, partition, key, value, headers)
        with self._writer.changed:
            append = _Append((topic, partition), key, value, headers, token, size, self, self._generation)
            if self._broken is None:
                self._writer.put(append)
            else:
                self._fail(append, _stopped(self._broken))
                return
            self._outstanding += 1

    def poll(self, timeout_ms: int = 0) -> tuple[list[object], list[FailedAppend]]:
        """See Producer."""
        with self._writer.changed:
            if timeout_ms > 0:
                self._writer.changed.wait_for(lambda: self._tokens or self._failed or not self._outstanding, timeout_ms / 1000)
            tokens, self._tokens = self._tokens, []
            failed, self._failed = self._failed, []
            return tokens, failed

    def flush(self, timeout_ms: int) -> bool:
        """See Producer."""
        with self._writer.changed:
            return self._writer.changed.wait_for(lambda: not self._outstanding, max(0, timeout_ms) / 1000)

    def outstanding(self) -> int:
        """See Producer."""
        return self._outstanding

    def drop(self) -> None:
        """See Producer."""
        with self._writer.changed:
            self._generation += 1
            self._outstanding = 0
            self._tokens.clear()
            self._failed.clear()

    def close(self) -> None:
        """See Producer."""
        self.drop()
        self._closed = True

    def takes(self, append: _Append) -> bool:
        """Whether the writer shall write a queued append; if not, it is settled. Called with `changed` held."""
        if append.generation != self._generation:
            return False
        if self._broken is not None:
            self.settle(append, _stopped(self._broken))
            return False
        return True

    def settle(self, append: _Append, error: LogError | None) -> None:
        """What became of an append. Called with `changed` held."""
        if append.generation != self._generation:
            return
        self._outstanding -= 1
        if error is None:
            if append.token is not None:
                self._tokens.append(append.token)
            return
        if self.ordered and self._broken is None:
            self._broken = error
        self._fail(append, error)

    def stopped(self, failures: dict[_Append, LogError]) -> LogError:
        """Why nothing more of this producer is written."""
        return _stopped(next(error for append, error in failures.items() if append.producer is self))

    def _fail(self, append: _Append, error: LogError) -> None:
        self._failed.append(FailedAppend(append.token, *append.where, error))


def _stopped(error: LogError) -> LogError:
    return LogUnavailable(f"not sent, because an earlier append failed ({error}); go on with a new producer")
