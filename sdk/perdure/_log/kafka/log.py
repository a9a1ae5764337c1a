"""KafkaLog: a connection to one cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from perdure._log.errors import LogClosed, TopicNotFound
from perdure._log.kafka import settings
from perdure._log.kafka.admin import KafkaAdmin
from perdure._log.kafka.consumer import KafkaConsumer
from perdure._log.kafka.groups import described_group
from perdure._log.kafka.membership import KafkaGroupConsumer, KafkaMembership
from perdure._log.kafka.offsets import KafkaOffsets
from perdure._log.kafka.producer import KafkaProducer
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


class KafkaLog:
    """A log on Kafka. `servers` is HOST:PORT[,HOST:PORT]; `properties` are further ones of librdkafka, and not shown anywhere.

    Raises LogMisconfigured for a property that Perdure sets itself or that the library does not know, and for a cluster on another machine
    without a `security.protocol`.
    """

    creates_namespaces = False
    default_partitions = 8

    def __init__(self, servers: str, properties: Mapping[str, str] | None = None) -> None:
        self.url = f"kafka://{servers}"
        self._servers = servers
        self._properties = dict(properties or {})
        settings.check_properties(servers, self._properties)
        self._admin = KafkaAdmin(self.url, settings.common(servers, self._properties))
        self._offsets = KafkaOffsets(self.url, settings.consumer(servers, self._properties))
        self._closed = False

    def producer(self, delivery: Delivery) -> Producer:
        """See Log."""
        self._check_open()
        return KafkaProducer(self.url, settings.producer(self._servers, self._properties, delivery), delivery, self._offsets)

    def consumer(self) -> Consumer:
        """See Log."""
        self._check_open()
        return KafkaConsumer(self.url, settings.consumer(self._servers, self._properties))

    def membership(self, group: str, topic: str, session_timeout_ms: int) -> Membership:
        """See Log."""
        self._check_open()
        return KafkaMembership(self.url, settings.member(self._servers, self._properties, group, session_timeout_ms), topic)

    def group_consumer(self, group: str, topic: str, session_timeout_ms: int) -> GroupConsumer:
        """See Log."""
        self._check_open()
        chosen = settings.member(self._servers, self._properties, group, session_timeout_ms)
        return KafkaGroupConsumer(self.url, chosen, topic, self._offsets)

    def request_end_offsets(self, partitions: Sequence[TopicPartition]) -> EndOffsetsRequest:
        """See Log."""
        self._check_open()
        return self._offsets.request(partitions, end=True)

    def end_offsets(self, partitions: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """See Log."""
        self._check_open()
        return self._offsets.offsets(partitions, timeout_ms, end=True)

    def start_offsets(self, partitions: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """See Log."""
        self._check_open()
        return self._offsets.offsets(partitions, timeout_ms, end=False)

    def describe_topics(self, names: Sequence[str], timeout_ms: int) -> dict[str, TopicDescription]:
        """See Log."""
        self._check_open()
        return self._admin.describe(names, timeout_ms)

    def nodes(self, timeout_ms: int) -> int:
        """See Log."""
        self._check_open()
        return self._admin.nodes(timeout_ms)

    def create_topics(self, specs: Sequence[TopicSpec], timeout_ms: int) -> None:
        """See Log."""
        self._check_open()
        self._admin.create(specs, timeout_ms)

    def list_topics(self, prefix: str, timeout_ms: int) -> list[str]:
        """See Log."""
        self._check_open()
        return self._admin.names(prefix, timeout_ms)

    def describe_group(self, group: str, topic: str, timeout_ms: int) -> GroupDescription:
        """See Log."""
        self._check_open()
        found = self._admin.describe([topic], timeout_ms)
        if topic not in found:
            raise TopicNotFound(f"{self.url} has no topic {topic}")
        common = settings.common(self._servers, self._properties)
        reader = settings.consumer(self._servers, self._properties)
        return described_group(self.url, common, reader, group, topic, found[topic].partitions, timeout_ms)

    def truncate_before(self, topic: str, partition: int, offset: int, timeout_ms: int) -> None:
        """See Log."""
        self._check_open()
        self._admin.truncate_before((topic, partition), offset, timeout_ms)

    def now_ms(self) -> int:
        """See Log."""
        return time.time_ns() // 1_000_000

    def close(self) -> None:
        """See Log."""
        self._closed = True
        self._offsets.close()

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed(f"{self.url} is closed")
