"""MemoryLog: a connection to a medium in memory."""

# ruff: noqa: ARG002 - memory answers at once and has no use for a timeout

from __future__ import annotations

from collections.abc import Sequence

from perdure._log.errors import LogClosed, LogUnavailable, TopicNotFound
from perdure._log.memory.consumer import MemoryConsumer
from perdure._log.memory.groups import MemoryGroupConsumer, MemoryMembership
from perdure._log.memory.medium import MemoryMedium
from perdure._log.memory.producer import MemoryProducer
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
from perdure_schemas.topics import TopicSpec

_QUEUE_RECORDS_MAX = 100_000


class _EndOffsets:
    def __init__(self, medium: MemoryMedium, partitions: Sequence[TopicPartition]) -> None:
        self._medium = medium
        self._partitions = partitions

    def result(self) -> dict[TopicPartition, int] | None:
        """See EndOffsetsRequest."""
        try:
            return self._ends()
        except TopicNotFound as error:
            raise LogUnavailable(str(error)) from error

    def _ends(self) -> dict[TopicPartition, int]:
        return {where: self._medium.bounds(*where)[1] for where in self._partitions}


class MemoryLog:
    """A connection to a medium in memory; without one given, to a new one."""

    creates_namespaces = True
    default_partitions = 4

    def __init__(self, medium: MemoryMedium | None = None, *, queue_records_max: int = _QUEUE_RECORDS_MAX) -> None:
        self.medium = medium or MemoryMedium()
        self.url = self.medium.url
        self._queue_records_max = queue_records_max
        self._closed = False

    def producer(self, delivery: Delivery) -> Producer:
        """See Log."""
        self._check_open()
        return MemoryProducer(self.medium, delivery, self._queue_records_max)

    def consumer(self) -> Consumer:
        """See Log."""
        self._check_open()
        return MemoryConsumer(self.medium)

    def membership(self, group: str, topic: str, session_timeout_ms: int) -> Membership:
        """See Log."""
        self._check_open()
        return MemoryMembership(self.medium, group, topic, session_timeout_ms)

    def group_consumer(self, group: str, topic: str, session_timeout_ms: int) -> GroupConsumer:
        """See Log."""
        self._check_open()
        return MemoryGroupConsumer(self.medium, group, topic, session_timeout_ms)

    def request_end_offsets(self, partitions: Sequence[TopicPartition]) -> EndOffsetsRequest:
        """See Log."""
        self._check_open()
        return _EndOffsets(self.medium, tuple(partitions))

    def end_offsets(self, partitions: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """See Log."""
        self._check_open()
        return {where: self.medium.bounds(*where)[1] for where in partitions}

    def start_offsets(self, partitions: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """See Log."""
        self._check_open()
        return {where: self.medium.bounds(*where)[0] for where in partitions}

    def describe_topics(self, names: Sequence[str], timeout_ms: int) -> dict[str, TopicDescription]:
        """See Log."""
        self._check_open()
        return self.medium.describe(names)

    def nodes(self, timeout_ms: int) -> int:
        """See Log."""
        return 0

    def create_topics(self, specs: Sequence[TopicSpec], timeout_ms: int) -> None:
        """See Log."""
        self._check_open()
        self.medium.create(specs)

    def list_topics(self, prefix: str, timeout_ms: int) -> list[str]:
        """See Log."""
        self._check_open()
        return self.medium.names(prefix)

    def describe_group(self, group: str, topic: str, timeout_ms: int) -> GroupDescription:
        """See Log."""
        self._check_open()
        return self.medium.describe_group(group, topic)

    def truncate_before(self, topic: str, partition: int, offset: int, timeout_ms: int) -> None:
        """See Log."""
        self._check_open()
        self.medium.truncate_before(topic, partition, offset)

    def now_ms(self) -> int:
        """See Log."""
        return self.medium.now_ms()

    def close(self) -> None:
        """See Log."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed(f"the log {self.url} is closed")
