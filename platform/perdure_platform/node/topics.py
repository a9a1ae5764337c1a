"""The topics of a namespace as an owner needs them: described, audited against what the protocol relies on, and task topics on demand."""

from __future__ import annotations

import logging
import shlex
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from perdure._log.errors import LogError, LogUnauthorized, LogUnavailable, OffsetOutOfRange, TopicNotFound
from perdure._log.port import Log, Record, TopicPartition
from perdure_platform.node.replication import warnings
from perdure_platform.partition.rebuild import Topics, check_claim
from perdure_schemas.codec import decode_history
from perdure_schemas.errors import CodecError, PerdureError
from perdure_schemas.history import Claim
from perdure_schemas.topics import RECORD_BYTES_MAX, UNREPLICATED, commands_topic, history_topic, namespace_topics, task_topic, tasks_topic

AUDIT_TIMEOUT_MS = 30_000
"""Timeout of one look at the replication of a namespace's topics, in milliseconds."""

AUDIT_INTERVAL_S = 60.0
"""Between two looks at the topics' settings. Brokers act on a new retention every five minutes: it is told before anything is lost."""

TASK_TOPIC_AGAIN_MS = 5_000
"""Whose topic could not be had is asked for again after this; a parked task rests for twice as long."""

_logger = logging.getLogger("perdure.owner")

_AUDITED = {
    "cleanup.policy": ("delete", "the broker's cleaner knows no live rule and would remove what counts"),
    "retention.ms": ("-1", "the log is the only copy of the workflows"),
    "retention.bytes": ("-1", "the log is the only copy of the workflows"),
    "message.timestamp.type": ("LogAppendTime", "partition time is the broker's append time"),
    "max.message.bytes": (str(RECORD_BYTES_MAX), "a record that the topic does not take holds up its partition (more is as good)"),
}


class NamespaceNotFound(PerdureError):
    """The namespace has no topics."""


class TopicsUnsafe(PerdureError):
    """A topic's settings would lose data or break the protocol; nothing is claimed until they are mended (design.md 3.1, K8)."""


def ensure_namespace(log: Log, namespace: str, timeout_ms: int = 30_000) -> None:
    """Make the topics where the medium makes them by itself (embedded logs); elsewhere somebody runs `perdure namespace create`."""
    if log.creates_namespaces:
        log.create_topics(namespace_topics(namespace, log.default_partitions), timeout_ms)


def describe_namespace(log: Log, namespace: str, timeout_ms: int = 30_000) -> tuple[int, str, str]:
    """Partition count and the ids of the commands and history topics.

    Raises NamespaceNotFound, TopicsUnsafe; LogCorrupt where these are not the topics, or the number of partitions, that a claim names.
    """
    deadline = time.monotonic() + timeout_ms / 1000
    names = [spec.name for spec in namespace_topics(namespace, 1)]
    found = log.describe_topics(names, timeout_ms)
    missing = [name for name in names if name not in found]
    if missing:
        raise NamespaceNotFound(
            f"{log.url} has no namespace {namespace!r} (missing: {', '.join(missing)}); "
            f"make it with: perdure namespace create {shlex.quote(namespace)} --log {shlex.quote(log.url)}"
        )
    commands, history = found[commands_topic(namespace)], found[history_topic(namespace)]
    if commands.partitions != history.partitions:
        raise TopicsUnsafe(
            f"{commands.name} has {commands.partitions} partitions and {history.name} has {history.partitions}; "
            "they must have the same number. "
            "Partitions cannot be added to a namespace: make a new one"
        )
    for topic in (commands, history):
        for setting, (wanted, why) in _AUDITED.items():
            actual = topic.settings.get(setting, wanted)
            if actual != wanted and not (setting == "max.message.bytes" and int(actual) > int(wanted)):
                raise TopicsUnsafe(
                    f"{topic.name} has {setting}={actual}, and it must be {wanted}: {why}. "
                    "Set it back before anything is lost, for example with: "
                    f"kafka-configs --bootstrap-server {log.url.removeprefix('kafka://')} --alter --entity-type topics "
                    f"--entity-name {topic.name} --add-config {setting}={wanted}"
                )
    described = (commands.partitions, commands.topic_id, history.topic_id)
    _compare_with_first_claim(log, namespace, described, max(1, round((deadline - time.monotonic()) * 1000)))
    return described


def require_rights(log: Log, namespace: str, timeout_ms: int = 30_000) -> None:
    """Raise LogUnauthorized where this process may not do what an owner has to: it would claim, and end at its first read (C6)."""
    names = [commands_topic(namespace), history_topic(namespace)]
    for topic in log.describe_topics(names, timeout_ms).values():
        if topic.allowed is not None and (missing := {"READ", "WRITE"} - topic.allowed):
            raise LogUnauthorized(
                f"{log.url}: this user may not {' or '.join(sorted(missing))} {topic.name}, and an owner has to; "
                "see: perdure namespace acls"
            )


def _compare_with_first_claim(log: Log, namespace: str, described: tuple[int, str, str], timeout_ms: int) -> None:
    """A partition that was added has no claim to disagree with, and would take ids that live in others: one claim speaks for all."""
    places = [(history_topic(namespace), partition) for partition in range(described[0])]
    deadline = time.monotonic() + timeout_ms / 1000
    while True:
        starts, ends = log.start_offsets(places, timeout_ms), log.end_offsets(places, timeout_ms)
        first = next((place for place in places if starts[place] < ends[place]), None)
        if first is None:
            return
        try:
            record = _read_one(log, first, starts[first], timeout_ms)
            break
        except OffsetOutOfRange as error:  # its owner has trimmed it meanwhile
            if time.monotonic() > deadline:
                raise LogUnavailable(f"{log.url}: {error}, again and again for {timeout_ms} ms") from error
    with suppress(CodecError):  # its own partition stops there
        if isinstance(claim := decode_history(record.value), Claim):
            check_claim(partition_topics(namespace, first[1], described), claim, record.offset)


def _read_one(log: Log, place: TopicPartition, offset: int, timeout_ms: int) -> Record:
    deadline = time.monotonic() + timeout_ms / 1000
    consumer = log.consumer()
    try:
        consumer.assign({place: offset})
        while (left_ms := round((deadline - time.monotonic()) * 1000)) > 0:
            if records := consumer.poll(1, left_ms):
                return records[0]
    finally:
        consumer.close()
    raise LogUnavailable(f"{log.url}: {place[0]}[{place[1]}] did not give the record at offset {offset} in {timeout_ms} ms")


def partition_topics(namespace: str, partition: int, described: tuple[int, str, str]) -> Topics:
    """One partition of a described namespace."""
    count, commands_id, history_id = described
    return Topics(namespace, partition, count, commands_id, history_id)


class Auditor:
    """Describes the namespace again every minute, and whenever a claim is to be made; on a thread, because a broker may answer late.

    What it finds it says in the log of this process, each time. Call `start` once, `stop` at the end.
    """

    def __init__(self, log: Log, namespace: str) -> None:
        self._log = log
        self._namespace = namespace
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._waiting: list[Future[None]] = []
        self._warned: list[str] = []
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name=f"perdure-audit-{namespace}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end; does not wait for an answer of the broker."""
        self._is_over = True
        self._asked.set()

    def ask(self) -> Future[None]:
        """A look at the topics that begins after this call. It fails with what `describe_namespace` raises."""
        future: Future[None] = Future()
        with self._lock:
            self._waiting.append(future)
        self._asked.set()
        return future

    def _run(self) -> None:
        while not self._is_over:
            self._asked.wait(AUDIT_INTERVAL_S)
            self._asked.clear()
            with self._lock:
                waiting, self._waiting = self._waiting, []
            failure = None if self._is_over else self._look()
            for future in waiting:
                if failure is None:
                    future.set_result(None)
                else:
                    future.set_exception(failure)

    def _look(self) -> Exception | None:
        try:
            describe_namespace(self._log, self._namespace)
            self._warn()
        except LogUnavailable as error:
            return error  # whoever works with the log says so
        except PerdureError as error:
            _logger.error("the topics of namespace %r are not as they must be: %s", self._namespace, error)
            return error
        except Exception as error:
            _logger.critical("the topics of namespace %r could not be looked at: a defect", self._namespace, exc_info=True)
            return error
        return None

    def _warn(self) -> None:
        """Say what is not as safe as it could be, once for as long as it stays so. Nothing else depends on it."""
        try:
            found = warnings(self._log, self._namespace, AUDIT_TIMEOUT_MS)
        except (LogUnavailable, LogUnauthorized) as error:
            _logger.debug("the replication of namespace %r is not known: %s", self._namespace, error)
            return
        for text in found:
            if text not in self._warned:
                _logger.warning("namespace %r: %s", self._namespace, text)
        self._warned = found


class TaskTopics:
    """Partition counts of queues' topics, made when first used.

    The owner waits meanwhile, at most three times `timeout_ms`: less than the session after which others take its partitions. So what
    failed is not tried again for each task, but after a while.
    """

    def __init__(
        self, log: Log, namespace: str, timeout_ms: int = 2_000, *, monotonic_ms: Callable[[], float] = lambda: time.monotonic() * 1000
    ) -> None:
        self._log = log
        self._namespace = namespace
        self._timeout_ms = timeout_ms
        self._monotonic_ms = monotonic_ms
        self._partitions: dict[str, int] = {}
        self._failed: dict[str, tuple[float, LogError]] = {}

    def partitions(self, task_queue: str) -> int:
        """How many partitions the queue's topic has. Raises LogError where it cannot be made."""
        known = self._partitions.get(task_queue)
        if known is None:
            again_ms, error = self._failed.pop(task_queue, (0.0, None))
            if error is None or self._monotonic_ms() >= again_ms:
                try:
                    known = self._partitions[task_queue] = self._make(task_queue)
                    return known
                except LogError as failure:
                    again_ms, error = self._monotonic_ms() + TASK_TOPIC_AGAIN_MS, failure
            self._failed[task_queue] = (again_ms, error)
            raise error.with_traceback(None)
        return known

    def _make(self, task_queue: str) -> int:
        name = tasks_topic(self._namespace, task_queue)
        history = history_topic(self._namespace)
        known = self._log.describe_topics([name, history], self._timeout_ms)
        if name not in known:
            replication = known[history].replication if history in known else UNREPLICATED
            self._log.create_topics([task_topic(self._namespace, task_queue, replication=replication)], self._timeout_ms)
        found = self._log.describe_topics([name], self._timeout_ms)
        if name not in found:
            raise TopicNotFound(f"{name} could not be made")
        return found[name].partitions

    def forget(self, task_queue: str) -> None:
        """The topic may have changed; describe it anew."""
        self._partitions.pop(task_queue, None)
