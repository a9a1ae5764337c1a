"""A queue of one partition, and the poller of a worker that is stepped by hand in virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from kit.records import RECORDS
from kit.sim_process import Dying, SimProcess
from kit.slow_medium import SlowMedium
from kit.world import Clock
from perdure._activity_worker.poll import Delivery, Poller
from perdure._log.memory import MemoryLog
from perdure._log.memory.groups import MemoryGroupConsumer
from perdure._log.port import GroupConsumer, Record
from perdure_schemas.codec import encode_task
from perdure_schemas.topics import task_topic, tasks_topic, workers_group

SESSION_MS = 1_000
CAPACITY = 10


class DeafLog(MemoryLog):
    """The members of its groups, up to number `deaf_members`, stay members and are given nothing any more once it `is_deaf`. What is in
    `skipped` is read and given to nobody, so many times each."""

    is_deaf = False
    members = 0
    deaf_members = 1

    def __init__(self, medium: SlowMedium) -> None:
        super().__init__(medium)
        self.skipped: Counter[int] = Counter()

    def group_consumer(self, group: str, topic: str, session_timeout_ms: int) -> GroupConsumer:
        self.members += 1
        return _Member(self, group, topic, session_timeout_ms)


class _Member(MemoryGroupConsumer):
    def __init__(self, log: DeafLog, group: str, topic: str, session_timeout_ms: int) -> None:
        super().__init__(log.medium, group, topic, session_timeout_ms)
        self._log = log
        self._number = log.members

    def poll(self, records_max: int, timeout_ms: int) -> list[Record]:
        records = super().poll(0 if self._log.is_deaf and self._number <= self._log.deaf_members else records_max, timeout_ms)
        skipped = {record.offset for record in records if self._log.skipped[record.offset]}
        self._log.skipped.subtract(skipped)
        return [record for record in records if record.offset not in skipped]


class TaskQueue:
    """One partition of tasks, and a poller that is stepped by hand."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.medium = SlowMedium(self.clock)
        self.log = DeafLog(self.medium)
        self.log.create_topics([task_topic("ns", "work")], 0)
        self.topic = tasks_topic("ns", "work")
        self.process = SimProcess("worker", self.clock, self.log, Dying(), lambda: 0.5, lambda: "id")
        self.taken: list[Delivery] = []

    def start(self) -> Poller:
        """Start a poller."""
        making = self.process.loop.create_task(self._make_poller())
        self.go_on()
        poller = making.result()
        poller.start()
        return poller

    async def _make_poller(self) -> Poller:
        return Poller(self.log, self.process.machine, "ns", "work", SESSION_MS, CAPACITY, self._take, lambda error: pytest.fail(str(error)))

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        self.taken += deliveries

    def add(self) -> None:
        """Append a task."""
        self.medium.append(self.topic, 0, None, encode_task(RECORDS["tasks"]["task"]))

    def go_on(self, for_ms: int = 20) -> None:
        """Let time pass."""
        until = self.clock.ms + for_ms
        while self.clock.ms < until:
            self.process.turn()
            self.clock.ms += 20

    @property
    def committed(self) -> int:
        """The offset that the group goes on from."""
        return self.medium.groups[workers_group("ns", "work")].committed[0]
