"""Reads Kafka partitions that were assigned by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer as KafkaClient
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from perdure._log.errors import LogClosed, LogDamaged, LogError, LogUnavailable, OffsetOutOfRange, PartitionDamaged
from perdure._log.kafka.errors import OUT_OF_RANGE, Trouble, log_error
from perdure._log.kafka.settings import Settings
from perdure._log.kafka.waiting import waiting_s
from perdure._log.port import Record
from perdure._log.port import TopicPartition as Where


def take(client: KafkaClient, records_max: int, timeout_ms: int) -> list[Any]:
    """What the client has fetched, or the first that comes within `timeout_ms` and what came with it.

    `consume(n, timeout)` alone would wait to fill up to n.
    """
    messages: list[Any] = client.consume(records_max, 0)
    if messages or timeout_ms <= 0:
        return messages
    first = client.poll(waiting_s(timeout_ms))
    if first is None:
        return []
    try:
        return [first, *client.consume(records_max - 1, 0)] if records_max > 1 else [first]
    except KafkaException:
        return [first]  # it would be skipped otherwise; what is wrong comes with the next call


def record(message: Any) -> Record:
    """A message of the library as a record."""
    headers = message.headers()
    epoch = message.leader_epoch()
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value() or b"",
        tuple(headers) if headers else (),
        -1 if epoch is None else epoch,
    )


class KafkaConsumer:
    """A consumer. It keeps its own positions: what the library delivers of an assignment that is gone is dropped by them."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._url = url
        self._trouble = Trouble(url)
        self._positions: dict[Where, int] = {}
        self._paused: set[Where] = set()
        self._failed: LogError | None = None
        self._closed = False
        try:
            self._client = KafkaClient({**settings, "error_cb": self._trouble.note})
        except KafkaException as error:
            raise log_error(error, url) from error

    def assign(self, positions: Mapping[Where, int]) -> None:
        """See Consumer."""
        self._check_open()
        self._positions = dict(positions)
        self._paused.clear()
        self._failed = None
        self._trouble.forget_missing()
        self._client.assign([TopicPartition(*where, offset) for where, offset in positions.items()])

    def poll(self, records_max: int, timeout_ms: int) -> list[Record]:
        """See Consumer. Raises also what else will not mend itself: TopicNotFound, LogUnauthorized, LogDamaged."""
        self._check_open()
        if self._failed is not None:
            raise self._failed
        records: list[Record] = []
        positions = self._positions
        try:
            messages = take(self._client, records_max, timeout_ms)
        except KafkaException as error:
            raise log_error(error, self._url) from error
        for message in messages:
            where = (message.topic(), message.partition())
            if message.error() is not None:
                lasting = self._lasting(message.error(), message)
                self._failed = self._failed or lasting
                if lasting is not None and where not in self._paused:
                    positions.pop(where, None)  # the library goes on behind what it could not read, and nobody may
                continue
            offset = message.offset()
            # Nothing of a former assignment: not below the position, and not of a partition that is not read now.
            if where not in self._paused and offset >= positions.get(where, offset + 1):
                records.append(record(message))
                positions[where] = offset + 1
        if records:
            self._trouble.forget_missing()
            return records
        failure = self._failed or self._trouble.lasting()
        if failure is not None:
            raise failure
        return records

    def pause(self, partitions: Iterable[Where]) -> None:
        """See Consumer."""
        self._check_open()
        # Unassigned rather than paused: the library's own pause forgets what it has fetched too, and not where to go on in every case.
        gone = [where for where in partitions if where in self._positions and where not in self._paused]
        self._paused.update(gone)
        if gone:
            self._client.incremental_unassign([TopicPartition(*where) for where in gone])

    def resume(self, partitions: Iterable[Where]) -> None:
        """See Consumer."""
        self._check_open()
        back = [where for where in partitions if where in self._paused]
        self._paused.difference_update(back)
        if back:
            self._client.incremental_assign([TopicPartition(*where, self._positions[where]) for where in back])

    def close(self) -> None:
        """See Consumer."""
        if not self._closed:
            self._closed = True
            self._client.close()

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed(f"{self._url}: the consumer is closed")

    def _lasting(self, error: KafkaError, message: Any) -> LogError | None:
        """The error, unless it passes by itself: the library goes on trying then, and records come when they come."""
        topic, partition = message.topic(), message.partition()
        if error.code() in OUT_OF_RANGE and topic is not None and partition is not None:
            position = self._positions.get((topic, partition))
            if position is None or (topic, partition) in self._paused:
                return None
            return OffsetOutOfRange(topic, partition, f"offset {position} was asked for, and the log does not have it ({error.str()})")
        found = log_error(error, f"{self._url}: reading {topic}[{partition}]")
        if isinstance(found, LogDamaged):
            position = self._positions.get((topic, partition))
            return PartitionDamaged(topic, partition, f"what lies at offset {position}, or soon behind it, is damaged ({error.str()})")
        return None if isinstance(found, LogUnavailable) else found
