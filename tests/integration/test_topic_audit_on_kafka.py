"""The audit of a namespace's topics against a real broker: what an operator can do to them with Kafka's own tools."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import admin as kafka_admin
from confluent_kafka.admin import AdminClient

from kit.media import until
from perdure._log.address import open_log
from perdure._log.port import Log
from perdure._replay.runtime import CodeHost
from perdure_platform.node.embedded import EmbeddedOwner
from perdure_platform.node.topics import TopicsUnsafe
from perdure_schemas.errors import LogCorrupt
from perdure_schemas.topics import namespace_topics

pytestmark = pytest.mark.kafka

PARTITIONS = 2
library: Any = kafka_admin  # which does not say what it exports


@pytest.fixture
def admin(kafka: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka})


@pytest.fixture
def log(kafka: str) -> Iterator[Log]:
    log, _ = open_log(f"kafka://{kafka}")
    yield log
    log.close()


@pytest.fixture
def namespace(log: Log) -> str:
    """A namespace as `perdure namespace create` makes it."""
    name = f"audit-{uuid.uuid4().hex[:8]}"
    log.create_topics(namespace_topics(name, PARTITIONS), 60_000)
    return name


def owner(log: Log, namespace: str, directory: Path | None = None) -> EmbeddedOwner:
    host = CodeHost([], deadlock_timeout_ms=0)
    return EmbeddedOwner(log, namespace, host, store_directory=directory, session_timeout_ms=1_000)


async def lead(log: Log, namespace: str, directory: Path) -> None:
    """Let an owner claim every partition, and go."""
    leading = owner(log, namespace, directory)
    leading.start()
    until(lambda: min(history_ends(log, namespace).values()) >= 2, "claims and their position records")
    await leading.stop(10_000)
    assert leading.failure is None


def history_ends(log: Log, namespace: str) -> dict[tuple[str, int], int]:
    return log.end_offsets([(f"{namespace}.history", partition) for partition in range(PARTITIONS)], 10_000)


def set_config(admin: AdminClient, topic: str, setting: str, value: str) -> None:
    entry = library.ConfigEntry(setting, value, incremental_operation=library.AlterConfigOpType.SET)
    for future in admin.incremental_alter_configs(
        [library.ConfigResource(library.ResourceType.TOPIC, topic, incremental_configs=[entry])]
    ).values():
        future.result(10)


@pytest.mark.parametrize(
    ("topic", "setting", "actual", "wanted"),
    [
        ("history", "cleanup.policy", "compact", "delete"),
        ("history", "retention.ms", "604800000", "-1"),
        ("commands", "retention.bytes", "1000000", "-1"),
        ("commands", "message.timestamp.type", "CreateTime", "LogAppendTime"),
    ],
)
def test_a_setting_that_was_altered_is_named_with_its_remedy_and_nothing_is_claimed(
    admin: AdminClient, log: Log, namespace: str, topic: str, setting: str, actual: str, wanted: str
) -> None:
    name = f"{namespace}.{topic}"
    set_config(admin, name, setting, actual)
    until(lambda: log.describe_topics([name], 10_000)[name].settings[setting] == actual, "the broker has taken the setting")
    with pytest.raises(TopicsUnsafe, match=rf"{namespace}\.{topic} has {setting}={actual}, .*--add-config {setting}={wanted}"):
        owner(log, namespace).start()
    assert set(history_ends(log, namespace).values()) == {0}


async def test_partitions_that_were_added_are_refused_before_they_are_led(
    admin: AdminClient, log: Log, namespace: str, tmp_path: Path
) -> None:
    await lead(log, namespace, tmp_path)
    more = [library.NewPartitions(f"{namespace}.{topic}", PARTITIONS + 1) for topic in ("history", "commands")]
    for future in admin.create_partitions(more).values():
        future.result(10)
    before = history_ends(log, namespace)

    def described() -> int:
        return log.describe_topics([more[0].topic], 10_000)[more[0].topic].partitions

    until(lambda: described() == PARTITIONS + 1, "the new partition")
    with pytest.raises(LogCorrupt, match=r"was made with 2 partitions .* its topics have 3: .*make a new namespace"):
        owner(log, namespace, tmp_path).start()
    assert history_ends(log, namespace) == before
    assert log.end_offsets([(f"{namespace}.history", PARTITIONS)], 10_000) == {(f"{namespace}.history", PARTITIONS): 0}


async def test_a_commands_topic_that_was_made_anew_is_refused_with_both_ids(
    admin: AdminClient, log: Log, namespace: str, tmp_path: Path
) -> None:
    await lead(log, namespace, tmp_path)
    name = f"{namespace}.commands"
    old = log.describe_topics([name], 10_000)[name].topic_id
    for future in admin.delete_topics([name]).values():
        future.result(10)
    until(lambda: not log.describe_topics([name], 10_000), "the topic's end")
    log.create_topics([spec for spec in namespace_topics(namespace, PARTITIONS) if spec.name == name], 60_000)
    new = log.describe_topics([name], 10_000)[name].topic_id
    before = history_ends(log, namespace)
    with pytest.raises(LogCorrupt) as refused:
        owner(log, namespace, tmp_path).start()
    assert f"not the one that its claims name ({old}, now {new})" in str(refused.value)
    assert history_ends(log, namespace) == before
