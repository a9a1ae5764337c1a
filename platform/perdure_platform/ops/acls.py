"""What each role needs of a Kafka cluster that authorizes: one table, for operators and for the test that proves it (faults.md 6.2).

Only owners may append to histories: one forged claim takes a partition. Owners also delete what is trimmed, which Kafka calls Delete and
which is the right to delete the topic as well; the others neither delete nor alter anything.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from perdure_schemas.topics import (
    READERS_GROUP,
    commands_topic,
    dead_letters_topic,
    history_topic,
    owners_group,
    replies_topic,
    tasks_topic,
    workers_group,
)


class Role(Enum):
    """Who uses a namespace. An observer reads everything and changes nothing: `perdure-check`, `perdure task-queue`, and consumers of
    histories."""

    OWNER = "owner"
    WORKER = "worker"
    CLIENT = "client"
    OBSERVER = "observer"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a role may do to a topic or a group, or to all whose names begin with `name`. Operations as Kafka's tools call them."""

    role: Role
    resource: str
    name: str
    is_prefix: bool
    operations: tuple[str, ...]

    def command_line(self, principal: str) -> str:
        """The options of Kafka's own `kafka-acls` that grant this."""
        operations = " ".join(f"--operation {operation}" for operation in self.operations)
        pattern = " --resource-pattern-type prefixed" if self.is_prefix else ""
        return f"--add --allow-principal {shlex.quote(principal)} {operations} --{self.resource} {self.name}{pattern}"


_LOOK = ("Describe", "DescribeConfigs")
_READ = ("Read", *_LOOK)
_WRITE = ("Write", *_LOOK)


def grants(namespace: str, task_queues: Sequence[str] = ()) -> list[Grant]:
    """All that the roles need. Workers get the named task queues, or every one where none is named."""
    return list(_grants(namespace, task_queues))


def _grants(namespace: str, task_queues: Sequence[str]) -> Iterator[Grant]:
    commands, history, replies = commands_topic(namespace), history_topic(namespace), replies_topic(namespace)
    letters, queues = dead_letters_topic(namespace), tasks_topic(namespace, "")

    def topic(role: Role, name: str, *operations: str, is_prefix: bool = False) -> Grant:
        return Grant(role, "topic", name, is_prefix, operations)

    yield topic(Role.OWNER, commands, "Read", *_WRITE, "Delete")
    yield topic(Role.OWNER, history, "Read", *_WRITE, "Delete")
    yield topic(Role.OWNER, queues, *_WRITE, "Create", is_prefix=True)
    yield topic(Role.OWNER, replies, *_WRITE)
    yield topic(Role.OWNER, letters, *_WRITE)
    yield Grant(Role.OWNER, "group", owners_group(namespace), False, ("Read", "Describe"))

    yield topic(Role.WORKER, commands, *_WRITE)
    yield topic(Role.WORKER, history, *_LOOK)
    yield topic(Role.WORKER, replies, *_READ)
    yield topic(Role.WORKER, letters, *_WRITE)
    for name in task_queues or ("",):
        yield topic(Role.WORKER, tasks_topic(namespace, name), *_READ, "Create", is_prefix=not name)
        yield Grant(Role.WORKER, "group", workers_group(namespace, name), not name, ("Read", "Describe"))

    yield topic(Role.CLIENT, commands, *_WRITE)
    yield topic(Role.CLIENT, history, *_LOOK)
    yield topic(Role.CLIENT, replies, *_READ)

    for name in (commands, history, replies, letters):
        yield topic(Role.OBSERVER, name, *_READ)
    yield topic(Role.OBSERVER, queues, *_READ, is_prefix=True)
    yield Grant(Role.OBSERVER, "group", workers_group(namespace, ""), True, ("Describe",))

    for role in Role:
        yield Grant(role, "group", READERS_GROUP, False, ("Describe",))
