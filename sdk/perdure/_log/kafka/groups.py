"""What a cluster says of a consumer group: for people who look.

Where a group's coordinator cannot be had before a request of the admin client times out, the library ends the process (librdkafka issues
3663 and 4605; reproduced with 2.16.1). So the admin client asks no coordinator here: a consumer asks for the committed offsets, the
brokers list the members of classic groups, and for those of the newer protocol there is a process of its own (newer_groups.py).
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, GroupMetadata  # type: ignore[attr-defined]

from perdure._log.errors import LogError, LogUnavailable
from perdure._log.kafka.errors import Trouble, log_error
from perdure._log.kafka.settings import Settings
from perdure._log.port import DescribedMember, GroupDescription

_STARTS_S = 10.0
"""What the interpreter of a process may take to start, in seconds, beside its request."""

_NEWER_PROTOCOL = "Dead"
"""How brokers describe a group of the KIP-848 protocol to those who ask for a classic one, although they have just listed it."""


def described_group(
    url: str, common: Settings, reader: Settings, group: str, topic: str, partitions: int, timeout_ms: int
) -> GroupDescription:
    """See Log.describe_group. `common` and `reader` are the settings of an admin client and of a consumer."""
    deadline = time.monotonic() + timeout_ms / 1000
    trouble = Trouble(url)

    def left_s() -> float:
        return max(0.1, deadline - time.monotonic())

    def failed(error: KafkaException, what: str) -> LogError:
        found = trouble.refusal() or log_error(error, f"{url}: {what}")
        why = trouble.unconnected()
        return LogUnavailable(f"{found}; the last attempt to connect: {why}") if why and isinstance(found, LogUnavailable) else found

    try:
        with closing(Consumer({**reader, "group.id": group, "error_cb": trouble.note})) as consumer:
            asked = [TopicPartition(topic, number) for number in range(partitions)]
            offsets = consumer.committed(asked, timeout=left_s())
        for one in offsets:
            if one.error is not None:
                raise KafkaException(one.error)
        configured: Any = {**common, "error_cb": trouble.note}
        admin = AdminClient(configured)
        members: list[DescribedMember] = []
        with warnings.catch_warnings():  # the library calls it deprecated, and its successor is the one that ends the process
            warnings.simplefilter("ignore", DeprecationWarning)
            listed = admin.list_groups(group=group, timeout=left_s())
        for found in listed:
            if found.error is not None:
                raise KafkaException(found.error)
            is_newer = found.state == _NEWER_PROTOCOL
            members.extend(_newer_members(url, common, group, topic, left_s()) if is_newer else _members(found, topic))
    except KafkaException as error:
        raise failed(error, f"describing the group {group}") from error
    committed = {one.partition: one.offset for one in offsets if one.offset >= 0}  # below 0: nothing is committed
    return GroupDescription(tuple(sorted(members, key=lambda member: member.name)), committed)


def _members(found: GroupMetadata, topic: str) -> Iterator[DescribedMember]:
    for member in found.members:
        shared = tuple(sorted(_assigned(member.assignment or b"", topic)))
        yield DescribedMember(str(member.id), str(member.client_host).removeprefix("/"), shared)


def _newer_members(url: str, common: Settings, group: str, topic: str, timeout_s: float) -> list[DescribedMember]:
    """The members of a group of the newer protocol. Raises LogUnavailable."""
    settings = {name: value for name, value in common.items() if isinstance(value, str | int | float)}
    asked = json.dumps({"settings": settings, "group": group, "timeout_s": timeout_s})
    command = [sys.executable, "-m", "perdure._log.kafka.newer_groups"]
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command, input=asked, capture_output=True, text=True, timeout=timeout_s + _STARTS_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise LogUnavailable(f"{url}: describing the group {group}: no answer in {timeout_s:g} s") from None
    if done.returncode != 0:
        raise LogUnavailable(f"{url}: describing the group {group}: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}")
    return [
        DescribedMember(name, host.removeprefix("/"), tuple(sorted(number for held, number in places if held == topic)))
        for name, host, places in json.loads(done.stdout)
    ]


def _assigned(assignment: bytes, topic: str) -> Iterator[int]:
    """The partitions of a topic in a member's assignment, as Kafka's consumer protocol writes it: a version, and per topic a list."""
    if len(assignment) < 6:
        return
    (topics,), at = struct.unpack_from(">i", assignment, 2), 6
    for _ in range(topics):
        (length,) = struct.unpack_from(">h", assignment, at)
        name, at = assignment[at + 2 : at + 2 + length].decode(), at + 2 + length
        (count,) = struct.unpack_from(">i", assignment, at)
        numbers, at = struct.unpack_from(f">{count}i", assignment, at + 4), at + 4 + 4 * count
        if name == topic:
            yield from numbers
