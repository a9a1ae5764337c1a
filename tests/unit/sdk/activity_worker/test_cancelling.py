"""How an attempt learns that it is to end, and what is reported then (semantics 22 to 24, 32)."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

from kit.activity_bench import Bench, acknowledge, values
from kit.scripted_owner import eventually
from perdure import activity
from perdure.exceptions import CancelledError
from perdure_schemas.commands import ActivityHeartbeat, CancelActivity, CompleteActivity, FailActivity


@activity.defn
async def wait_for_ever() -> None:
    await asyncio.Event().wait()


@activity.defn
async def finish_anyway() -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return f"{activity.is_cancelled()} {activity.cancellation_details()}"
    return "never"


@activity.defn
def spin() -> None:
    while True:
        activity.in_activity()


@activity.defn(no_thread_cancel_exception=True)
def wait_in_a_thread() -> str:
    activity.wait_for_cancelled_sync(timedelta(seconds=30))
    return f"cancelled: {activity.is_cancelled()}"


async def test_an_async_activity_is_cancelled_and_reported_as_such(bench: Bench) -> None:
    async with bench.worker(wait_for_ever):
        task = bench.dispatch("wait_for_ever")
        await bench.attend(task, cancel_requested=True)
        assert isinstance(await bench.outcome(task), CancelActivity)


async def test_an_activity_may_finish_in_spite_of_a_cancel(bench: Bench) -> None:
    async with bench.worker(finish_anyway):
        task = bench.dispatch("finish_anyway")
        await bench.attend(task, cancel_requested=True)
        outcome = await bench.outcome(task)
        assert isinstance(outcome, CompleteActivity)
        assert "True" in values(outcome.result)[0]
        assert "cancel_requested=True" in values(outcome.result)[0]


async def test_details_of_the_cancellation_travel(bench: Bench) -> None:
    @activity.defn
    async def undo() -> None:
        try:
            await activity.wait_for_worker_shutdown()
        except asyncio.CancelledError as error:
            raise CancelledError("undone", "three of five") from error

    async with bench.worker(undo):
        task = bench.dispatch("undo")
        await bench.attend(task, cancel_requested=True)
        outcome = await bench.outcome(task)
        assert isinstance(outcome, CancelActivity)
        assert values(outcome.details) == ["three of five"]


async def test_a_failure_during_a_cancel_is_a_failure(bench: Bench) -> None:
    @activity.defn
    async def break_down() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("broken")

    async with bench.worker(break_down):
        task = bench.dispatch("break_down")
        await bench.attend(task, cancel_requested=True)
        assert (await bench.failure(task)).message == "broken"


async def test_a_cancel_that_comes_with_the_acknowledgement_is_heard(bench: Bench) -> None:
    bench.owner.script = lambda command: acknowledge(command, cancel_requested=True)
    async with bench.worker(wait_for_ever):
        assert isinstance(await bench.outcome(bench.dispatch("wait_for_ever")), CancelActivity)
        assert isinstance(await bench.outcome(bench.dispatch("wait_for_ever", announce_first=True)), CancelActivity)


async def test_a_thread_is_interrupted(bench: Bench) -> None:
    async with bench.worker(spin):
        task = bench.dispatch("spin")
        await bench.attend(task, cancel_requested=True)
        assert isinstance(await bench.outcome(task), CancelActivity)


async def test_a_thread_that_is_not_to_be_interrupted_can_ask(bench: Bench) -> None:
    async with bench.worker(wait_in_a_thread):
        task = bench.dispatch("wait_in_a_thread")
        await bench.attend(task, cancel_requested=True)
        outcome = await bench.outcome(task)
        assert isinstance(outcome, CompleteActivity)
        assert values(outcome.result) == ["cancelled: True"]


async def test_a_shield_defers_the_interrupt_to_its_end(bench: Bench) -> None:
    steps: list[str] = []

    @activity.defn
    def save() -> None:
        with activity.shield_thread_cancel_exception():
            with activity.shield_thread_cancel_exception():
                activity.wait_for_cancelled_sync(30)
            for _ in range(10_000):
                activity.in_activity()
            steps.append("saved")
        steps.append("not reached")

    async with bench.worker(save):
        task = bench.dispatch("save")
        await bench.attend(task, cancel_requested=True)
        assert isinstance(await bench.outcome(task), CancelActivity)
    assert steps == ["saved"]


async def test_an_attempt_that_is_not_wanted_any_more_ends_without_a_report(bench: Bench) -> None:
    ended: list[activity.ActivityCancellationDetails | None] = []

    @activity.defn
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(activity.cancellation_details())

    async with bench.worker(work):
        await bench.attend(bench.dispatch("work"), not_found=True)
        await bench.attend(bench.dispatch("work"), timed_out=True)
        await eventually(lambda: len(ended) == 2, "both are cancelled")
        await eventually(lambda: bench.committed() == 2, "and settled")
    assert ended == [activity.ActivityCancellationDetails(not_found=True), activity.ActivityCancellationDetails(timed_out=True)]
    assert not bench.outcomes()


async def test_an_attempt_that_outlives_its_timeout_is_cancelled_and_left_to_the_owner(bench: Bench) -> None:
    ended: list[activity.ActivityCancellationDetails | None] = []

    @activity.defn
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(activity.cancellation_details())

    async with bench.worker(work):
        task = bench.dispatch("work", start_to_close_timeout_ms=20)
        await eventually(lambda: len(ended) == 1, "it is cancelled")
        await bench.started(task)
        await eventually(lambda: bench.committed() == 1, "and settled")
    assert ended == [activity.ActivityCancellationDetails(timed_out=True)]
    assert not bench.outcomes()


async def test_cancelling_while_functions_end_loses_no_report_and_no_thread(bench: Bench) -> None:
    """The interrupt meets the function at every possible moment; whatever comes of it, there is one report and the pool works on."""

    @activity.defn
    def brief() -> str:
        for _ in range(200):
            activity.in_activity()
        return "done"

    bench.owner.script = lambda command: acknowledge(command, cancel_requested=True)
    async with bench.worker(brief, max_concurrent_activities=2) as worker:
        tasks = [bench.dispatch("brief") for _ in range(60)]

        def annoy() -> None:
            for attempt in tuple(worker._attempts.values()):
                attempt.cancel(activity.ActivityCancellationDetails(cancel_requested=True))

        loop = asyncio.get_running_loop()
        while len(bench.outcomes()) < len(tasks):
            annoy()
            await asyncio.sleep(0)
            assert loop.is_running()
        assert len(bench.outcomes()) == len(tasks)
        assert all(isinstance(outcome, CompleteActivity | CancelActivity) for outcome in bench.outcomes())
        plain = bench.dispatch("brief")
        assert await bench.outcome(plain)


async def test_a_thread_may_heartbeat_and_learns_from_it_of_a_cancel(bench: Bench) -> None:
    names: list[str] = []

    @activity.defn(no_thread_cancel_exception=True)
    def count() -> None:
        names.append(threading.current_thread().name)
        number = 0
        while not activity.is_cancelled():
            number += 1
            activity.heartbeat(number)
        raise CancelledError("at", number)

    async with bench.worker(count):
        task = bench.dispatch("count")
        await eventually(lambda: bool(bench.owner.received(ActivityHeartbeat)), "a heartbeat")
        await bench.attend(task, cancel_requested=True)
        outcome = await bench.outcome(task)
        assert isinstance(outcome, CancelActivity)
        assert values(outcome.details)[0] > 0
    assert names[0].startswith("perdure-activity")


async def test_a_shutdown_gives_activities_time_and_then_cancels_them_as_failures(bench: Bench) -> None:
    @activity.defn
    async def polite() -> str:
        await activity.wait_for_worker_shutdown()
        return f"{activity.is_worker_shutdown()} {activity.is_cancelled()}"

    async with bench.worker(polite, wait_for_ever, graceful_shutdown_timeout_ms=300):
        quick, slow = bench.dispatch("polite"), bench.dispatch("wait_for_ever")
        await bench.started(quick)
        await bench.started(slow)
    outcome = await bench.outcome(quick)
    assert isinstance(outcome, CompleteActivity)
    assert values(outcome.result) == ["True False"]
    late = await bench.outcome(slow)
    assert isinstance(late, FailActivity)
    assert late.failure.info is not None
    assert late.failure.info.type == "WorkerShutdown"  # type: ignore[union-attr]
    assert not late.failure.info.non_retryable  # type: ignore[union-attr]
    assert not bench.group().held
    assert bench.committed() == 2
