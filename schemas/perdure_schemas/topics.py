"""The topics of a namespace as data: names, partition counts and settings (design.md 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_PLAIN = re.compile(r"[A-Za-z0-9.-]+")
_ESCAPED = re.compile(rb"_([0-9A-F]{2})")

KEEP_FOREVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
"""Kafka refuses prefix deletes on a topic without the delete policy, so "never clean up" is written like this."""

APPEND_TIME = {"message.timestamp.type": "LogAppendTime"}
"""Partition time, and every retention, go by the broker's clock. With a producer's own, brokers refuse records that are an hour ahead."""

RECORD_BYTES_MAX = 8 * 1024 * 1024
"""Largest record on any topic: room for a transition with several payloads at their limit."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic that must exist: its full name, how many partitions, and the settings that the audit compares."""

    name: str
    partitions: int
    settings: dict[str, str] = field(default_factory=dict)
    replicas: int = 0
    """Number of copies of each partition; 0 leaves the number to the medium."""


TOPIC_CHARACTERS_MAX = 249
"""Characters of a topic's name that Kafka takes."""

NAMESPACE_CHARACTERS_MAX = 100
"""Characters of a namespace's name, so that the names of its topics have room for more."""


@dataclass(frozen=True, slots=True)
class Replication:
    """How many copies of each partition there are, and how many must have a record before it is acknowledged. 0 leaves it to the medium."""

    factor: int = 0
    in_sync_min: int = 0

    @property
    def settings(self) -> dict[str, str]:
        """The part of it that is a setting of a topic."""
        return {"min.insync.replicas": str(self.in_sync_min)} if self.in_sync_min else {}


UNREPLICATED = Replication()
"""Replication as the medium has it by default."""


def replication_for(nodes: int) -> Replication:
    """What suits a cluster of so many brokers: three copies, two of them in sync, where there are three. One broker may then be lost
    without a loss of records, and work goes on meanwhile."""
    return Replication(min(nodes, 3), 2 if nodes >= 3 else 1)


READERS_GROUP = "perdure.readers"
"""Named by those who read without joining any group: Kafka's client library looks for its coordinator all the same."""


def commands_topic(namespace: str) -> str:
    """Name of the topic that clients, workers and other partitions ask through."""
    return f"{namespace}.commands"


def history_topic(namespace: str) -> str:
    """Name of the topic that holds the truth."""
    return f"{namespace}.history"


def tasks_topic(namespace: str, task_queue: str) -> str:
    """Name of the topic that the workers of one queue read."""
    return f"{namespace}.tasks.{name_in_topic(task_queue)}"


def task_queue_of(namespace: str, topic: str) -> str | None:
    """The task queue that a topic of a namespace is for; None where it is for something else. Undoes `tasks_topic`."""
    prefix = tasks_topic(namespace, "")
    if not topic.startswith(prefix):
        return None
    try:
        queue = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), topic.removeprefix(prefix).encode()).decode()
    except UnicodeDecodeError:
        return None
    return queue if tasks_topic(namespace, queue) == topic else None


def replies_topic(namespace: str) -> str:
    """Name of the topic on which clients and workers listen."""
    return f"{namespace}.replies"


def dead_letters_topic(namespace: str) -> str:
    """Name of the topic for what could not be used."""
    return f"{namespace}.dead-letters"


def owners_group(namespace: str) -> str:
    """Name of the group whose members are owners; membership is a hint and never a lock."""
    return f"{namespace}.owners"


def workers_group(namespace: str, task_queue: str) -> str:
    """Name of the consumer group of a queue's workers."""
    return f"{namespace}.workers.{name_in_topic(task_queue)}"


def name_in_topic(text: str) -> str:
    """`text` with everything but letters, digits, dots and dashes as _XX for each byte, because Kafka's names hold nothing else.

    The underscore is written like that as well, so that no two queues share a topic.
    """
    if _PLAIN.fullmatch(text):
        return text
    return "".join(chr(byte) if _PLAIN.fullmatch(chr(byte)) else f"_{byte:02X}" for byte in text.encode())


def namespace_topics(
    namespace: str, partitions: int, replies_partitions: int = 4, replication: Replication = UNREPLICATED
) -> tuple[TopicSpec, ...]:
    """The fixed topics of a namespace; task topics are added queue by queue with `task_topic`."""
    common = {**APPEND_TIME, "max.message.bytes": str(RECORD_BYTES_MAX), **replication.settings}
    replies, letters = {"cleanup.policy": "delete", "retention.ms": "600000"}, {"cleanup.policy": "delete", "retention.ms": "-1"}
    return (
        TopicSpec(commands_topic(namespace), partitions, {**KEEP_FOREVER, **common}, replication.factor),
        TopicSpec(history_topic(namespace), partitions, {**KEEP_FOREVER, **common}, replication.factor),
        TopicSpec(replies_topic(namespace), replies_partitions, {**replies, **common}, replication.factor),
        TopicSpec(dead_letters_topic(namespace), 1, {**letters, **common}, replication.factor),
    )


def task_topic(namespace: str, task_queue: str, partitions: int = 4, replication: Replication = UNREPLICATED) -> TopicSpec:
    """The topic of one task queue. Unstarted tasks are dispatched again before its retention passes (design.md 7)."""
    settings = {
        "cleanup.policy": "delete",
        "retention.ms": str(TASK_RETENTION_MS),
        "max.message.bytes": str(RECORD_BYTES_MAX),
        **APPEND_TIME,
        **replication.settings,
    }
    return TopicSpec(tasks_topic(namespace, task_queue), partitions, settings, replication.factor)


TASK_RETENTION_MS = 7 * 24 * 3600 * 1000
"""How long a task waits in its topic; half of it, and an unstarted task is dispatched again."""
