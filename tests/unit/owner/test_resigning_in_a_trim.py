"""An owner that hands its partition over while it trims, or that would trim once it has resigned, has not died."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kit.world import FIRST, LIMITS, SECOND, STEP_MS, World, open_account, transfer
from perdure_platform.node.assignment import Stage
from perdure_platform.partition import trim
from perdure_platform.partition.owner import PartitionOwner
from perdure_platform.store.tables import Tables

TRIMS = replace(LIMITS, retention_ms=1_000, checkpoint_interval_ms=200)


def handed_over(at_step: int, monkeypatch: pytest.MonkeyPatch) -> tuple[World, str]:
    """The second owner leads; the first was told to leave so many steps after it had worked, and what its trimmer was about then."""
    world = World(partitions=1, limits=TRIMS, said={0: {FIRST}})
    for account in ("account-0", "account-3", "account-6", "account-9"):
        world.ask(account, open_account())
    first = world.start()
    for step in range(60 + at_step):
        if step % 10 == 0:
            world.ask(f"transfer-{step}", transfer("account-0", "account-3", 2))
        world.step()
    owner = first.node.partitions[0].owner
    assert owner is not None
    stages: list[str] = []
    position = PartitionOwner._position

    def watched(self: PartitionOwner, now_ms: int, *, resigned: bool = False) -> None:
        if resigned:
            stages.append(self._trimmer._stage.value)
        position(self, now_ms, resigned=resigned)

    monkeypatch.setattr(PartitionOwner, "_position", watched)
    assert world.said is not None
    world.said[0] = set()
    world.step()
    for _ in range(TRIMS.handover_ms // STEP_MS):
        if not first.node._leaving:
            break
        world.step()
    assert not first.node._leaving
    second = world.start(name=SECOND)
    world.said[0] = {SECOND}
    for _ in range(200):
        world.step()
        if second.node.partitions and second.node.partitions[0].stage is Stage.LEADING:
            break
    for _ in range(5):
        world.step()
    return world, ",".join(stages)


@pytest.mark.parametrize("looks_at_once", [200, 1])
def test_who_hands_over_is_not_counted_as_dead_wherever_its_trim_was(looks_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """`RUNS_AT_ONCE` 1 stands for a partition of more than 200 runs: then a step of a trim appends nothing."""
    dead: dict[int, str] = {}
    broken: dict[int, str] = {}
    monkeypatch.setattr(trim, "RUNS_AT_ONCE", looks_at_once)
    for at_step in range(50):
        with monkeypatch.context() as patch:
            world, stages = handed_over(at_step, patch)
        caution = Tables(world.stores[SECOND].stores[0].opened()).positions().caution
        if caution.deaths:
            dead[at_step] = stages
        world.run_until_done()
        try:
            world.check()
        except AssertionError as error:
            broken[at_step] = str(error).splitlines()[0]
    assert not broken
    assert not dead, f"counted as dead when told to leave after so many steps (the trim's stage when it resigned): {dead}"
