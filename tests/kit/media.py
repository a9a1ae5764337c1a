"""A place for records under test: one of the kinds of log, opened as often as a test likes."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from kit.slow_medium import SlowMedium
from kit.world import ProcessLog
from perdure._log.address import open_log
from perdure._log.errors import LogError
from perdure._log.memory import MemoryLog, MemoryMedium
from perdure._log.port import Consumer, Delivery, Log, Producer, Record, TopicPartition
from perdure._log.sqlite import SqliteLog
from perdure_schemas.topics import KEEP_FOREVER, RECORD_BYTES_MAX, TopicSpec

PATIENCE_S = 30.0
"""How long a test waits for what must happen. Generous: it is reached only where something is broken."""


class Medium:
    """One log that lasts as long as the test; `open` connects to it. Everything opened is closed at the end."""

    kind: str
    url: str

    def __init__(self) -> None:
        self._opened: list[Log] = []
        self._processes: list[subprocess.Popen[str]] = []
        self._numbers = itertools.count(1)
        self._prefix = uuid.uuid4().hex[:8]

    def open(self, queue_records_max: int | None = None) -> Log:
        """Connect once more."""
        log = self._open(queue_records_max)
        self._opened.append(log)
        return log

    def topic(self, log: Log, partitions: int = 1) -> str:
        """A new topic."""
        name = f"test-{self._prefix}-{next(self._numbers)}"
        settings = {**KEEP_FOREVER, "message.timestamp.type": "LogAppendTime", "max.message.bytes": str(RECORD_BYTES_MAX)}
        log.create_topics([TopicSpec(name, partitions, settings)], 60_000)
        return name

    def name(self) -> str:
        """A name that nobody else has: a group's, or that of a topic which is not there."""
        return f"name-{self._prefix}-{next(self._numbers)}"

    def process(self, *arguments: str) -> subprocess.Popen[str]:
        """A process that works on this log, as `kit.log_process` does."""
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        process = subprocess.Popen(
            [sys.executable, "-m", "kit.log_process", self.url, *arguments], stdout=subprocess.PIPE, text=True, env=environment
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        """End and close all that was opened."""
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        for log in self._opened:
            log.close()

    def _open(self, queue_records_max: int | None) -> Log:
        raise NotImplementedError


class InMemory(Medium):
    """The log of this process."""

    kind = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.medium = MemoryMedium()
        self.url = self.medium.url

    def _open(self, queue_records_max: int | None) -> Log:
        return MemoryLog(self.medium, **({} if queue_records_max is None else {"queue_records_max": queue_records_max}))


class _Waiting(SlowMedium):
    """Other threads append while one waits, as in no simulation."""

    def wait(self, ready: Callable[[], bool], timeout_ms: int) -> bool:
        return MemoryMedium.wait(self, ready, timeout_ms)


class InSimulation(Medium):
    """The log of simulations while nothing goes wrong, as its processes reach it."""

    kind = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.medium = _Waiting(lambda: time.time_ns() // 1_000_000)
        self.url = self.medium.url

    def _open(self, queue_records_max: int | None) -> Log:
        return ProcessLog(self.medium, **({} if queue_records_max is None else {"queue_records_max": queue_records_max}))


class InFile(Medium):
    """The log in a file."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.url = f"sqlite:///{path}"

    def _open(self, queue_records_max: int | None) -> Log:
        return SqliteLog(self.path, **({} if queue_records_max is None else {"queue_records_max": queue_records_max}))


class OnKafka(Medium):
    """The log on a broker that tests share."""

    kind = "kafka"

    def __init__(self, bootstrap: str, group_protocol: str = "classic") -> None:
        super().__init__()
        self.url = f"kafka://{bootstrap}?librdkafka.group.protocol={group_protocol}"

    def _open(self, queue_records_max: int | None) -> Log:
        query = "&librdkafka.topic.metadata.propagation.max.ms=1000"  # to wait less for topics that are not there
        if queue_records_max is not None:
            query += f"&librdkafka.queue.buffering.max.messages={queue_records_max}"
        return open_log(self.url + query)[0]


KAFKA = pytest.param("kafka", marks=pytest.mark.kafka)
KIP_848 = pytest.param("KIP-848", marks=pytest.mark.kafka)
"""The newer protocol of Kafka's groups, where the broker shares out."""


def medium_of(request: pytest.FixtureRequest) -> Iterator[Medium]:
    """The medium that the parameter of a fixture names; for fixtures to yield from."""
    medium: Medium
    match request.param:
        case "memory":
            medium = InMemory()
        case "simulated":
            medium = InSimulation()
        case "sqlite":
            directory: Path = request.getfixturevalue("tmp_path")
            medium = InFile(directory / "log.db")
        case kind:
            medium = OnKafka(request.getfixturevalue("kafka"), "consumer" if kind == "KIP-848" else "classic")
    yield medium
    medium.close()


def until(condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait until `condition`, asked again and again, holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"did not happen in {timeout_s} s: {what}"
        time.sleep(0.005)


def append(log: Log, topic: str, values: Iterable[bytes], partition: int = 0) -> None:
    """Append values and wait for their acknowledgement."""
    producer = log.producer(Delivery.PIPELINED)
    for value in values:
        producer.append(topic, partition, None, value)
    settle(producer)
    producer.close()


def settle(producer: Producer) -> list[object]:
    """Wait until nothing is in flight; the acknowledged tokens. Fails if an append did."""
    assert producer.flush(round(PATIENCE_S * 1000))
    tokens, failed = producer.poll()
    assert not failed, failed
    return tokens


def failures(producer: Producer, count: int) -> list[tuple[object, Exception]]:
    """Wait for `count` failed appends; their tokens and errors."""
    found: list[tuple[object, Exception]] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < count:
        assert time.monotonic() < deadline, f"{count} failures were expected, and {found} came"
        found += [(failed.token, failed.error) for failed in producer.poll(100)[1]]
    return found


def read(consumer: Consumer, count: int) -> list[Record]:
    """Wait for `count` records."""
    records: list[Record] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(records) < count:
        assert time.monotonic() < deadline, f"{count} records were expected, and {len(records)} came"
        records += consumer.poll(count - len(records), 100)
    return records


def read_from(log: Log, positions: dict[TopicPartition, int], count: int) -> list[Record]:
    """Wait for `count` records from these positions on."""
    consumer = log.consumer()
    consumer.assign(positions)
    try:
        return read(consumer, count)
    finally:
        consumer.close()


def values(records: Iterable[Record]) -> list[bytes]:
    """What the records hold."""
    return [record.value for record in records]


def error_of(poll: Callable[[], object], timeout_s: float = PATIENCE_S) -> LogError:
    """The LogError that polling ends with."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            poll()
        except LogError as error:
            return error
    raise AssertionError(f"no error came in {timeout_s} s")
