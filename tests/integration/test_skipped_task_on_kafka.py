"""A client of the library that gives the offsets before and behind a task, and not the task, as one did behind a broker that was fenced."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from kit.media import PATIENCE_S, append
from kit.records import RECORDS
from perdure._activity_worker.poll import Delivery, Poller
from perdure._log.address import open_log
from perdure._log.kafka import consumer, membership
from perdure._machine import THIS_MACHINE
from perdure_schemas.codec import encode_task
from perdure_schemas.topics import task_topic, tasks_topic

pytestmark = pytest.mark.kafka

TASKS = 6


@pytest.mark.parametrize("skipped", [0, 3, TASKS - 1])
async def test_a_task_that_the_library_skips_is_read_by_the_next_client(kafka: str, monkeypatch: pytest.MonkeyPatch, skipped: int) -> None:
    left_out: list[int] = []

    def take(client: Any, records_max: int, timeout_ms: int) -> list[Any]:
        messages = consumer.take(client, records_max, timeout_ms)
        if not left_out:
            left_out.extend(message.offset() for message in messages if message.error() is None and message.offset() == skipped)
            return [message for message in messages if message.offset() not in left_out]
        return messages

    monkeypatch.setattr(membership, "take", take)
    log, _ = open_log(f"kafka://{kafka}")
    namespace = f"skips-{uuid.uuid4().hex[:8]}"
    log.create_topics([task_topic(namespace, "work")], 60_000)
    append(log, tasks_topic(namespace, "work"), [encode_task(RECORDS["tasks"]["task"])] * TASKS)
    taken: set[int] = set()
    all_taken, failures = asyncio.Event(), list[Exception]()

    def on_tasks(deliveries: Sequence[Delivery]) -> None:
        taken.update(delivery.offset for delivery in deliveries)
        if len(taken) == TASKS:
            all_taken.set()

    poller = Poller(log, THIS_MACHINE, namespace, "work", 6_000, 100, on_tasks, failures.append)
    poller.start()
    try:
        await asyncio.wait_for(all_taken.wait(), 2 * PATIENCE_S)
    finally:
        poller.stop()
        await asyncio.to_thread(poller.join, PATIENCE_S)
        log.close()
    assert left_out == [skipped]
    assert not failures
