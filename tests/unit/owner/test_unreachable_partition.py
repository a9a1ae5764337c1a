"""A partition that takes no commands: those for it wait in their order, those for others flow, and operators are told (R9)."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace

import pytest

from kit.slow_medium import Fate
from kit.world import FIRST, LIMITS, STEP_MS, World, commands_of, open_account, transfer
from perdure._log.memory.medium import Append
from perdure_platform.config import OwnerLimits
from perdure_schemas.commands import StartWorkflow
from perdure_schemas.placement import partition_of

AWAY = 1
MINUTE = 60_000 // STEP_MS


def names(kind: str, partition: int, count: int) -> list[str]:
    """Ids of this kind that belong to the partition."""
    every = (f"{kind}-{number}" for number in itertools.count())
    return list(itertools.islice((name for name in every if partition_of(name, 2) == partition), count))


def steps(world: World, count: int) -> None:
    for _ in range(count):
        world.step()


def stuck_world(limits: OwnerLimits = LIMITS) -> World:
    """Owners' commands to one partition fail, and one waits to go there."""
    world = World(partitions=2, limits=limits)
    process = world.start()
    for account in (*names("account", AWAY, 2), *names("account", 0, 2)):
        world.ask(account, open_account())
    world.run_until_done()

    def fate(append: Append) -> Fate:
        return Fate.LOST if (append.topic, append.partition) == commands_of(AWAY) else Fate.LANDS

    world.medium.fate = fate
    stuck, _ = names("transfer", 0, 2)
    source, target = names("account", AWAY, 2)
    world.ask(stuck, transfer(source, target, 2))
    steps(world, 50)
    assert world.what_is_open()[0] == stuck
    assert process.log.producers
    return world


def test_commands_for_other_partitions_flow_past_those_that_cannot_be_sent() -> None:
    world = stuck_world()
    _, flows = names("transfer", 0, 2)
    source, target = names("account", 0, 2)
    world.ask(flows, transfer(source, target, 2))
    steps(world, MINUTE // 2)
    assert world.promises.results.get(flows) == "done"
    world.medium.fate = lambda append: Fate.LANDS
    world.run_until_done()
    world.check()


def test_what_cannot_be_sent_is_tried_less_and_less_often_and_operators_are_told(caplog: pytest.LogCaptureFixture) -> None:
    world = stuck_world()
    (process,) = world.processes.values()
    before = len(process.log.producers)
    with caplog.at_level(logging.WARNING, "perdure.owner"):
        steps(world, MINUTE)
    made = len(process.log.producers) - before
    assert 2 < made < 40
    assert any("commands for partition 1" in record.getMessage() for record in caplog.records)
    world.medium.fate = lambda append: Fate.LANDS
    world.run_until_done()
    world.check()


def test_what_is_remembered_behind_a_command_that_cannot_be_sent_is_bounded() -> None:
    world = stuck_world(replace(LIMITS, unreleased_records_max=20))
    (owner,) = (one.owner for number, one in world.processes[FIRST].node.partitions.items() if number != AWAY)
    assert owner is not None
    for name in names("note", 0, 60):
        world.ask(name, StartWorkflow("SimNote", "sim"))
        steps(world, 2)
    assert not owner.has_room
    assert owner._releaser.unreleased_records < 60
    world.medium.fate = lambda append: Fate.LANDS
    world.run_until_done()
    assert owner.has_room
    world.check()
