"""How many open runs a partition says it has."""

from kit.world import World, open_account
from perdure_schemas.commands import DescribePartition, SignalWorkflow, StartWorkflow, TerminateWorkflow
from perdure_schemas.replies import PartitionDescribed


def led() -> World:
    """A partition with an owner; its promises know no reads of partitions."""
    world = World(partitions=1)
    world.medium.watch = lambda record: None
    world.start()
    return world


def open_runs(world: World) -> int:
    described = world.asked[world.ask("", DescribePartition())]
    world.run_until_answered()
    assert isinstance(described.answer, PartitionDescribed)
    return described.answer.open_runs


def test_every_open_run_counts_and_no_closed_one() -> None:
    world = led()
    assert open_runs(world) == 0
    for number in range(3):
        world.ask(f"account-{number}", open_account())  # waits for signals only: nothing of it is ever due
    world.ask("brief-late", StartWorkflow("SimBrief", "sim", start_delay_ms=3_600_000))
    world.run_until_answered()
    assert open_runs(world) == 4
    world.ask("account-1", TerminateWorkflow())
    world.ask("account-2", SignalWorkflow("deposit"))
    world.run_until_answered()
    assert open_runs(world) == 3


def test_an_owner_that_took_over_counts_the_same() -> None:
    world = led()
    world.ask("account-1", open_account())
    world.run_until_answered()
    world.lose_process(0)
    world.start(name="owner-2")
    assert open_runs(world) == 1
