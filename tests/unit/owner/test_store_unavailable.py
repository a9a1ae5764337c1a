"""A store that this process cannot use: no matter of the partition, which others can lead, but of the machine (L2, S3)."""

from dataclasses import replace

import pytest

from kit.world import STEP_MS, World
from perdure_platform.node.assignment import Stage
from perdure_platform.store.memory import MemoryStore, MemoryStores
from perdure_platform.store.port import StoreUnavailable


class NoRoomForTwo(MemoryStores):
    """The descriptors are used up by the first partition."""

    def open(self, partition: int) -> MemoryStore:
        if partition:
            raise StoreUnavailable("partition-1: Too many open files")
        return super().open(partition)


def test_a_process_that_cannot_open_the_store_of_one_partition_ends_so_that_others_lead_it() -> None:
    world = World()
    process = world.start()
    process.node._around = replace(process.node._around, stores=NoRoomForTwo())
    for _ in range(2_000 // STEP_MS):
        world.step()
    stages = {partition: assigned.stage for partition, assigned in process.node.partitions.items()}
    assert stages == {0: Stage.LEADING, 1: Stage.STOPPED}
    with pytest.raises(StoreUnavailable, match="Too many open files"):
        raise process.node.failure() or AssertionError("the partition is held by a process that does not lead it")
