"""An owner that is not told where the commands end asks again soon: no timeout fires before it knows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from kit.world import LIMITS, World
from perdure._log.errors import LogUnavailable
from perdure._log.memory import MemoryLog
from perdure._log.port import EndOffsetsRequest, TopicPartition
from perdure_platform.partition.barrier import ASK_AGAIN_MS


class _InVain:
    """A request to a partition that has no leader."""

    def result(self) -> dict[TopicPartition, int] | None:
        raise LogUnavailable("no leader")


def test_an_idle_partition_is_woken_when_its_owner_is_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(partitions=1, limits=replace(LIMITS, idle_position_ms=5_000))
    ask = MemoryLog.request_end_offsets
    asked_ms: list[int] = []

    def request(log: MemoryLog, partitions: Sequence[TopicPartition]) -> EndOffsetsRequest:
        if not world._owners():
            return ask(log, partitions)
        asked_ms.append(int(world.clock.ms))
        return _InVain()

    monkeypatch.setattr(MemoryLog, "request_end_offsets", request)
    process = world.start()
    while len(asked_ms) < 4:
        process.node.turn(0)
        world.clock.ms += process.node.wait_ms() or 1  # as the loop sleeps, where nothing comes
    (owner,) = world._owners().values()
    assert not owner._barrier.questions
    waits_ms = [after - before for before, after in itertools.pairwise(asked_ms[1:])]
    assert max(waits_ms) <= 2 * ASK_AGAIN_MS
