"""Values that are none beside neighbours, on a log that is late, under owners of which one dies: no promise of a neighbour is broken."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kit.scenarios import hostile
from kit.slow_medium import Fate
from kit.world import Process
from perdure._log.memory.medium import Append
from perdure_platform.node.assignment import Stage

SEEDS = 6


@pytest.mark.parametrize("seed", range(SEEDS))
def test_hostile_values_on_a_late_log_and_over_a_takeover_are_nobody_else_s_trouble(seed: int) -> None:
    chance = random.Random(seed)
    world = hostile()

    fates = Counter[Fate]()

    def fate(_append: Append) -> Fate:
        """In order, and acknowledged, but late."""
        fates[chosen := chance.choice((Fate.LANDS, Fate.LANDS, Fate.STALLED, Fate.TOLD_LATE))] += 1
        return chosen

    @contextmanager
    def turning(_process: Process) -> Iterator[None]:
        world.medium.pass_time()
        yield

    world.medium.fate, world.medium.delay_ms, world.observe = fate, lambda _: chance.choice((20, 60, 200, 600)), turning
    world.start()
    for _ in range(chance.randrange(5, 60)):
        world.step()
    world.lose_process(chance.randrange(4))
    process = world.start()
    world.run_until_done()
    assert process.node.partitions[0].stage is Stage.LEADING
    assert world.promises.kinds["counter-0"][-1] == "WorkflowExecutionCompleted"
    assert world.promises.kinds["failing-0"][-1] in ("WorkflowExecutionFailed", "WorkflowExecutionTerminated")
    world.check()
    assert fates[Fate.STALLED]
    assert fates[Fate.TOLD_LATE]
