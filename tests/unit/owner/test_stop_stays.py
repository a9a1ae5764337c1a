"""A partition that stopped stays stopped, and a fold begins in an empty store only."""

from dataclasses import replace

import pytest

from kit.world import FIRST, LIMITS, SECOND, World, history_of, open_account, plain, transfer
from perdure_platform.node.assignment import Stage
from perdure_platform.partition.apply import Applier
from perdure_platform.store.memory import MemoryStores
from perdure_platform.store.port import StoreDamaged, StoreUnavailable
from perdure_platform.store.tables import Tables
from perdure_schemas.commands import SignalWorkflow, StartWorkflow
from perdure_schemas.history import Checkpoint


class Stuck(MemoryStores):
    """In a directory that cannot be renamed, such as a mount point."""

    def set_aside(self, partition: int, reason: str) -> str:
        raise StoreUnavailable("cannot rename: the device is busy")


def test_a_partition_whose_store_from_before_a_trim_cannot_be_set_aside_stops_and_its_process_ends() -> None:
    world = World(partitions=1, limits=replace(LIMITS, retention_ms=1_000, checkpoint_interval_ms=200))
    stuck = world.stores[FIRST] = Stuck()
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    world.ask("brief-0", StartWorkflow("SimBrief", "sim", ()))
    world.start()
    world.run_until_done()
    world.lose_process(0)
    world.start(name=SECOND)
    world.ask("brief-0", SignalWorkflow("move", input=plain(1)))  # it closes, and is forgotten later
    for number in range(14):
        world.ask(f"transfer-{number}", transfer("account-0", "account-3", 2))
        for _ in range(10):
            world.step()
    world.run_until_done()
    for _ in range(100):
        world.step()
    start, before = world.medium.bounds(*history_of(0))
    assert start > Tables(stuck.stores[0].opened()).positions().next_offset
    world.lose_process(0, SECOND)
    process = world.start()
    for _ in range(200):
        world.step()
    assert process.node.partitions[0].stage is Stage.STOPPED
    assert isinstance(process.node.failure(), StoreUnavailable)
    assert world.medium.bounds(*history_of(0))[1] == before, "it claimed"


def test_a_fold_does_not_begin_in_a_store_that_has_something() -> None:
    store = MemoryStores().open(0)
    checkpoint = Checkpoint(1, "claim", 2, 0, -1, -1, {}, 2, 1, 1, -1, (), ())
    Applier(Tables(store)).begin(7, checkpoint)
    with pytest.raises(StoreDamaged, match="in a store that is at 7"):
        Applier(Tables(store)).begin(9, checkpoint)
