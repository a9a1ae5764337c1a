"""A worker whose log is in trouble, and one that was given nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from kit.activity_bench import QUEUE, Bench, reference
from kit.failing_log import FailingLog
from kit.scripted_owner import eventually
from perdure import activity
from perdure._activity_worker import ActivityWorker
from perdure._channel import Channel
from perdure._log.errors import LogClosed, LogUnauthorized, LogUnavailable
from perdure._log.port import GroupConsumer
from perdure_schemas.codec import decode_command
from perdure_schemas.commands import CompleteActivity
from perdure_schemas.topics import commands_topic, dead_letters_topic, tasks_topic


@activity.defn
async def greet() -> str:
    return "hello"


class Stumbling(FailingLog):
    """Also refuses to let a group be joined, with the errors that it is given."""

    def __init__(self, log: object, *errors: Exception) -> None:
        super().__init__(log)  # type: ignore[arg-type]
        self.errors = list(errors)

    def group_consumer(self, group: str, topic: str, session_timeout_ms: int) -> GroupConsumer:
        if self.errors:
            raise self.errors.pop(0)
        return self._log.group_consumer(group, topic, session_timeout_ms)


@asynccontextmanager
async def worker_on(log: FailingLog) -> AsyncIterator[asyncio.Task[None]]:
    channel = await Channel.open(log, "default")
    worker = ActivityWorker(channel, QUEUE, [greet], identity="me")
    run = asyncio.create_task(worker.run())
    try:
        yield run
    finally:
        await worker.shutdown()
        await asyncio.wait([run])
        await channel.close()


def is_report(value: bytes) -> bool:
    return isinstance(decode_command(value).body, CompleteActivity)


async def test_a_report_that_the_log_refuses_is_sent_again_and_only_then_committed(bench: Bench) -> None:
    log = Stumbling(bench.log)
    committed: list[int] = []

    def fail(topic: str, partition: int, value: bytes) -> LogUnavailable | None:
        if topic != commands_topic("default") or len(committed) == 2:
            return None
        if is_report(value):
            committed.append(bench.committed())
        return LogUnavailable("not now")

    log.fail = fail
    async with worker_on(log):
        await eventually(lambda: bool(bench.group().held), "the worker has joined")
        task = bench.dispatch("greet")
        await bench.outcome(task)
        await eventually(lambda: bench.committed() == 1, "the offset is committed")
    assert committed == [0, 0]
    assert len(bench.outcomes()) == 1


async def test_an_offset_waits_for_the_acknowledgement_of_the_report(bench: Bench) -> None:
    log = Stumbling(bench.log)
    async with worker_on(log):
        await eventually(lambda: bool(bench.group().held), "the worker has joined")
        log.hold = True
        task = bench.dispatch("greet")
        await bench.outcome(task)
        assert bench.committed() == 0
        log.hold = False
        await eventually(lambda: bench.committed() == 1, "the offset is committed")


async def test_a_dead_letter_that_the_log_refuses_is_sent_again_before_its_offset_is_committed(bench: Bench) -> None:
    log = Stumbling(bench.log)
    refused: list[int] = []

    def fail(topic: str, partition: int, value: bytes) -> LogUnavailable | None:
        if topic == dead_letters_topic("default") and not refused:
            refused.append(bench.committed())
            return LogUnavailable("not now")
        return None

    log.fail = fail
    async with worker_on(log):
        bench.put(b"rubbish")
        await eventually(lambda: bench.committed() == 1, "the offset is committed")
    assert refused == [0]
    assert bench.log.medium.bounds(dead_letters_topic("default"), 0) == (0, 1)


async def test_a_group_that_cannot_be_joined_for_now_is_tried_again(bench: Bench) -> None:
    log = Stumbling(bench.log, LogUnavailable("away"), LogUnavailable("away"))
    async with worker_on(log):
        await bench.outcome(bench.dispatch("greet"))
    assert not log.errors


async def test_a_worker_that_is_not_allowed_to_read_its_queue_ends_with_that_error(bench: Bench) -> None:
    async with worker_on(Stumbling(bench.log, LogUnauthorized("not for you"))) as run:
        with pytest.raises(LogUnauthorized, match="not for you"):
            await run


async def test_a_worker_whose_channel_is_closed_ends_with_an_error(bench: Bench) -> None:
    channel = await Channel.open(bench.log, "default")
    run = asyncio.create_task(ActivityWorker(channel, QUEUE, [greet]).run())
    await eventually(lambda: bool(bench.group().held), "the worker has joined")
    await channel.close()
    bench.dispatch("greet")
    with pytest.raises(LogClosed):
        await run
    assert bench.committed() == 0


async def test_a_worker_that_is_cancelled_leaves_at_once_and_its_task_is_delivered_again(bench: Bench) -> None:
    began = asyncio.Event()

    @activity.defn
    async def hang() -> None:
        began.set()
        await asyncio.Event().wait()

    channel = await Channel.open(bench.log, "default")
    run = asyncio.create_task(ActivityWorker(channel, QUEUE, [hang]).run())
    await eventually(lambda: bool(bench.group().held), "the worker has joined")
    task = bench.dispatch("hang")
    await began.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await channel.close()
    assert not bench.outcomes()
    assert not bench.group().held
    if not bench.starts(task):
        assert bench.committed() == 0


async def test_a_missing_queue_is_made(bench: Bench) -> None:
    channel = await Channel.open(bench.log, "default")
    worker = ActivityWorker(channel, "fresh", [greet])
    run = asyncio.create_task(worker.run())
    await eventually(lambda: bool(bench.log.describe_topics([tasks_topic("default", "fresh")], 100)), "the topic")
    await worker.shutdown()
    await run
    await channel.close()


async def test_shutdown_of_a_worker_that_never_ran_returns(bench: Bench) -> None:
    channel = await Channel.open(bench.log, "default")
    await ActivityWorker(channel, QUEUE, [greet]).shutdown()
    await channel.close()


async def test_a_given_executor_is_used_and_left_open(bench: Bench) -> None:
    import threading

    seen: list[str] = []

    @activity.defn
    def where() -> None:
        seen.append(threading.current_thread().name)

    with ThreadPoolExecutor(1, "mine") as executor:
        async with bench.worker(where, executor=executor):
            task = bench.dispatch("where")
            await bench.outcome(task)
        assert executor.submit(lambda: 1).result() == 1
    assert seen[0].startswith("mine")
    assert bench.outcomes()[0].activity == reference(task)


async def test_nonsense_is_refused_before_anything_runs(bench: Bench) -> None:
    async def plain() -> None: ...

    @activity.defn(name="greet")
    async def other() -> None: ...

    @activity.defn
    class Callable:
        def __call__(self) -> None: ...

    channel = await Channel.open(bench.log, "default")
    with pytest.raises(ValueError, match=r"plain.*@activity\.defn"):
        ActivityWorker(channel, QUEUE, [plain])
    with pytest.raises(ValueError, match="two activities are called 'greet'"):
        ActivityWorker(channel, QUEUE, [greet, other])
    with pytest.raises(ValueError, match="instance"):
        ActivityWorker(channel, QUEUE, [Callable])
    with pytest.raises(ValueError, match="max_concurrent_activities is 0"):
        ActivityWorker(channel, QUEUE, [greet], max_concurrent_activities=0)
    with ProcessPoolExecutor(1) as processes, pytest.raises(ValueError, match="ProcessPoolExecutor"):
        ActivityWorker(channel, QUEUE, [greet], executor=processes)
    await channel.close()
