"""What tools for consumer groups show of owners: offsets that follow what is settled, so that lag is what it is called (design.md 3.5)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from kit.media import until
from kit.sim_workflows import WORKFLOWS
from perdure._log.address import open_log
from perdure._log.port import Log
from perdure._replay.runtime import CodeHost
from perdure.client import Client
from perdure_platform.node.embedded import EmbeddedOwner
from perdure_schemas.topics import commands_topic, namespace_topics, owners_group

pytestmark = pytest.mark.kafka

PARTITIONS = 2


@pytest.fixture
def log(kafka: str) -> Iterator[Log]:
    log, _ = open_log(f"kafka://{kafka}")
    yield log
    log.close()


async def test_the_group_s_offsets_come_to_the_end_of_what_was_asked(kafka: str, log: Log, tmp_path: Path) -> None:
    namespace = f"lag-{uuid.uuid4().hex[:8]}"
    log.create_topics(namespace_topics(namespace, PARTITIONS), 60_000)
    owner = EmbeddedOwner(log, namespace, CodeHost(WORKFLOWS), store_directory=tmp_path)
    owner.start()
    client = await Client.connect(f"kafka://{kafka}/{namespace}")
    for number in range(8):
        await client.execute_workflow("SimNote", id=f"note-{number}", task_queue="sim")
    await client.close()
    places = [(commands_topic(namespace), partition) for partition in range(PARTITIONS)]
    ends = log.end_offsets(places, 10_000)
    assert all(end > 0 for end in ends.values()), "a partition had nothing to do"
    tool = Consumer({"bootstrap.servers": kafka, "group.id": owners_group(namespace)})
    try:

        def shown() -> list[int]:
            return [found.offset for found in tool.committed([TopicPartition(*place) for place in places], timeout=10)]

        until(lambda: shown() == [ends[place] for place in places], "committed offsets at the ends of the commands")
    finally:
        tool.close()
        await owner.stop(5_000)
    assert owner.failure is None
