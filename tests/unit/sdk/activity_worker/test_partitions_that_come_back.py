"""A partition of a queue that was another member's meanwhile: what was taken from it before is no longer this worker's to commit."""

from __future__ import annotations

import pytest

from kit.task_queue import SESSION_MS, TaskQueue
from perdure_schemas.topics import workers_group


@pytest.mark.parametrize("is_done_before", [True, False])
def test_a_worker_that_gets_a_partition_back_does_not_take_back_what_others_committed(is_done_before: bool) -> None:
    queue = TaskQueue()
    queue.add()
    poller = queue.start()
    queue.go_on(200)
    assert [delivery.offset for delivery in queue.taken] == [0]
    if is_done_before:
        poller.settle(0, 0)  # and its commit is only sent, or not yet
    queue.clock.ms += 2 * SESSION_MS

    other = queue.log.group_consumer(workers_group("ns", "work"), queue.topic, SESSION_MS)
    queue.add()
    assert other.poll(10, 0)
    other.commit({0: 2})
    other.close()
    poller.settle(0, 0)
    queue.go_on(20_000)

    assert queue.committed == 2
    queue.process.kill()
