"""A partition that has stopped while its process lives: clients are told, nothing is settled, and nobody else is hurt."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from kit.world import LIMITS, NAMESPACE, Process, World, commands_of, history_of, plain
from perdure_platform.node.assignment import Stage
from perdure_platform.node.node import STOPPED_ENDS_MS
from perdure_platform.node.stopped import SAY_AGAIN_MS
from perdure_schemas import codec
from perdure_schemas.commands import ActivityReference, Command, CompleteActivity, ReplyAddress, Request, SignalWorkflow, StartWorkflow
from perdure_schemas.placement import partition_of
from perdure_schemas.replies import Accepted, WorkflowStarted


def name_on(partition: int, partitions: int, prefix: str = "note") -> str:
    return next(name for name in (f"{prefix}-{number}" for number in range(100)) if partition_of(name, partitions) == partition)


def stopped(partitions: int) -> tuple[World, Process]:
    """A world whose partition 0 has read a record of its history that nobody can read."""
    world = World(partitions=partitions, limits=replace(LIMITS, suspects_max=0))
    process = world.start()
    world.ask(name_on(0, partitions), StartWorkflow("SimBrief", "sim"))
    world.run_until_answered()
    watch = world.medium.watch
    world.medium.watch = lambda *_: None  # the checks cannot read it either
    world.medium.append(*history_of(0), None, b"nobody can read this")
    world.medium.watch = watch
    steps(world, 10)
    assert process.node.partitions[0].stage is Stage.STOPPED
    return world, process


def mend(world: World) -> None:
    """The operator takes away what nobody can read."""
    history = world.medium._topics[f"{NAMESPACE}.history"].partitions[0]
    del history.records[-1]


def steps(world: World, count: int) -> None:
    for _ in range(count):
        world.step()


def test_a_request_is_answered_by_an_error_and_carried_out_once_the_partition_works_again() -> None:
    world, _ = stopped(partitions=2)
    before = world.medium.bounds(*history_of(0))
    asked = world.ask(name_on(0, 2), SignalWorkflow("move", input=plain(1)))
    steps(world, 10)
    assert "partition 0 of namespace 'sim' is stopped in owner sim" in world.told_stopped[asked]
    assert "LogCorrupt" in world.told_stopped[asked]
    assert '"A partition is stopped" in the runbook' in world.told_stopped[asked]
    assert world.medium.bounds(*history_of(0)) == before, "nothing is settled"
    mend(world)
    world.lose_process(0)
    world.start()
    world.run_until_answered()
    assert isinstance(world.asked[asked].answer, Accepted)


def test_the_other_partitions_of_the_process_go_on_and_it_does_not_end() -> None:
    world, process = stopped(partitions=2)
    asked = world.ask(name_on(1, 2, "other"), StartWorkflow("SimNote", "sim"))
    steps(world, 20)
    assert isinstance(world.asked[asked].answer, WorkflowStarted)
    world.clock.ms += 2 * STOPPED_ENDS_MS
    steps(world, 2)
    assert process.node.failure() is None
    health = process.node.health()
    assert not health.is_ok
    assert (health.held, health.leading, list(health.stopped)) == (2, 1, [0])
    assert health.stopped[0].startswith("LogCorrupt: ")


def test_a_process_all_of_whose_partitions_have_stopped_answers_for_a_while_and_ends() -> None:
    world, process = stopped(partitions=1)
    assert process.node.failure() is None
    asked = world.ask("note-0", SignalWorkflow("move", input=plain(1)))
    steps(world, 10)
    assert asked in world.told_stopped
    world.clock.ms += STOPPED_ENDS_MS
    assert process.node.failure() is process.node.partitions[0].failure


def test_the_log_says_each_minute_that_the_partition_is_stopped_and_why(caplog: pytest.LogCaptureFixture) -> None:
    world, _ = stopped(partitions=2)
    with caplog.at_level(logging.ERROR, "perdure.owner"):
        caplog.clear()
        for _ in range(3):
            world.clock.ms += SAY_AGAIN_MS
            steps(world, 1)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3
    assert all("partition 0 of namespace 'sim' is stopped" in line for line in said)


def test_the_report_of_a_worker_is_not_answered_so_that_the_worker_keeps_it() -> None:
    world, _ = stopped(partitions=2)
    body = CompleteActivity(ActivityReference("run", 5, 1), ())
    command = Command(name_on(0, 2), body, Request("report", world.clock.ms + 60_000, ReplyAddress("worker", 0)))
    steps(world, 5)
    before = world.medium.bounds(f"{NAMESPACE}.replies", 0)
    world.medium.append(*commands_of(0), command.workflow_id.encode(), codec.encode_command(command))
    steps(world, 5)
    assert world.medium.bounds(f"{NAMESPACE}.replies", 0) == before


def test_a_partition_that_is_given_to_another_process_is_answered_for_no_more() -> None:
    world, process = stopped(partitions=2)
    partition = process.node.partitions[0]
    partition.close()
    assert partition.positions() == {}
    asked = world.ask(name_on(0, 2), SignalWorkflow("move", input=plain(1)))
    steps(world, 10)
    assert asked not in world.told_stopped
