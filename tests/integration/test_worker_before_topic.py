"""Workers and the topic of their queue on a real broker: whoever comes first, tasks are taken within seconds."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator, Sequence

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from kit.media import append, error_of, until
from kit.records import RECORDS
from perdure._activity_worker.poll import Delivery, Poller
from perdure._log.address import open_log
from perdure._log.errors import TopicNotFound
from perdure._log.port import Log
from perdure._machine import THIS_MACHINE
from perdure_platform.node.topics import TaskTopics
from perdure_schemas.codec import encode_task
from perdure_schemas.topics import task_topic, tasks_topic

pytestmark = pytest.mark.kafka

TASK = encode_task(RECORDS["tasks"]["task"])
SOON_S = 10.0
"""A rebalance or two, on a busy machine. The library's own patience with a topic it does not know well is five minutes."""


@pytest.fixture
def logs(kafka: str) -> Iterator[tuple[Log, Log]]:
    """A worker's connection and an owner's."""
    opened = open_log(f"kafka://{kafka}")[0], open_log(f"kafka://{kafka}")[0]
    yield opened
    for log in opened:
        log.close()


@pytest.fixture
def namespace() -> str:
    return f"early-{uuid.uuid4().hex[:8]}"


async def taken(worker_log: Log, namespace: str, partitions: set[int], meanwhile: Callable[[], None]) -> float:
    """Seconds from the end of `meanwhile` until a worker, started before it, has taken a task of each partition."""
    missing = set(partitions)
    complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(deliveries: Sequence[Delivery]) -> None:
        missing.difference_update(delivery.partition for delivery in deliveries)
        if not missing and not complete.done():
            complete.set_result(None)

    poller = Poller(worker_log, THIS_MACHINE, namespace, "work", 10_000, 100, take, complete.set_exception)
    poller.start()
    try:
        await asyncio.to_thread(meanwhile)
        written = time.monotonic()
        await asyncio.wait([complete], timeout=2 * SOON_S)
        assert complete.done(), f"no task from partitions {missing}"
        await complete
        return time.monotonic() - written
    finally:
        poller.stop()
        await asyncio.to_thread(poller.join, 10)


@pytest.mark.parametrize("owner_comes_after_s", [0.0, 0.1, 2.0])
async def test_a_worker_that_comes_before_its_queue_takes_tasks_at_once(
    logs: tuple[Log, Log], namespace: str, owner_comes_after_s: float
) -> None:
    worker_log, owner_log = logs

    def dispatch() -> None:
        time.sleep(owner_comes_after_s)
        for partition in range(TaskTopics(owner_log, namespace, 60_000).partitions("work")):
            append(owner_log, tasks_topic(namespace, "work"), [TASK], partition)

    assert await taken(worker_log, namespace, {0, 1, 2, 3}, dispatch) < SOON_S


async def test_partitions_that_are_added_to_a_queue_are_read(logs: tuple[Log, Log], namespace: str, kafka: str) -> None:
    worker_log, owner_log = logs
    topic = tasks_topic(namespace, "work")
    owner_log.create_topics([task_topic(namespace, "work", partitions=1)], 60_000)
    append(owner_log, topic, [TASK])

    def grow() -> None:
        time.sleep(4)  # the worker has its one partition by then, and believes that this is all
        admin = AdminClient({"bootstrap.servers": kafka})
        admin.create_partitions([NewPartitions(topic, 3)])[topic].result(60)
        until(lambda: owner_log.describe_topics([topic], 5_000)[topic].partitions == 3, "the new partitions")
        append(owner_log, topic, [TASK], 2)

    assert await taken(worker_log, namespace, {0, 2}, grow) < SOON_S


def test_a_member_of_a_group_finds_a_topic_that_somebody_makes_later(logs: tuple[Log, Log], namespace: str) -> None:
    worker_log, owner_log = logs
    topic = tasks_topic(namespace, "work")
    member = worker_log.group_consumer(f"{namespace}-workers", topic, 10_000)
    assert isinstance(error_of(lambda: member.poll(1, 100)), TopicNotFound)
    owner_log.create_topics([task_topic(namespace, "work")], 60_000)
    append(owner_log, topic, [TASK], 3)
    until(lambda: member.poll(1, 100), "the task", SOON_S)
    member.close()
