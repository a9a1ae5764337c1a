"""A newer format in two steps (R15): once a partition has recorded a level, no build that reads less claims it, whatever it had before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kit.world import FIRST, LIMITS, SECOND, Process, World, history_of, open_account, transfer
from perdure_platform.node.assignment import Stage
from perdure_platform.partition.decode import FORMAT_LEVEL, BuildTooOld
from perdure_platform.store.memory import MemoryStores
from perdure_schemas import codec
from perdure_schemas.history import Checkpoint, Claim
from perdure_schemas.live import LiveState, Verdict, judge, link_of

NEWER = FORMAT_LEVEL + 1


class TwoBuilds(World):
    """The first process runs this build; the second one that reads the next level and, once `raises`, records it."""

    raises = False

    def start_newer(self, name: str = SECOND) -> Process:
        limits, self.limits = self.limits, replace(self.limits, format_level=NEWER if self.raises else FORMAT_LEVEL)
        self.reads_format_level = NEWER
        try:
            return self.start(name=name)
        finally:
            self.limits, self.reads_format_level = limits, FORMAT_LEVEL


def working(retention_ms: int = 0) -> TwoBuilds:
    world = TwoBuilds(limits=replace(LIMITS, retention_ms=retention_ms, checkpoint_interval_ms=100))
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    world.start()
    move(world, 0)
    return world


def move(world: World, number: int) -> None:
    world.ask(f"transfer-{number}", transfer("account-0", "account-3", 2))
    world.run_until_done()


def replaced_by(world: TwoBuilds, name: str, *, newer: bool) -> Process:
    for running in list(world.processes):
        world.lose_process(0, running)
    process = world.start_newer(name) if newer else world.start(name=name)
    for _ in range(150):  # the session of the lost one passes
        world.step()
    return process


def levels(world: World, partition: int) -> list[int]:
    start, _ = world.medium.bounds(*history_of(partition))
    decoded = (codec.decode_history(record.value) for record in world.medium.read(*history_of(partition), start, 10_000))
    return [record.format_level for record in decoded if isinstance(record, Checkpoint)]


def test_builds_can_be_rolled_forward_and_back_until_the_level_is_raised() -> None:
    world = working()
    for number, (name, newer) in enumerate([(SECOND, True), (FIRST, False), (SECOND, True)], 1):
        replaced_by(world, name, newer=newer)
        move(world, number)
    world.check()
    assert [levels(world, partition) for partition in (0, 1)] == [[], []]


@pytest.mark.parametrize("retention_ms", [0, 400])
@pytest.mark.parametrize("wiped", [False, True])
def test_an_older_build_claims_no_partition_whose_level_was_raised(retention_ms: int, wiped: bool) -> None:
    world = working(retention_ms)
    world.raises = True
    replaced_by(world, SECOND, newer=True)
    move(world, 1)
    world.check()
    assert all(NEWER in levels(world, partition) for partition in (0, 1))
    if wiped:
        world.stores[FIRST] = MemoryStores()
    old = replaced_by(world, FIRST, newer=False)
    for assigned in old.node.partitions.values():
        assert assigned.stage is Stage.STOPPED
        assert isinstance(assigned.failure, BuildTooOld)
        assert f"must read format level {NEWER}, and this build (sim) reads {FORMAT_LEVEL}" in str(assigned.failure)
    ends = [world.medium.bounds(*history_of(partition))[1] for partition in (0, 1)]
    for _ in range(50):
        world.step()
    assert [world.medium.bounds(*history_of(partition))[1] for partition in (0, 1)] == ends, "it has appended something"
    replaced_by(world, SECOND, newer=True)
    move(world, 2)
    world.check()


def test_the_level_outlives_trimming_and_owners_that_do_not_raise_it() -> None:
    world = working(retention_ms=400)
    world.raises = True
    replaced_by(world, SECOND, newer=True)
    world.raises = False
    for number in range(1, 8):
        replaced_by(world, SECOND, newer=True)
        move(world, number)
    assert all(world.medium.bounds(*history_of(partition))[0] > 0 for partition in (0, 1)), "nothing was trimmed"
    assert all(set(levels(world, partition)) == {NEWER} for partition in (0, 1))
    old = replaced_by(world, FIRST, newer=False)
    assert {type(assigned.failure) for assigned in old.node.partitions.values()} == {BuildTooOld}


def test_the_level_is_recorded_once() -> None:
    world = working()
    world.raises = True
    for number in range(1, 4):
        replaced_by(world, SECOND, newer=True)
        move(world, number)
    assert [levels(world, partition) for partition in (0, 1)] == [[NEWER], [NEWER]]
    for partition in (0, 1):
        state = LiveState()
        for record in world.medium.read(*history_of(partition), 0, 10_000):
            decoded = codec.decode_history(record.value)
            verdict, state = judge(state, decoded, link_of(record.value))
            assert verdict is not Verdict.LIVE or not isinstance(decoded, Claim) or decoded.format_level in (FORMAT_LEVEL, NEWER)


def test_an_older_build_does_not_hold_a_partition_that_it_may_not_lead() -> None:
    """Others could lead it; whoever leads its other partitions can do so as well."""
    world = TwoBuilds(said={0: {SECOND}, 1: {FIRST}})
    world.raises = True
    world.start()
    newer = world.start_newer()
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    world.run_until_done()
    assert [levels(world, partition) for partition in (0, 1)] == [[NEWER], []]
    world.said = {0: {FIRST}, 1: {FIRST}}
    for _ in range(50):
        world.step()
    old = world.processes[FIRST]
    assert old.node.partitions[1].stage is Stage.LEADING
    assert isinstance(old.node.failure(), BuildTooOld)
    assert newer.node.failure() is None
