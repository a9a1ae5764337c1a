"""A replies topic that takes less than an answer needs: whoever asked is told so, and does not wait for an answer that never comes."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import admin as kafka_admin
from confluent_kafka.admin import AdminClient

from kit.media import until
from perdure import workflow
from perdure._log.address import open_log
from perdure._replay.runtime import CodeHost
from perdure.client import Client
from perdure_platform.node.embedded import EmbeddedOwner
from perdure_schemas.errors import LimitExceeded
from perdure_schemas.topics import namespace_topics, replies_topic

pytestmark = pytest.mark.kafka

library: Any = kafka_admin  # which does not say what it exports
TOPIC_BYTES_MAX = 100_000
LARGE = 150_000


@workflow.defn
class Generous:
    """Returns and answers much."""

    @workflow.run
    async def run(self, size: int) -> str:
        return "x" * size

    @workflow.query
    def more(self, size: int) -> str:
        return "x" * size


@pytest.fixture
async def client(kafka: str, tmp_path: Path) -> AsyncIterator[Client]:
    namespace = f"replies-{uuid.uuid4().hex[:8]}"
    log, _ = open_log(f"kafka://{kafka}")
    log.create_topics(namespace_topics(namespace, 1), 60_000)
    topic = replies_topic(namespace)
    entry = library.ConfigEntry("max.message.bytes", str(TOPIC_BYTES_MAX), incremental_operation=library.AlterConfigOpType.SET)
    resource = library.ConfigResource(library.ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": kafka})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)
    until(lambda: log.describe_topics([topic], 10_000)[topic].settings["max.message.bytes"] == str(TOPIC_BYTES_MAX), "the setting")
    owner = EmbeddedOwner(log, namespace, CodeHost([Generous]), store_directory=tmp_path)
    owner.start()
    yield await Client.connect(f"kafka://{kafka}/{namespace}")
    await owner.stop(5_000)
    log.close()


async def test_an_answer_that_the_replies_topic_does_not_take_becomes_one_that_says_so(client: Client) -> None:
    handle = await client.start_workflow(Generous.run, 10, id="small", task_queue="work")
    assert await handle.result() == "x" * 10
    with pytest.raises(LimitExceeded, match=r"the answer has \d+ bytes.*replies.*max\.message\.bytes"):
        await handle.query(Generous.more, LARGE)
    assert await handle.query(Generous.more, 10) == "x" * 10


async def test_a_result_that_the_replies_topic_does_not_take_is_told_to_be_too_large(client: Client) -> None:
    with pytest.raises(LimitExceeded, match=r"the answer has \d+ bytes.*replies.*max\.message\.bytes"):
        await client.execute_workflow(Generous.run, LARGE, id="large", task_queue="work")
    assert (await client.get_workflow_handle("large").describe()).status.name == "COMPLETED"
