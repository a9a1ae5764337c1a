"""What only this process cannot do: its store, its permissions. No matter of the partition, which others can lead (L2, S3, Z1)."""

from dataclasses import replace

import pytest

from kit.world import STEP_MS, World
from perdure._log.errors import LogUnauthorized
from perdure_platform.node.assignment import Stage
from perdure_platform.store.memory import MemoryStore, MemoryStores
from perdure_platform.store.port import StoreUnavailable


class OneOnly(MemoryStores):
    """Whatever is asked for behind the first partition is refused."""

    def __init__(self, refusal: Exception) -> None:
        super().__init__()
        self._refusal = refusal

    def open(self, partition: int) -> MemoryStore:
        if partition:
            raise self._refusal
        return super().open(partition)


@pytest.mark.parametrize("refusal", [StoreUnavailable("Too many open files"), LogUnauthorized("check the credentials")])
def test_a_process_that_cannot_lead_one_of_its_partitions_ends_so_that_others_do(refusal: Exception) -> None:
    world = World()
    process = world.start()
    process.node._around = replace(process.node._around, stores=OneOnly(refusal))
    for _ in range(2_000 // STEP_MS):
        world.step()
    stages = {partition: assigned.stage for partition, assigned in process.node.partitions.items()}
    assert stages == {0: Stage.LEADING, 1: Stage.STOPPED}
    assert process.node.failure() is refusal, "the partition is held by a process that does not lead it"
