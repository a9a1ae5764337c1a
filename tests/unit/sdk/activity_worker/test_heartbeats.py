"""Heartbeats and completion from elsewhere (semantics 25 to 27)."""

from __future__ import annotations

import asyncio

from kit.activity_bench import Bench, attention, payloads, values
from kit.scripted_owner import eventually
from perdure import activity
from perdure._activity_worker.heartbeat import interval_s
from perdure._task_token import TaskToken
from perdure_schemas.commands import ActivityHeartbeat, ActivityStarted, CancelActivity, CompleteActivity, FailActivity
from perdure_schemas.limits import PAYLOADS_BYTES_MAX


def test_the_interval_is_most_of_the_timeout_within_bounds() -> None:
    assert interval_s(0) == 30
    assert interval_s(10_000) == 8
    assert interval_s(600_000) == 60


async def test_the_first_heartbeat_leaves_at_once_behind_the_announcement(bench: Bench) -> None:
    @activity.defn
    async def beat() -> None:
        activity.heartbeat("a", 1)
        await asyncio.Event().wait()

    async with bench.worker(beat):
        task = bench.dispatch("beat")
        await eventually(lambda: bool(bench.owner.received(ActivityHeartbeat)), "a heartbeat")
        (first,) = bench.owner.received(ActivityHeartbeat)
        start = await bench.started(task)
        assert values(first.details) == ["a", 1]
        assert (first.nonce, first.worker) == (start.nonce, start.worker)


async def test_later_heartbeats_are_throttled_and_the_latest_wins_with_a_rising_counter(bench: Bench) -> None:
    stop = asyncio.Event()
    beats = 0

    @activity.defn
    async def beat() -> None:
        nonlocal beats
        while not stop.is_set():
            beats += 1
            activity.heartbeat(beats)
            await asyncio.sleep(0.001)

    async with bench.worker(beat):
        task = bench.dispatch("beat", heartbeat_timeout_ms=100)
        await eventually(lambda: len(bench.owner.received(ActivityHeartbeat)) >= 3, "three heartbeats")
        stop.set()
        await bench.outcome(task)
    sent = bench.owner.received(ActivityHeartbeat)
    counters = [beat.counter for beat in sent]
    assert counters == sorted(set(counters))
    numbers = [values(beat.details)[0] for beat in sent]
    assert numbers[0] == 1
    assert numbers == sorted(set(numbers))
    assert len(sent) < beats


async def test_heartbeats_without_details_keep_an_attempt_alive(bench: Bench) -> None:
    @activity.defn
    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.005)

    async with bench.worker(beat):
        bench.dispatch("beat", heartbeat_timeout_ms=50)
        await eventually(lambda: len(bench.owner.received(ActivityHeartbeat)) >= 3, "three heartbeats")


async def test_details_that_the_throttle_holds_back_go_with_a_failure_but_not_with_a_result(bench: Bench) -> None:
    @activity.defn
    async def beat(fails: bool) -> None:
        for number in range(5):
            activity.heartbeat(number)
        if fails:
            raise ValueError("broken")

    async with bench.worker(beat):
        failed = await bench.outcome(bench.dispatch("beat", True))
        assert isinstance(failed, FailActivity)
        assert failed.last_heartbeat_details == payloads(4)
        assert isinstance(await bench.outcome(bench.dispatch("beat", False)), CompleteActivity)
    assert all(values(beat.details) == [0] for beat in bench.owner.received(ActivityHeartbeat))


async def test_the_answer_to_a_heartbeat_cancels(bench: Bench) -> None:
    @activity.defn
    async def beat() -> None:
        activity.heartbeat()
        await asyncio.Event().wait()

    grant = bench.owner.script

    def cancel_at_heartbeat(command):  # type: ignore[no-untyped-def]
        if isinstance(command.body, ActivityHeartbeat):
            return [attention(command.body.activity, command.workflow_id, cancel_requested=True)]
        return grant(command)

    bench.owner.script = cancel_at_heartbeat
    async with bench.worker(beat):
        assert isinstance(await bench.outcome(bench.dispatch("beat")), CancelActivity)


async def test_details_that_cannot_be_sent_cancel_the_activity_which_fails_with_that_error(bench: Bench) -> None:
    @activity.defn
    async def beat(large: bool) -> None:
        activity.heartbeat(bytes(PAYLOADS_BYTES_MAX) if large else object())
        await asyncio.Event().wait()

    @activity.defn
    def beat_in_a_thread() -> None:
        activity.heartbeat(object())
        while True:
            activity.in_activity()

    async with bench.worker(beat, beat_in_a_thread):
        for task in (bench.dispatch("beat", False), bench.dispatch("beat_in_a_thread")):
            failure = await bench.failure(task)
            assert failure.info.type == "TypeError"
            assert "object" in failure.message
        assert (await bench.failure(bench.dispatch("beat", True))).info.type == "LimitExceeded"


async def test_an_activity_that_ends_at_once_after_a_bad_heartbeat_completes(bench: Bench) -> None:
    @activity.defn
    async def beat() -> str:
        activity.heartbeat(object())
        return "done"

    async with bench.worker(beat):
        assert isinstance(await bench.outcome(bench.dispatch("beat")), CompleteActivity)


async def test_an_attempt_that_is_completed_elsewhere_is_announced_and_reports_nothing(bench: Bench) -> None:
    tokens: list[bytes] = []

    @activity.defn
    async def hand_over() -> None:
        tokens.append(activity.info().task_token)
        activity.raise_complete_async()

    @activity.defn
    def hand_over_in_a_thread() -> None:
        activity.raise_complete_async()

    async with bench.worker(hand_over, hand_over_in_a_thread):
        task = bench.dispatch("hand_over")
        bench.dispatch("hand_over_in_a_thread")
        await eventually(lambda: bench.committed() == 2, "both are settled")
        await eventually(lambda: len(bench.owner.received(ActivityStarted)) == 2, "both are announced")
    assert TaskToken.from_bytes(tokens[0]) == TaskToken(task.workflow_id, task.run_id, 5, 1)
    assert not bench.outcomes()
