"""Partitions that have no news take no turns: what a transfer costs does not grow with the partitions beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.world import LIMITS, World, open_account, plain
from perdure_platform.node.assignment import AssignedPartition, Stage
from perdure_platform.node.wake_times import WakeTimes
from perdure_platform.partition.owner import PartitionOwner
from perdure_schemas.commands import SignalWorkflow

DEPOSITS = 20
LOOK_MS = 1_000
"""Milliseconds after which an idle partition looks whether there is something to note."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often what a loop could call for each of its partitions is called."""
    counted = dict.fromkeys(("turn", "wait_ms", "has_room"), 0)

    def counting(kind: type, name: str) -> None:
        original: Any = vars(kind)[name]
        get: Any = original.fget if isinstance(original, property) else original

        def call(self: Any, *arguments: Any) -> Any:
            counted[name] += 1
            return get(self, *arguments)

        monkeypatch.setattr(kind, name, property(call) if isinstance(original, property) else call)

    counting(AssignedPartition, "turn")
    counting(AssignedPartition, "wait_ms")
    counting(PartitionOwner, "has_room")
    return counted


def of_deposits(partitions: int, calls: dict[str, int]) -> tuple[dict[str, int], int]:
    """Calls that some deposits on one account take, and the time in which they were made."""
    world = World(partitions=partitions, limits=replace(LIMITS, idle_position_ms=LOOK_MS))
    process = world.start()
    world.ask("account-0", open_account())
    world.run_until_answered()
    while any(one.stage is not Stage.LEADING or not one.owner.is_settled for one in process.node.partitions.values() if one.owner):
        world.step()
    for _ in range(200):
        world.step()
    began_ms = world.clock.ms
    calls.update(dict.fromkeys(calls, 0))
    for number in range(DEPOSITS):
        world.ask("account-0", SignalWorkflow("deposit", input=plain(4 ** (number % 8))))
        world.run_until_answered()
    return dict(calls), world.clock.ms - began_ms


def test_idle_partitions_take_no_turns_and_are_not_looked_at(calls: dict[str, int]) -> None:
    alone, alone_ms = of_deposits(1, calls)
    beside, beside_ms = of_deposits(64, calls)
    looks = 64 * (beside_ms // LOOK_MS + 1)
    assert alone["turn"] >= DEPOSITS
    for name, count in alone.items():
        assert beside[name] <= 1.5 * count * max(1, beside_ms / alone_ms) + looks, f"{name}: {count} alone, {beside[name]} beside 63 others"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 4), st.integers(0, 30)),
        st.tuples(st.just("forget"), st.integers(0, 4)),
        st.tuples(st.just("take"), st.integers(0, 10)),
    ),
    max_size=80,
)


@given(STEPS)
def test_each_partition_is_woken_at_its_last_time_and_once(steps: list[tuple[Any, ...]]) -> None:
    wakes, known, now_ms = WakeTimes(), dict[int, float](), 0
    for step in steps:
        match step:
            case ("put", partition, after_ms):
                wakes.put(partition, now_ms + after_ms)
                known[partition] = now_ms + after_ms
            case ("forget", partition):
                wakes.forget(partition)
                known.pop(partition, None)
            case (_, passed_ms):
                now_ms += passed_ms
                due = {partition for partition, at_ms in known.items() if at_ms <= now_ms}
                assert wakes.take(now_ms) == due
                known = {partition: at_ms for partition, at_ms in known.items() if partition not in due}
        assert wakes.next_ms() == min(known.values(), default=None)
