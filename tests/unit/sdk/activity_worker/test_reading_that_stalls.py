"""A member of a worker's group that is given nothing, although there are tasks: a fetch that is never answered (faults 7a.12)."""

from __future__ import annotations

import pytest

from kit.task_queue import CAPACITY, TaskQueue

LONG_MS = 60_000


@pytest.mark.parametrize("taken_before", [0, 1])
def test_a_reader_that_stands_still_joins_anew_and_takes_what_is_there(taken_before: int) -> None:
    queue = TaskQueue()
    poller = queue.start()
    queue.go_on(200)
    for offset in range(taken_before):
        queue.add()
        queue.go_on(200)
        poller.settle(0, offset)
    queue.log.is_deaf = True
    queue.add()
    queue.go_on(LONG_MS)
    assert [delivery.offset for delivery in queue.taken] == list(range(taken_before + 1))
    assert queue.log.members == 2
    queue.process.kill()


def test_a_worker_that_takes_no_more_is_not_taken_for_stalled() -> None:
    queue = TaskQueue()
    poller = queue.start()
    for _ in range(CAPACITY + 1):
        queue.add()
    queue.go_on(LONG_MS)
    assert len(queue.taken) == CAPACITY
    for offset in range(CAPACITY):
        poller.settle(0, offset)
    poller.release(CAPACITY)
    queue.go_on(LONG_MS)
    assert len(queue.taken) == CAPACITY + 1
    assert queue.log.members == 1
    queue.process.kill()


def test_tasks_that_expired_unread_are_not_waited_for() -> None:
    queue = TaskQueue()
    queue.start()
    queue.go_on(200)
    queue.log.is_deaf, queue.log.deaf_members = True, 9
    queue.add()
    queue.log.truncate_before(queue.topic, 0, 1, 0)
    queue.go_on(LONG_MS)
    assert queue.log.members == 1
    queue.process.kill()
