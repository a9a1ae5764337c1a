"""A partition of a queue that was another member's meanwhile: what was taken from it before is no longer this worker's to commit."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kit.records import RECORDS
from kit.sim_process import Dying, SimProcess
from kit.slow_medium import SlowMedium
from kit.world import Clock
from perdure._activity_worker.poll import Delivery, Poller
from perdure._log.memory import MemoryLog
from perdure_schemas.codec import encode_task
from perdure_schemas.topics import task_topic, tasks_topic, workers_group

SESSION_MS = 1_000


class Queue:
    """One partition of tasks, and a poller that is stepped by hand."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.medium = SlowMedium(self.clock)
        self.log = MemoryLog(self.medium)
        self.log.create_topics([task_topic("ns", "work")], 0)
        self.topic = tasks_topic("ns", "work")
        self.process = SimProcess("worker", self.clock, self.log, Dying(), lambda: 0.5, lambda: "id")
        self.taken: list[Delivery] = []

    async def make_poller(self) -> Poller:
        return Poller(self.log, self.process.machine, "ns", "work", SESSION_MS, 10, self._take, lambda error: pytest.fail(str(error)))

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        self.taken += deliveries

    def add(self) -> None:
        self.medium.append(self.topic, 0, None, encode_task(RECORDS["tasks"]["task"]))

    def go_on(self, for_ms: int = 20) -> None:
        until = self.clock.ms + for_ms
        while self.clock.ms < until:
            self.process.turn()
            self.clock.ms += 20

    @property
    def committed(self) -> int:
        return self.medium.groups[workers_group("ns", "work")].committed[0]


@pytest.mark.parametrize("is_done_before", [True, False])
def test_a_worker_that_gets_a_partition_back_does_not_take_back_what_others_committed(is_done_before: bool) -> None:
    queue = Queue()
    queue.add()
    making = queue.process.loop.create_task(queue.make_poller())
    queue.go_on()
    poller = making.result()
    poller.start()
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
