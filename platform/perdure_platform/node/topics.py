"""The topics of a namespace as an owner needs them: described, audited against what the protocol relies on, and task topics on demand."""

from __future__ import annotations

from perdure._log.errors import TopicNotFound
from perdure._log.port import Log
from perdure_platform.partition.rebuild import Topics
from perdure_schemas.errors import PerdureError
from perdure_schemas.topics import commands_topic, history_topic, namespace_topics, task_topic, tasks_topic

_AUDITED = {
    "cleanup.policy": ("delete", "the broker's cleaner knows no live rule and would remove what counts"),
    "retention.ms": ("-1", "the log is the only copy of the workflows"),
    "retention.bytes": ("-1", "the log is the only copy of the workflows"),
    "message.timestamp.type": ("LogAppendTime", "partition time is the broker's append time"),
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
    """Partition count and the ids of the commands and history topics. Raises NamespaceNotFound, TopicsUnsafe."""
    names = [spec.name for spec in namespace_topics(namespace, 1)]
    found = log.describe_topics(names, timeout_ms)
    missing = [name for name in names if name not in found]
    if missing:
        raise NamespaceNotFound(
            f"{log.url} has no namespace {namespace!r} (missing: {', '.join(missing)}); "
            f"make it with: perdure namespace create {namespace} --log {log.url}"
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
            if actual != wanted:
                raise TopicsUnsafe(
                    f"{topic.name} has {setting}={actual}, and it must be {wanted}: {why}. "
                    "Set it back before anything is lost, for example with: "
                    f"kafka-configs --alter --entity-type topics --entity-name {topic.name} --add-config {setting}={wanted}"
                )
    return commands.partitions, commands.topic_id, history.topic_id


def partition_topics(namespace: str, partition: int, described: tuple[int, str, str]) -> Topics:
    """One partition of a described namespace."""
    count, commands_id, history_id = described
    return Topics(namespace, partition, count, commands_id, history_id)


class TaskTopics:
    """Partition counts of queues' topics, made when first used."""

    def __init__(self, log: Log, namespace: str, timeout_ms: int = 10_000) -> None:
        self._log = log
        self._namespace = namespace
        self._timeout_ms = timeout_ms
        self._partitions: dict[str, int] = {}

    def partitions(self, task_queue: str) -> int:
        """How many partitions the queue's topic has. Raises LogError where it cannot be made."""
        known = self._partitions.get(task_queue)
        if known is None:
            name = tasks_topic(self._namespace, task_queue)
            if name not in self._log.describe_topics([name], self._timeout_ms):
                self._log.create_topics([task_topic(self._namespace, task_queue)], self._timeout_ms)
            found = self._log.describe_topics([name], self._timeout_ms)
            if name not in found:
                raise TopicNotFound(f"{name} could not be made")
            known = self._partitions[task_queue] = found[name].partitions
        return known

    def forget(self, task_queue: str) -> None:
        """The topic may have changed; describe it anew."""
        self._partitions.pop(task_queue, None)
