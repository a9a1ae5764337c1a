"""A reader that skips a task: its owner knows that it is in the log and sends it no more, so it is read again (as commands are, A8)."""

from __future__ import annotations

import pytest

from kit.task_queue import TaskQueue

LONG_MS = 60_000


def offsets(queue: TaskQueue) -> list[int]:
    return [delivery.offset for delivery in queue.taken]


def one_taken_and_the_next_skipped() -> TaskQueue:
    """The first task is here, and not settled; the second was read, and given to nobody."""
    queue = TaskQueue()
    queue.start()
    queue.go_on(200)
    queue.add()
    queue.go_on(200)
    queue.log.skipped[1] = 1
    queue.add()
    return queue


def test_a_task_that_the_reader_skips_between_others_is_read_again() -> None:
    queue = TaskQueue()
    poller = queue.start()
    queue.go_on(200)
    queue.add()
    queue.go_on(200)
    poller.settle(0, 0)
    queue.go_on(500)
    queue.log.skipped[1] = 1
    queue.add()
    queue.add()
    queue.go_on(LONG_MS)
    assert offsets(queue) == [0, 1, 2]
    assert queue.committed == 1
    queue.process.kill()


@pytest.mark.parametrize("skipped", [0, 1])
@pytest.mark.parametrize("times", [1, 3])
def test_a_task_that_the_reader_skips_within_a_batch_is_read_again(times: int, skipped: int) -> None:
    queue = TaskQueue()
    queue.log.skipped[skipped] = times
    for _ in range(3):
        queue.add()
    queue.start()
    queue.go_on(LONG_MS)
    assert offsets(queue) == [0, 1, 2]
    queue.process.kill()


def test_the_last_task_that_the_reader_skips_is_read_again() -> None:
    queue = one_taken_and_the_next_skipped()
    queue.go_on(LONG_MS)
    assert offsets(queue) == [0, 0, 1], "the first one was not settled, and comes again"
    queue.process.kill()


def test_a_task_that_expired_unread_holds_up_nobody() -> None:
    queue = one_taken_and_the_next_skipped()
    queue.go_on(200)
    queue.log.truncate_before(queue.topic, 0, 2, 0)
    queue.add()
    queue.go_on(LONG_MS)
    assert offsets(queue) == [0, 2]
    assert queue.log.members == 1
    queue.process.kill()


def test_what_no_reader_finds_is_not_waited_for() -> None:
    queue = TaskQueue()
    queue.log.skipped[1] = 99
    for _ in range(3):
        queue.add()
    queue.start()
    queue.go_on(LONG_MS)
    assert offsets(queue) == [0, 2]
    queue.process.kill()
