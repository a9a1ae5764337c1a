"""How many partitions a queue's topic has: asked of the log, which may be slow to say, by a loop that has other things to do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from perdure._log.errors import LogUnavailable
from perdure._log.memory import MemoryLog
from perdure_platform.node.topics import TASK_TOPIC_AGAIN_MS, TaskTopics
from perdure_schemas.topics import TopicSpec


class Slow(MemoryLog):
    """Makes no topics, and takes all the time it is given to say so."""

    def __init__(self) -> None:
        super().__init__()
        self.now_passed_ms = 0
        self.makes_topics = False

    def create_topics(self, specs: Sequence[TopicSpec], timeout_ms: int) -> None:
        if not self.makes_topics:
            self.now_passed_ms += timeout_ms
            raise LogUnavailable("the controller does not answer")
        super().create_topics(specs, timeout_ms)


def test_a_hundred_tasks_of_a_queue_that_cannot_be_made_wait_for_the_log_once() -> None:
    log = Slow()
    topics = TaskTopics(log, "ns", monotonic_ms=lambda: float(log.now_passed_ms))
    for _ in range(100):
        with pytest.raises(LogUnavailable, match="the controller does not answer"):
            topics.partitions("work")
    assert log.now_passed_ms == 2_000


def test_a_queue_that_could_not_be_made_is_tried_again_after_a_while() -> None:
    log = Slow()
    topics = TaskTopics(log, "ns", monotonic_ms=lambda: float(log.now_passed_ms))
    with pytest.raises(LogUnavailable):
        topics.partitions("work")
    log.makes_topics = True
    with pytest.raises(LogUnavailable):
        topics.partitions("work")
    log.now_passed_ms += TASK_TOPIC_AGAIN_MS
    assert topics.partitions("work") > 0
