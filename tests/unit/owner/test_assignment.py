"""A stale answer, a missing topic, a wrong clock: neither partition nor process ends for it, and nobody is fenced for long."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kit.world import FIRST, NAMESPACE, SECOND, EndsOfThen, ProcessLog, World, commands_of, history_of, open_account
from perdure._log.errors import OffsetOutOfRange, TopicNotFound
from perdure._log.port import EndOffsetsRequest, TopicPartition
from perdure_platform.node.assignment import Stage
from perdure_platform.partition.owner import PartitionOwner
from perdure_platform.store.port import StoreDamaged


def led() -> World:
    world = World(partitions=1)
    world.ask("account-0", open_account())
    world.start()
    world.run_until_done()
    return world


@pytest.mark.parametrize("stale", [history_of(0), commands_of(0)])
def test_one_stale_end_offset_at_a_takeover_does_not_stop_a_partition_for_good(stale: TopicPartition) -> None:
    """R22: a replaced leader of the partition, that is cut off, answers once; the next answer is right."""
    world = led()
    world.lose_process(0)
    process = world.start()
    answers: list[int] = []
    request = ProcessLog.request_end_offsets

    def lagging(partitions: Sequence[TopicPartition]) -> EndOffsetsRequest:
        ends = dict(request(process.log, partitions).result() or {})
        if stale in ends and not answers:
            ends[stale] = ends[stale] - 1 if stale == history_of(0) else 0
            answers.append(ends[stale])
        return EndsOfThen(ends)

    process.log.request_end_offsets = lagging  # type: ignore[method-assign]
    for _ in range(300):
        world.step()
    assert answers, "vacuous"
    assert process.node.partitions[0].stage is Stage.LEADING, process.node.partitions[0].failure


def test_one_fetch_from_a_stale_leader_does_not_stop_a_leading_owner_for_good() -> None:
    world = led()
    process = world.processes[FIRST]
    ends = process.log.end_offsets
    process.log.end_offsets = lambda places, ms: {p: end - 1 for p, end in ends(places, ms).items()}  # type: ignore[assignment, method-assign]
    process.node.partitions[0].out_of_range(OffsetOutOfRange(*history_of(0), "stale"))
    process.log.end_offsets = ends  # type: ignore[method-assign]
    for _ in range(300):
        world.step()
    assert process.node.partitions[0].stage is Stage.LEADING, process.node.partitions[0].failure


def test_a_log_that_has_lost_its_end_still_stops_the_partition() -> None:
    world = led()
    world.lose_process(0)
    process = world.start()
    request = ProcessLog.request_end_offsets

    def short(partitions: Sequence[TopicPartition]) -> EndOffsetsRequest:
        ends = dict(request(process.log, partitions).result() or {})
        return EndsOfThen({place: end - (place == history_of(0)) for place, end in ends.items()})

    process.log.request_end_offsets = short  # type: ignore[method-assign]
    for _ in range(1_500):
        world.step()
    assert process.node.partitions[0].stage is Stage.STOPPED


def test_a_topic_that_is_missing_for_a_moment_while_offsets_are_looked_up_does_not_end_the_process() -> None:
    world = led()
    process = world.processes[FIRST]
    consumer = process.node._consumer
    poll, starts = consumer.poll, process.log.start_offsets

    def out_of_range(records_max: int, timeout_ms: int) -> list[object]:
        raise OffsetOutOfRange(*history_of(0), "it was asked for")

    def missing(places: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        raise TopicNotFound(f"no topic {NAMESPACE}.history")

    consumer.poll, process.log.start_offsets = out_of_range, missing  # type: ignore[assignment, method-assign]
    world.step()  # raises, and ends the process with all of its partitions
    consumer.poll, process.log.start_offsets = poll, starts  # type: ignore[method-assign]
    for _ in range(300):
        world.step()
    assert process.node.partitions[0].stage is Stage.LEADING


def test_an_owner_that_could_not_be_made_leaves_nothing_behind_in_the_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = led()
    world.lose_process(0)
    process = world.start()
    again = PartitionOwner._release_again
    failures = [StoreDamaged("a row of effects"), StoreDamaged("a row of effects")]

    def damaged(self: PartitionOwner, claim_offset: int) -> None:
        if failures:
            raise failures.pop()
        again(self, claim_offset)

    monkeypatch.setattr(PartitionOwner, "_release_again", damaged)
    for _ in range(400):
        world.step()
    assert process.node.partitions[0].stage is Stage.LEADING
    assert len(process.node._around.lanes.on_commands_failed) == 1


@pytest.mark.parametrize("apart_ms", [3_600_000, -3_600_000])
def test_a_machine_whose_clock_is_wrong_does_not_fence_others_again_and_again(apart_ms: int) -> None:
    world = World(partitions=1, said={0: {FIRST, SECOND}})
    bad = world.start(name=FIRST)
    bad.log.now_ms = lambda: world.clock.ms + apart_ms  # type: ignore[method-assign]
    good = world.start(name=SECOND)
    fenced, led_before = 0, False
    for _ in range(30_000 // 20):
        world.step()
        leads = good.node.partitions[0].stage is Stage.LEADING
        fenced += led_before and not leads
        led_before = leads
    assert fenced <= 1, f"the good owner was fenced {fenced} times in 30 s"
    bad.log.now_ms = lambda: world.clock.ms  # type: ignore[method-assign]
    world.said = {0: {FIRST}}
    for _ in range(200):
        world.step()
    assert bad.node.partitions[0].stage is Stage.LEADING, "its clock has been set"
