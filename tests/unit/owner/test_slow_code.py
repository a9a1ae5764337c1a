"""Code of several runs that takes long in one turn does not cost the process its partitions: between turns it says that it lives."""

from __future__ import annotations

from dataclasses import replace

from kit.sim_workflows import WORKFLOWS
from kit.world import World, plain
from perdure import workflow
from perdure._replay.runtime import CodeHost
from perdure_platform.config import SESSION_TIMEOUT_MS
from perdure_schemas.commands import QueryWorkflow, SignalWorkflow, StartWorkflow

RUNS = [f"brief-{number}" for number in range(12)]
WATCHDOG_MS = 2_000

clocks: list[World] = []
tried: list[str] = []


def take_long() -> None:
    """As long as the watchdog lets pass."""
    tried.append(workflow.info().workflow_id)
    clocks[-1].clock.ms += WATCHDOG_MS


@workflow.defn
class Slow:
    """Takes long whenever it is looked at."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def count(self, number: int) -> None:
        take_long()
        raise ValueError("and comes to nothing")

    @workflow.query
    def late(self) -> int:
        take_long()
        return 0


def started() -> World:
    world = World(partitions=1)
    clocks.append(world)
    lead(world)
    for run in RUNS:
        world.ask(run, StartWorkflow("Slow", "sim"))
    world.run_until_answered()
    tried.clear()
    return world


def lead(world: World) -> None:
    process = world.start()
    process.node._around = replace(process.node._around, host=CodeHost([*WORKFLOWS, Slow], deadlock_timeout_ms=0))


def longest_turn_ms(world: World, turns: int) -> int:
    longest = 0
    for _ in range(turns):
        world.clients()
        (process,) = world.processes.values()
        began = world.clock.ms
        process.node.turn(0)
        longest = max(longest, world.clock.ms - began)
        world.clock.ms += 20
    return longest


def test_a_turn_in_which_many_inputs_come_for_slow_code_ends_before_the_session_does() -> None:
    world = started()
    for run in RUNS:
        world.ask(run, SignalWorkflow("count", input=plain(1)))
    assert longest_turn_ms(world, 40) < SESSION_TIMEOUT_MS / 2
    assert set(tried) == set(RUNS), "some were not tried"


def test_a_successor_tries_all_that_is_blocked_in_as_many_turns_as_it_takes() -> None:
    world = started()
    for run in RUNS:
        world.ask(run, SignalWorkflow("count", input=plain(1)))
    longest_turn_ms(world, 40)
    world.lose_process(0)
    tried.clear()
    lead(world)
    assert longest_turn_ms(world, 300) < SESSION_TIMEOUT_MS / 2
    assert set(tried) == set(RUNS), "some were not tried"


def test_slow_queries_are_answered_in_as_many_turns_as_they_take() -> None:
    world = started()
    for run in RUNS:
        world.ask(run, QueryWorkflow("late"))
    assert longest_turn_ms(world, 60) < SESSION_TIMEOUT_MS / 2
    assert all(asked.answer is not None for asked in world.asked.values())
