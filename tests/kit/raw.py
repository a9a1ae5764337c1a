"""What anybody with a Kafka client can do to the topics of a namespace: forge records, alter settings, delete records and topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import admin as kafka_admin

from kit.namespace import Namespace
from perdure._log.port import Delivery, Log, Record
from perdure_schemas.codec import decode_history
from perdure_schemas.history import HistoryRecord

library: Any = kafka_admin  # which does not say what it exports

TIMEOUT_MS = 30_000


def read(namespace: Namespace, topic: str, partition: int) -> list[Record]:
    """Everything that a partition of `topic` (history, commands, …) holds now."""

    def call(log: Log, name: str, _: int) -> list[Record]:
        place = (f"{name}.{topic}", partition)
        start, end = log.start_offsets([place], TIMEOUT_MS)[place], log.end_offsets([place], TIMEOUT_MS)[place]
        consumer = log.consumer()
        consumer.assign({place: start})
        records: list[Record] = []
        deadline = time.monotonic() + TIMEOUT_MS / 1000
        while (records[-1].offset + 1 if records else start) < end:
            assert time.monotonic() < deadline, f"{place} could not be read to {end}"
            records += [record for record in consumer.poll(1000, 500) if record.offset < end]
        consumer.close()
        return records

    return namespace.with_log(call)


def history(namespace: Namespace, partition: int) -> list[tuple[Record, HistoryRecord]]:
    """A partition's history, decoded."""
    return [(record, decode_history(record.value)) for record in read(namespace, "history", partition)]


def append(namespace: Namespace, topic: str, partition: int, values: Sequence[bytes]) -> None:
    """Append what no owner has appended; returns when it is there."""

    def call(log: Log, name: str, _: int) -> None:
        producer = log.producer(Delivery.PIPELINED)
        for value in values:
            producer.append(f"{name}.{topic}", partition, b"forged", value)
        assert producer.flush(TIMEOUT_MS)
        assert not producer.poll()[1]
        producer.close()

    namespace.with_log(call)


def again(namespace: Namespace, records: Sequence[Record]) -> None:
    """Append copies of records, byte for byte, each where it lies already."""

    def call(log: Log, _: str, __: int) -> None:
        producer = log.producer(Delivery.PIPELINED)
        for record in records:
            producer.append(record.topic, record.partition, record.key, record.value, record.headers)
        assert producer.flush(TIMEOUT_MS)
        assert not producer.poll()[1]
        producer.close()

    namespace.with_log(call)


def ends(namespace: Namespace, topic: str = "history") -> list[int]:
    """The end offset of each partition of a topic."""

    def call(log: Log, name: str, count: int) -> list[int]:
        places = [(f"{name}.{topic}", partition) for partition in range(count)]
        found = log.end_offsets(places, TIMEOUT_MS)
        return [found[place] for place in places]

    return namespace.with_log(call)


def delete_records(namespace: Namespace, topic: str, partition: int, before: int) -> None:
    """DeleteRecords by hand."""
    namespace.with_log(lambda log, name, _: log.truncate_before(f"{name}.{topic}", partition, before, TIMEOUT_MS))


def alter(namespace: Namespace, topic: str, **settings: str) -> None:
    """Set settings of a topic; `_` stands for `.` in their names."""
    resource = library.ConfigResource(
        library.ConfigResource.Type.TOPIC,
        f"{namespace.name}.{topic}",
        incremental_configs=[
            library.ConfigEntry(name.replace("_", "."), value, incremental_operation=library.AlterConfigOpType.SET)
            for name, value in settings.items()
        ],
    )
    _finish(lambda admin: admin.incremental_alter_configs([resource]), namespace)


def add_partitions(namespace: Namespace, topic: str, count: int) -> None:
    """Let a topic have `count` partitions."""
    _finish(lambda admin: admin.create_partitions([library.NewPartitions(f"{namespace.name}.{topic}", count)]), namespace)


def delete_topic(namespace: Namespace, topic: str) -> None:
    """Delete a topic."""
    _finish(lambda admin: admin.delete_topics([f"{namespace.name}.{topic}"]), namespace)


def _finish(call: Callable[[Any], dict[Any, Any]], namespace: Namespace) -> None:
    admin = library.AdminClient({"bootstrap.servers": namespace.bootstrap})
    for future in call(admin).values():
        future.result(TIMEOUT_MS / 1000)
    del admin
