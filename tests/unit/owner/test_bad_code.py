"""One workflow's code stops neither its partition nor the process, and does not hang without a word (P9, F2)."""

from dataclasses import replace

import pytest

from kit.bad_workflows import FailsOfAnOddCause, FailsWithOddDetails, OddQueries, WaitsUnrestricted
from kit.hostile_workflows import BEYOND_LIMITS
from kit.sim_workflows import WORKFLOWS
from kit.world import LIMITS, Process, World, plain
from perdure._replay import refuse
from perdure._replay.runtime import CodeHost
from perdure_platform.node.assignment import Stage
from perdure_schemas import events, notes
from perdure_schemas.commands import QueryWorkflow, StartWorkflow

BAD = [FailsOfAnOddCause, FailsWithOddDetails, OddQueries, WaitsUnrestricted]


def owner(cached_runs: int = 100) -> tuple[World, Process]:
    world = World(partitions=1)
    process = world.start()
    host, limits = CodeHost([*WORKFLOWS, *BAD], deadlock_timeout_ms=0), replace(LIMITS, cached_runs_max=cached_runs)
    process.node._around = replace(process.node._around, host=host, limits=limits)
    return world, process


def steps(world: World, count: int = 100) -> None:
    for _ in range(count):
        world.step()


def answers(world: World, process: Process) -> bool:
    """Whether its partition is led, and another workflow is started on it."""
    asked = world.ask("good", StartWorkflow("SimNote", "sim"))
    steps(world)
    return process.node.partitions[0].stage is Stage.LEADING and world.asked[asked].answer is not None


def test_a_failure_whose_details_cannot_be_written_fails_its_run_and_says_so() -> None:
    world, process = owner()
    world.ask("bad", StartWorkflow("FailsWithOddDetails", "sim"))
    steps(world)
    assert answers(world, process)
    produced = [event for _, _, record in world.live() for transition in record.transitions for event in transition.produced]
    (failed,) = [event for event in produced if isinstance(event, events.WorkflowExecutionFailed)]
    assert failed.failure.message == "no"
    assert b"cannot be encoded" in failed.failure.info.details[0].data  # type: ignore[union-attr]


@pytest.mark.parametrize("query", ["details", "leave", "cancelled"])
def test_a_query_fails_alone(query: str) -> None:
    world, process = owner()
    world.ask("bad", StartWorkflow("OddQueries", "sim"))
    steps(world)
    asked = world.ask("bad", QueryWorkflow(query))
    steps(world)
    assert world.asked[asked].answer is not None
    assert answers(world, process)


@pytest.mark.parametrize("what", list(BEYOND_LIMITS))
def test_what_is_larger_than_its_limit_blocks_its_run_alone_and_is_named(what: str) -> None:
    world, process = owner()
    world.ask("bad", StartWorkflow("HandsOver", "sim", plain(what)))
    steps(world)
    assert answers(world, process)
    written = [note for _, _, record in world.live() for transition in record.transitions for note in transition.notes]
    said = [note.failure.message for note in written if isinstance(note, notes.ActivationFailed)]
    assert said
    assert BEYOND_LIMITS[what][1] in said[0]


def test_a_run_that_waits_unrestricted_can_be_dropped() -> None:
    """Or the owner's own thread would be taken for workflow code, and its next look at a clock refused."""
    world, process = owner(cached_runs=0)
    try:
        world.ask("bad", StartWorkflow("WaitsUnrestricted", "sim"))
        steps(world)
        assert answers(world, process)
    finally:
        refuse._state.active = False
