"""Code that ends its owner, in an owner that is started again each time: its run is parked, no other is, and nothing else is held up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import ClassVar

import pytest

from kit.ports import Crash
from kit.sim_workflows import FUSE, MINUTE, WORKFLOWS
from kit.world import FIRST, LIMITS, World, history_of, plain
from perdure import workflow
from perdure._replay.runtime import CodeHost
from perdure.exceptions import ActivityError
from perdure_platform.partition.isolation import ALONE_MAX, GROUP_MAX
from perdure_platform.partition.transition.caution import GROUP
from perdure_schemas import codec
from perdure_schemas.commands import QueryWorkflow, SignalWorkflow, StartWorkflow
from perdure_schemas.history import CommitRecord, HistoryRecord, Strike
from perdure_schemas.notes import RunParked

DEATHS = 4
"""One by surprise, and three strikes."""


@workflow.defn
class DeadlyLater:
    """Waits, then ends its process."""

    @workflow.run
    async def run(self) -> str:
        await workflow.sleep(MINUTE)
        FUSE.go_off()
        return "a dud"


@workflow.defn
class DeadlyTimeout:
    """Ends its process when an activity that nobody runs has timed out."""

    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.execute_activity("nobody", schedule_to_close_timeout=MINUTE, task_queue="nobody")
        except ActivityError:
            FUSE.go_off()
        return "a dud"


@workflow.defn
class DeadlyAgain:
    """Fails in its first activation, and ends its process when that is tried again."""

    tried: ClassVar[Counter[str]] = Counter()

    @workflow.run
    async def run(self) -> str:
        self.tried[workflow.info().run_id] += 1
        if self.tried[workflow.info().run_id] == 1:
            raise ValueError("at first")
        FUSE.go_off()
        return "a dud"


@workflow.defn
class DeadlyQuery:
    """Ends its process when it is asked."""

    def __init__(self) -> None:
        self.done = False

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.done)
        return "done"

    @workflow.query
    def deadly(self) -> int:
        FUSE.go_off()
        return 0


@workflow.defn
class DeadlyRebuild:
    """Ends its process whenever it is rebuilt: once it waits for what never comes, or when its past is asked."""

    made: ClassVar[Counter[str]] = Counter()

    @workflow.run
    async def run(self, waits: bool) -> str:
        self.made[workflow.info().run_id] += 1
        if self.made[workflow.info().run_id] > 1:
            FUSE.go_off()
        await workflow.wait_condition(lambda: not waits)
        return "done"

    @workflow.query
    def anything(self) -> int:
        return 0


@workflow.defn
class Slow:
    """Takes its time."""

    take_time: ClassVar[Callable[[], None]] = staticmethod(lambda: None)

    @workflow.run
    async def run(self) -> str:
        Slow.take_time()
        return "done"


class WithoutWorkers(World):
    """Activities are run by nobody."""

    def workers(self) -> None:
        """See World."""


class WithoutOperators(WithoutWorkers):
    """Nor does anybody resume what is parked."""

    def clients(self) -> None:
        """See World."""
        self.promises.parked.clear()
        super().clients()


class Supervised:
    """A world whose only owner is started again whenever it has died."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or WithoutWorkers(partitions=1)
        self.deaths = 0
        FUSE.go_off = self._go_off
        self.start()

    def start(self) -> None:
        process = self.world.start()
        deadly = [DeadlyLater, DeadlyTimeout, DeadlyAgain, DeadlyQuery, DeadlyRebuild]
        host = CodeHost([*WORKFLOWS, *deadly, Slow], deadlock_timeout_ms=0)
        process.node._around = replace(process.node._around, host=host)

    def _go_off(self) -> None:
        for process in self.world.processes.values():
            process.calls.is_dead = True

    def kill(self) -> None:
        self.deaths += 1
        self.world.lose_process(0)
        self.start()

    def until(self, is_reached: Callable[[], bool], steps_max: int = 5_000) -> None:
        for _ in range(steps_max):
            if is_reached():
                return
            try:
                self.world.go_on()
            except Crash:
                self.kill()
        raise AssertionError(f"not reached after {steps_max} steps and {self.deaths} deaths")

    def until_parked(self) -> None:
        """Until the bomb is parked. The world resumes it at once: from then on it is a dud."""
        self.until(lambda: bool(self.parked()))
        FUSE.go_off = lambda: None
        self.until(self.is_answered)
        assert self.parked() == {"bomb"}

    def is_answered(self) -> bool:
        return all(asked.answer is not None for asked in self.world.asked.values())

    def parked(self) -> set[str]:
        transitions = [transition for _, _, record in self.world.live() for transition in record.transitions]
        return {one.workflow_id for one in transitions if any(isinstance(note, RunParked) for note in one.notes)}

    def records(self) -> list[HistoryRecord]:
        partitions = range(self.world.partitions)
        values = [record.value for partition in partitions for record in self.world.medium.read(*history_of(partition), 0, 1 << 20)]
        return [codec.decode_history(value) for value in values]

    def strikes(self) -> list[str]:
        return [record.workflow_id for record in self.records() if isinstance(record, Strike)]


@pytest.fixture(autouse=True)
def fuse() -> Iterator[None]:
    DeadlyRebuild.made.clear()
    go_off, take_time = FUSE.go_off, Slow.take_time
    yield
    FUSE.go_off, Slow.take_time = go_off, take_time


def test_a_run_that_ends_its_owners_is_parked_after_four_deaths() -> None:
    owner = Supervised()
    for number in range(3):
        owner.world.ask(f"note-{number}", StartWorkflow("SimNote", "sim"))
    owner.world.ask("bomb", StartWorkflow("SimBomb", "sim"))
    owner.until_parked()
    assert owner.deaths == DEATHS


@pytest.mark.parametrize("workflow_type", ["DeadlyLater", "DeadlyTimeout"])
def test_a_run_that_ends_its_owners_when_it_is_due_is_parked(workflow_type: str) -> None:
    owner = Supervised()
    for number in range(3):
        owner.world.ask(f"later-{number}", StartWorkflow("SimImpatient", "sim"))
    owner.world.ask("bomb", StartWorkflow(workflow_type, "sim"))
    owner.until_parked()
    assert owner.deaths == DEATHS


def test_a_blocked_run_that_ends_its_owners_when_it_is_tried_again_is_parked() -> None:
    owner = Supervised()
    owner.world.ask("bomb", StartWorkflow("DeadlyAgain", "sim"))
    owner.until_parked()
    assert owner.deaths == DEATHS


def test_a_query_that_ends_its_owners_parks_its_run() -> None:
    owner = Supervised()
    owner.world.ask("bomb", StartWorkflow("DeadlyQuery", "sim"))
    owner.until(owner.is_answered)
    owner.world.ask("bomb", QueryWorkflow("deadly"))
    owner.until_parked()
    assert owner.deaths == DEATHS


@pytest.mark.parametrize("position", [0, ALONE_MAX, GROUP_MAX + 3])
def test_one_of_many_costs_one_death_more_and_no_innocent_run_is_parked(position: int) -> None:
    owner = Supervised()
    for number in range(GROUP_MAX + 50):
        if number == position:
            owner.world.ask("bomb", StartWorkflow("SimBomb", "sim"))
        owner.world.ask(f"note-{number}", StartWorkflow("SimNote", "sim"))
    owner.until_parked()
    assert owner.deaths == DEATHS + 1
    assert GROUP in owner.strikes()


def test_what_comes_after_a_death_is_not_announced() -> None:
    owner = Supervised()
    owner.world.ask("note", StartWorkflow("SimNote", "sim"))
    owner.until(owner.is_answered)
    for _ in range(3):
        owner.kill()
        owner.world.ask("note", SignalWorkflow("anything"))
        owner.until(owner.is_answered)
        announced = len(owner.strikes())
        for _ in range(3):
            owner.world.ask("note", SignalWorkflow("anything"))
            owner.until(owner.is_answered)
        assert len(owner.strikes()) == announced


def test_a_run_that_ends_its_owners_when_it_is_rebuilt_for_an_input_is_parked() -> None:
    owner = Supervised()
    owner.world.ask("bomb", StartWorkflow("DeadlyRebuild", "sim", plain(True)))
    owner.until(owner.is_answered)
    owner.world.lose_process(0)
    owner.start()
    owner.world.ask("bomb", SignalWorkflow("anything", input=plain(1)))
    owner.until_parked()
    assert owner.deaths == LIMITS.strikes_max, "the signal came before the last death was found, so it was announced at once"


def test_a_query_to_a_closed_run_that_ends_its_owners_is_a_dead_letter() -> None:
    """There is no open run to park."""
    owner = Supervised()
    owner.world.ask("bomb", StartWorkflow("DeadlyRebuild", "sim", plain(False)))
    owner.until(owner.is_answered)
    owner.world.lose_process(0)
    owner.start()
    owner.world.ask("bomb", QueryWorkflow("anything"))
    owner.until(lambda: any(isinstance(record, CommitRecord) and record.dead_letters for record in owner.records()))
    assert owner.deaths == 2 * LIMITS.strikes_max


def test_one_of_a_group_whose_turn_runs_out_of_time_is_found_all_the_same() -> None:
    owner = Supervised(WithoutOperators(partitions=1, limits=replace(LIMITS, turn_code_ms_max=100)))

    def take_time() -> None:
        owner.world.clock.ms += 10

    Slow.take_time = take_time
    for number in range(60):
        if number == 30:
            owner.world.ask("bomb", StartWorkflow("SimBomb", "sim"))
        owner.world.ask(f"slow-{number}", StartWorkflow("Slow", "sim"))
    owner.until(lambda: bool(owner.parked()))
    assert owner.parked() == {"bomb"}
    assert owner.deaths == DEATHS + 1


@pytest.mark.parametrize("partitions", [1, 3])
def test_many_of_several_kinds_are_parked_while_owners_resign_and_the_log_is_trimmed(
    partitions: int, caplog: pytest.LogCaptureFixture
) -> None:
    owner = Supervised(WithoutOperators(partitions=partitions, limits=replace(LIMITS, retention_ms=2_000, checkpoint_interval_ms=300)))
    left = set()
    for number in range(60):
        owner.world.ask(f"note-{number}", StartWorkflow("SimNote", "sim"))
        if number % 10 == 3:
            owner.world.ask(f"bomb-{number}", StartWorkflow("SimBomb" if number % 20 == 3 else "DeadlyLater", "sim"))
            left.add(f"bomb-{number}")
    turns = 0

    def are_parked() -> bool:
        nonlocal turns
        turns += 1
        told = [record.getMessage() for record in caplog.records if "is parked: " in record.message]  # the log may be trimmed before
        caplog.clear()
        left.difference_update([name for name in left if any(f"workflow {name!r}, run" in line for line in told)])
        if turns % 37 == 0:
            try:
                owner.world.processes[FIRST].node.close(500)
                owner.start()
            except Crash:
                owner.kill()
        return not left

    owner.until(are_parked, 60_000)
    FUSE.go_off = lambda: None
    owner.until(owner.is_answered)
