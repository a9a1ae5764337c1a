"""A process takes a partition over while the one before still leads it: neither takes the other's work for damage of the log."""

from __future__ import annotations

from kit.world import FIRST, SECOND, Process, World, history_of, open_account, plain
from perdure_platform.node.assignment import Stage
from perdure_schemas.commands import SignalWorkflow


def led_twice() -> tuple[World, Process]:
    """A partition that the first process leads, and that the second one is told to lead as well."""
    world = World(partitions=1, said={0: {FIRST}})
    world.ask("account-0", open_account())
    world.start()
    world.run_until_done()
    assert world.said is not None
    world.said[0] = {FIRST, SECOND}
    return world, world.start(name=SECOND)


def deposit(world: World, number: int) -> None:
    world.ask("account-0", SignalWorkflow("deposit", input=plain(4**number)))


def steps(world: World, count: int) -> None:
    for _ in range(count):
        world.step()


def test_commands_that_are_settled_after_the_ends_were_asked_for_are_not_taken_for_lost() -> None:
    world, second = led_twice()
    second.log.tells_ends_early = True
    second.log.hidden.add(history_of(0))
    second.node.turn(0)
    assert second.node.partitions[0].stage is Stage.REBUILDING
    world.paused.add(SECOND)
    for number in range(5):
        deposit(world, number)
    world.run_until_answered()
    world.paused.clear()
    second.log.hidden.clear()
    steps(world, 1)
    assert world.said is not None
    world.said[0] = {SECOND}
    deposit(world, 5)
    world.run_until_done()
    assert [assigned.stage for assigned in second.node.partitions.values()] == [Stage.LEADING]
    world.check()
