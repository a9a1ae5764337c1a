"""Recorded time over takeovers by machines whose clocks disagree, with each other and with the broker (design.md 3.9, R13, T1)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from kit.world import FIRST, LIMITS, SECOND, SESSION_MS, STEP_MS, Process, World, history_of, plain
from perdure_platform.node.assignment import Stage
from perdure_schemas import codec, events
from perdure_schemas.commands import SignalWorkflow, StartWorkflow
from perdure_schemas.history import Claim, CommitRecord, PositionRecord
from perdure_schemas.placement import partition_of
from perdure_schemas.replies import Accepted

HOME = partition_of("counter", 2)
HOUR = 3_600_000


@dataclass
class Clocks(World):
    """A world in which the broker has a clock of its own, and so has each machine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.broker_ms = 0
        self.medium.now_ms = lambda: self.clock.ms + self.broker_ms

    def set_broker(self, apart_ms: int) -> None:
        """The broker's clock jumps; the append times of partitions do not hold it back."""
        self.broker_ms = apart_ms
        for partition in range(self.partitions):
            self.medium._partition(*history_of(partition)).timestamp_ms = 0

    def machine(self, name: str, apart_ms: int = 0, uptime_ms: int = 0) -> Process:
        """An owner on a machine whose clock is so far from the true time, and whose monotonic clock counts from its boot."""
        process = self.start(name=name)
        self.set_machine(process, apart_ms)
        booted_ms = self.clock.ms - uptime_ms
        process.node._around = replace(process.node._around, monotonic_ms=lambda: float(self.clock.ms - booted_ms))
        return process

    def set_machine(self, process: Process, apart_ms: int) -> None:
        """The machine's clock jumps."""
        process.log.now_ms = lambda: self.clock.ms + apart_ms  # type: ignore[method-assign]

    def count(self, *numbers: int) -> None:
        for number in numbers:
            self.ask("counter", SignalWorkflow("count", input=plain(number)))

    def times(self, partition: int = HOME) -> list[int]:
        """The recorded times of a partition, in log order."""
        return [record.time_ms for record in self.history(partition)]

    def history(self, partition: int = HOME) -> list[Claim | CommitRecord | PositionRecord]:
        records = [codec.decode_history(record.value) for record in self.medium.read(*history_of(partition), 0, 10_000)]
        return [record for record in records if isinstance(record, Claim | CommitRecord | PositionRecord)]

    def ahead_ms(self) -> int:
        """How far the newest record is ahead of the true time."""
        return self.times()[-1] - self.clock.ms

    def claims(self) -> int:
        """How often the partition was claimed."""
        return sum(isinstance(record, Claim) for record in self.history())

    def until(self, condition: Callable[[], object], within_ms: int = 10_000) -> None:
        for _ in range(within_ms // STEP_MS):
            if condition():
                return
            self.step()
        raise AssertionError(f"not within {within_ms} ms")

    def is_counted(self) -> bool:
        return all(asked.answer is not None for asked in self.asked.values())

    def has_closed(self) -> bool:
        return any(
            isinstance(event, events.WorkflowExecutionCompleted)
            for record in self.history()
            if isinstance(record, CommitRecord)
            for transition in record.transitions
            for event in transition.produced
        )


def counting(apart_ms: int = 0) -> Clocks:
    """A counter whose first timer runs, under an owner on a machine like this."""
    world = Clocks()
    world.ask("counter", StartWorkflow("SimCounter", "sim"))
    world.machine(FIRST, apart_ms, uptime_ms=30 * HOUR)
    world.run_until_answered()
    return world


def never_back(times: list[int]) -> bool:
    return all(earlier <= later for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize("uptime_ms", [0, 500 * HOUR])
@pytest.mark.parametrize(("first_ms", "second_ms"), [(0, -59_000), (59_000, -59_000), (-59_000, 59_000)])
def test_time_does_not_go_back_when_a_machine_takes_over_whose_clock_is_behind(first_ms: int, second_ms: int, uptime_ms: int) -> None:
    world = counting(first_ms)
    world.count(1, 2)
    world.run_until_answered()
    world.lose_process(2)
    world.machine(SECOND, second_ms, uptime_ms)
    world.count(3, 4)
    world.run_until_done()
    world.check()
    assert never_back(world.times())
    assert world.times()[-1] <= world.clock.ms, "a machine's clock has got into recorded time"


def test_time_does_not_go_back_over_a_takeover_where_the_broker_s_clock_was_set_back() -> None:
    world = counting()
    world.medium.watch = lambda record: None  # the promises compare with the true time
    world.count(1, 2)
    world.run_until_answered()
    world.lose_process(2)
    world.set_broker(-300_000)
    world.machine(SECOND, -300_000)
    world.count(3, 4)
    world.until(world.has_closed)
    appended = [record.timestamp_ms for record in world.medium.read(*history_of(HOME), 0, 10_000)]
    assert not never_back(appended), "the broker's clock has not gone back"
    assert never_back(world.times())


def test_a_broker_that_was_ahead_for_a_while_neither_freezes_time_nor_leaves_it_ahead_for_ever() -> None:
    world = counting()
    world.medium.watch = lambda record: None
    world.set_broker(HOUR // 2)
    world.set_machine(world.processes[FIRST], HOUR // 2)
    world.count(1, 2, 3)
    world.run_until_answered()
    assert world.ahead_ms() > HOUR // 4
    world.lose_process(0)
    world.set_broker(0)
    world.machine(SECOND)
    world.count(4)
    world.until(world.has_closed, SESSION_MS + 2 * 200 + 500)  # its last timer, of 200 ms, at half speed
    ahead_ms = [world.ahead_ms()]
    for _ in range(8):
        world.clock.ms += HOUR // 6
        world.ask("counter", StartWorkflow("SimCounter", "sim", signal=SignalWorkflow("count", input=plain(9))))
        world.run_until_answered()
        ahead_ms.append(world.ahead_ms())
    assert never_back(world.times())
    assert all(later < earlier or later <= 0 for earlier, later in itertools.pairwise(ahead_ms)), ahead_ms
    assert ahead_ms[-1] <= 0, ahead_ms


@pytest.mark.parametrize("apart_ms", [-LIMITS.clock_bound_ms - 2_000, LIMITS.clock_bound_ms + 2_000, 24 * HOUR])
def test_a_machine_whose_clock_is_out_of_bounds_does_not_lead_and_says_why(apart_ms: int, caplog: pytest.LogCaptureFixture) -> None:
    world = Clocks()
    process = world.machine(FIRST, apart_ms)
    world.ask("counter", StartWorkflow("SimCounter", "sim"))
    for _ in range(5_000 // STEP_MS):
        world.step()
        assert all(assigned.stage is not Stage.LEADING for assigned in process.node.partitions.values())
    assert [record for record in world.history() if not isinstance(record, Claim)] == []
    said = [record.getMessage() for record in caplog.records if "claim given up" in record.getMessage()]
    told = re.search(r"this machine's clock is (\d+) ms from the log's, and 60000 are allowed; set the clock", said[0])
    assert told is not None
    assert abs(int(told[1]) - abs(apart_ms)) <= STEP_MS


def test_it_claims_once_and_leads_once_its_clock_is_set() -> None:
    world = Clocks()
    process = world.machine(FIRST, HOUR)
    world.ask("counter", StartWorkflow("SimCounter", "sim"))
    for _ in range(10_000 // STEP_MS):
        world.step()
    assert world.claims() == 1, "a claim fences whoever leads"
    world.set_machine(process, 0)
    world.until(world.is_counted, 2 * LIMITS.claim_backoff_max_ms)
    world.check()


def test_a_clock_that_jumps_while_its_machine_leads_changes_nothing() -> None:
    world = counting()
    for number, apart_ms in enumerate((HOUR, -24 * HOUR, 0, 59_000), 1):
        world.set_machine(world.processes[FIRST], apart_ms)
        world.count(number)
        world.run_until_answered()
    world.run_until_done()
    assert world.claims() == 1
    world.check()
    assert never_back(world.times())


def test_a_good_machine_gets_through_beside_one_whose_clock_is_wrong_and_that_is_told_to_lead_as_well() -> None:
    """Its claims count, though it never leads; so the good one loses the partition now and then, and takes it back."""
    world = Clocks(said={0: {FIRST, SECOND}, 1: {FIRST, SECOND}})
    world.machine(FIRST, HOUR)
    good = world.machine(SECOND)
    world.ask("counter", StartWorkflow("SimCounter", "sim"))
    world.count(1, 2, 3, 4)
    world.until(lambda: world.is_counted() and world.has_closed(), 60_000)
    world.promises.check_nothing_is_missing()
    assert never_back(world.times())
    assert all(isinstance(asked.answer, Accepted) for asked in world.asked.values() if isinstance(asked.command.body, SignalWorkflow))
    assert good.node.stopped() == []
