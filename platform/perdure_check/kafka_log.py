"""Reads a log in Kafka: partitions assigned by hand from their first offset on. No group is joined and nothing is committed or produced."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from perdure_check.log import Bounds, Record, Trimmed, Unreadable

_TIMEOUT_S = 30.0
_REACH_S = 12.0
"""Time within which a broker must answer for the first time, in seconds."""
_REACH_STEP_S = 1.0
_AGAIN_S = 0.2
_STALLED_S = 60.0
_RECORDS_AT_ONCE = 500
_SETTINGS: dict[str, Any] = {
    "client.id": "perdure-check",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",  # records that vanish under this reader are said, not skipped
    "allow.auto.create.topics": False,
    "check.crcs": True,
    "isolation.level": "read_uncommitted",
    "enable.partition.eof": False,
    "queued.max.messages.kbytes": 32 * 1024,
    "fetch.wait.max.ms": 100,
    # Shorter than the time to reach a broker, so that the library says within it what happens at a port where something else listens.
    "api.version.request.timeout.ms": 5_000,
    "socket.connection.setup.timeout.ms": 5_000,
}
_NOBODY = frozenset({KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE})  # noqa: SLF001
"""What the library says where it reaches no broker."""


class _Last(logging.Handler):
    """Keeps the last failure that the library told of. It tells the same hundreds of times where it reaches no broker; the error that ends
    the check says it once."""

    message = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Called by the library, from within our calls to it."""
        kind, _, text = record.getMessage().partition(" ")
        if kind in ("FAIL", "ERROR"):
            self.message = re.sub(r"^(\[[^]]*\] ?)*: ", "", text)


_last = _Last()
_logger = logging.getLogger("perdure.check.kafka")
_logger.addHandler(_last)
_logger.propagate = False


class KafkaLog:
    """`properties` are further ones of librdkafka: TLS, SASL. It joins no group, but the library wants a name."""

    def __init__(self, servers: str, properties: Mapping[str, str]) -> None:
        self._servers = servers
        own = {"bootstrap.servers": servers, "group.id": "perdure.readers", "logger": _logger}
        settings = {**_SETTINGS, **properties, **own}
        self._is_reached = False
        try:
            self._consumer = Consumer(settings)
        except KafkaException as error:
            raise Unreadable(f"{servers}: {error.args[0].str()}") from error

    def topics(self, prefix: str) -> dict[str, int]:
        """See Source."""
        until = time.monotonic() + (_TIMEOUT_S if self._is_reached else _REACH_S)
        while True:
            try:
                found = self._consumer.list_topics(timeout=_REACH_STEP_S).topics
                break
            except KafkaException as error:
                if error.args[0].code() not in _NOBODY or time.monotonic() > until:
                    raise self._unreadable(error) from error
        self._is_reached = True
        return {name: len(topic.partitions) for name, topic in found.items() if name.startswith(prefix)}

    def bounds(self, topic: str, partition: int) -> Bounds:
        """See Source."""
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                found = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT_S, cached=False)
                break
            except KafkaException as error:
                # A broker that has just become leader, or is about to, says that it is not.
                if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION or time.monotonic() > deadline:
                    raise self._unreadable(error) from error
                time.sleep(_AGAIN_S)
        if found is None:
            raise Unreadable(f"{self._servers}: the bounds of {topic}[{partition}] were not told in {_TIMEOUT_S:.0f} s")
        return Bounds(*found)

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See Source. Offsets may have gaps (a broker may leave them): the end is a position, not a record."""
        if start >= end:
            return
        where = TopicPartition(topic, partition, start)
        self._consumer.assign([where])
        moved_s, next_offset = time.monotonic(), start
        try:
            while True:
                for message in self._take():
                    if message.error() is not None:
                        if self.bounds(topic, partition).start > next_offset:
                            raise Trimmed(f"{self._servers}: {topic}[{partition}]: the record at {next_offset} was deleted meanwhile")
                        raise Unreadable(f"{self._servers}: reading {topic}[{partition}]: {message.error()}")
                    moved_s = time.monotonic()
                    record = _record(message)
                    if (record.topic, record.partition) != (topic, partition) or record.offset < next_offset:
                        continue  # of an assignment that is gone
                    if record.offset >= end:
                        return
                    yield record
                    next_offset = record.offset + 1
                (position,) = self._consumer.position([where])
                if position.offset >= end:
                    return
                if time.monotonic() - moved_s > _STALLED_S:
                    raise Unreadable(
                        f"{self._servers}: {topic}[{partition}] gives nothing from offset {position.offset} on, and ends at {end}"
                    )
        except KafkaException as error:
            raise self._unreadable(error) from error
        finally:
            self._consumer.unassign()

    def _take(self) -> list[Any]:
        """What is there, or the first that comes and what came with it: to consume many waits until there are as many."""
        first = self._consumer.poll(0.2)
        return [] if first is None else [first, *self._consumer.consume(_RECORDS_AT_ONCE, 0)]

    def close(self) -> None:
        """See Source."""
        self._consumer.close()

    def _unreadable(self, error: KafkaException) -> Unreadable:
        reason = error.args[0] if error.args else None
        if not isinstance(reason, KafkaError) or reason.code() not in _NOBODY:
            return Unreadable(f"{self._servers}: {reason.str() if isinstance(reason, KafkaError) else error}")
        self._consumer.poll(0)  # what the library has to say of its connections
        last = _last.message or "none has ended in this time"
        hint = "; is that a Kafka broker, and the right security.protocol?" if "ApiVersion" in last else ""
        return Unreadable(f"{self._servers}: no broker answers ({reason.str()}); the last attempt to connect: {last}{hint}")


def _record(message: Any) -> Record:
    headers = message.headers() or ()
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value() or b"",
        tuple((name, content or b"") for name, content in headers),
    )
