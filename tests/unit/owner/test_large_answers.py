"""What clients ask for and send can be larger than a record, and must not end the owner that meets it (P9)."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kit.sim_workflows import WORKFLOWS
from kit.world import FIRST, NAMESPACE, World, commands_of, history_of, plain
from perdure import workflow
from perdure._replay.runtime import CodeHost
from perdure.exceptions import ApplicationError
from perdure_platform.node.assignment import Stage
from perdure_platform.partition import query
from perdure_platform.store.tables import Tables
from perdure_schemas import codec
from perdure_schemas.commands import (
    ActivityHeartbeat,
    ActivityReference,
    AwaitWorkflow,
    Command,
    CommandBody,
    DescribeWorkflow,
    FetchHistory,
    ListWorkflows,
    QueryWorkflow,
    ReplyAddress,
    Request,
    SignalWorkflow,
    StartWorkflow,
)
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.history import Claim
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.payload import Payload
from perdure_schemas.placement import partition_of
from perdure_schemas.replies import (
    HistoryEvent,
    HistoryPage,
    QueryAnswered,
    RefusalCode,
    Refused,
    ReplyBody,
    RunSummary,
    WorkflowClosed,
    WorkflowDescribed,
    WorkflowsListed,
    WorkflowStarted,
)
from perdure_schemas.topics import RECORD_BYTES_MAX


@workflow.defn
class Spender:
    """Fills a record to the brim once it is told to."""

    def __init__(self) -> None:
        self.told = 0

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.told > 0)
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(workflow.execute_activity("spend", "x" * 1_950_000, start_to_close_timeout=timedelta(minutes=1)))

    @workflow.signal
    def count(self, number: int, _: bytes) -> None:
        self.told = number

    @workflow.query
    def long(self, size: int) -> str:
        return "x" * size

    @workflow.query
    def wrong(self, size: int) -> str:
        raise ValueError("x" * size)


@workflow.defn
class Generous:
    """Returns much, once it is told to."""

    def __init__(self) -> None:
        self.told = 0

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.told > 0)
        return "x" * self.told

    @workflow.signal
    def count(self, number: int) -> None:
        self.told = number


@workflow.defn
class Crowd:
    """Many activities at once."""

    @workflow.run
    async def run(self, count: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(workflow.execute_activity("wait", start_to_close_timeout=timedelta(minutes=1)))


@workflow.defn
class Extravagant:
    """Asks for what no record holds."""

    @workflow.run
    async def run(self, what: str) -> None:
        long = "x" * RECORD_BYTES_MAX
        match what:
            case "exception":
                raise RuntimeError(long)
            case "failure":
                raise ApplicationError(long)
            case "cause":
                raise RuntimeError("short") from ValueError(long)
            case "patch":
                workflow.patched(long)
            case "run id":
                await workflow.get_external_workflow_handle("counter", run_id=long).signal("count", 1)
            case "cancel":
                await workflow.get_external_workflow_handle("counter", run_id=long).cancel()


MiB = 1024 * 1024
HOME = partition_of("counter", 2)
START = StartWorkflow("SimCounter", "sim")

_numbers = itertools.count()


def led() -> World:
    """A world with an owner and an open run; its promises do not look at what is larger than they expect."""
    world = World()
    world.medium.watch = lambda record: None
    world.workers = lambda: None  # type: ignore[method-assign]
    process = world.start()
    process.node._around = replace(
        process.node._around, host=CodeHost([*WORKFLOWS, Spender, Generous, Crowd, Extravagant], deadlock_timeout_ms=0)
    )
    told(world, START)
    return world


def told(world: World, body: CommandBody, workflow_id: str = "counter") -> ReplyBody:
    """What a client is told that asks this now."""
    request = Request(f"asked-{next(_numbers)}", world.clock.ms + 60_000, ReplyAddress("client", 0))
    world.medium.append(*commands_of(HOME), workflow_id.encode(), codec.encode_command(Command(workflow_id, body, request)))
    for _ in range(100):
        world.step()
        for record in world.medium.read(f"{NAMESPACE}.replies", 0, 0, 10_000):
            reply = codec.decode_reply(record.value)
            if reply.request_id == request.request_id:
                return reply.body
    raise AssertionError(f"no answer to {type(body).__name__}")


def signal(size_bytes: int, number: int = 0) -> SignalWorkflow:
    return SignalWorkflow("count", input=(*plain(number), Payload({"encoding": b"binary/plain"}, b"x" * size_bytes)))


def pages_of_history(world: World, events_max: int = 500, workflow_id: str = "counter") -> list[HistoryPage]:
    pages: list[HistoryPage] = []
    first = 1
    while first:
        page = told(world, FetchHistory(first_event_id=first, events_max=events_max), workflow_id)
        assert isinstance(page, HistoryPage)
        pages.append(page)
        first = page.next_event_id
    return pages


def pages_of_list(world: World, **asked: int | str) -> list[tuple[RunSummary, ...]]:
    pages: list[tuple[RunSummary, ...]] = []
    token = b""
    while not pages or token:
        page = told(world, ListWorkflows(page_token=token, **asked), "")  # type: ignore[arg-type]
        assert isinstance(page, WorkflowsListed)
        pages.append(page.runs)
        token = page.next_page_token
    return pages


def counted(summaries: Any, looked_at: list[int]) -> Any:
    """The same rows; how many of them each reading takes is told."""

    def reading(*arguments: Any) -> Iterator[Any]:
        looked_at.append(0)
        for row in summaries(*arguments):
            looked_at[-1] += 1
            yield row

    return reading


def ids(pages: list[HistoryPage]) -> list[int]:
    events: list[HistoryEvent] = [event for page in pages for event in page.events]
    return [event.event_id for event in events]


def oversized() -> dict[str, Command]:
    """Commands that the log takes, and whose record or answer it does not."""
    long = "x" * (RECORD_BYTES_MAX - 200_000)
    request = Request("asked", 1_700_000_060_000, ReplyAddress("client", 0))
    return {
        "a request id": Command("counter", signal(1), replace(request, request_id=long)),
        "a client id": Command("counter", signal(1), replace(request, reply_to=ReplyAddress(long, 0))),
        "the run id of a signal": Command("counter", replace(signal(1), run_id=long), request),
        "the run id of a wait": Command("counter", AwaitWorkflow(long), request),
        "the name of a query": Command("counter", QueryWorkflow(long), request),
        "a filter": Command("", ListWorkflows(query=long), request),
    }


def steps(world: World, count: int) -> None:
    for _ in range(count):
        world.step()


def claims(world: World) -> list[int]:
    """How often each partition was claimed."""
    return [
        sum(isinstance(codec.decode_history(record.value), Claim) for record in world.medium.read(*history_of(partition), 0, 10_000))
        for partition in range(2)
    ]


def letters(world: World) -> list[DeadLetter]:
    return [codec.decode_dead_letter(record.value) for record in world.medium.read(f"{NAMESPACE}.dead-letters", 0, 0, 100)]


def survives(world: World) -> None:
    """The partition goes on: it answers, and is led still."""
    assert told(world, FetchHistory())
    assert world.processes[FIRST].node.partitions[HOME].stage is Stage.LEADING


def test_a_history_whose_next_record_is_as_large_as_can_be_comes_in_pages_that_fit() -> None:
    world = led()
    told(world, StartWorkflow("Spender", "sim"), "spender-1")
    told(world, signal(MiB - 10_000), "spender-1")
    told(world, signal(10, 1), "spender-1")
    pages = pages_of_history(world, workflow_id="spender-1")
    assert ids(pages) == list(range(1, 8))
    assert [len(page.events) for page in pages] == [2, 5]


@pytest.mark.parametrize("events_max", [1, 2, 3, 500])
def test_pages_of_a_history_hold_each_event_once(events_max: int) -> None:
    world = led()
    for size in random.Random(events_max).choices([10, 300_000, 600_000, 1_100_000], k=12):
        told(world, signal(size))
    pages = pages_of_history(world, events_max)
    assert ids(pages) == list(range(1, len(ids(pages)) + 1))
    assert all(len(page.events) <= events_max for page in pages)


def test_a_list_of_runs_with_large_memos_comes_in_pages_that_fit() -> None:
    world = led()
    names = [name for name in (f"run-{number}" for number in range(80)) if partition_of(name, 2) == HOME]
    for name in names:
        told(world, replace(START, memo={"order": Payload({}, b"x" * 300_000)}), name)
    pages = pages_of_list(world, page_size=100)
    assert sorted(row.workflow_id for page in pages for row in page) == sorted(["counter", *names])
    assert len(pages) > 1


def test_a_page_of_a_list_looks_at_fewer_runs_the_more_its_filter_asks_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    world = led()
    names = [name for name in (f"run-{number}" for number in range(40)) if partition_of(name, 2) == HOME]
    for name in names:
        told(world, START, name)
    looked_at: list[int] = []
    monkeypatch.setattr(query, "CONDITIONS_PER_PAGE_MAX", 10_000)
    monkeypatch.setattr(Tables, "summaries", counted(Tables.summaries, looked_at))
    filter_of_many = " OR ".join(["HistoryLength < 0"] * 2_500 + ["StartTime > 0"])
    pages = pages_of_list(world, query=filter_of_many, page_size=1_000)
    assert sorted(row.workflow_id for page in pages for row in page) == sorted(["counter", *names])
    pages = pages_of_list(world, query=" AND ".join(["HistoryLength >= 0"] * 2_500 + ["NOT (StartTime > 0)"]), page_size=1_000)
    assert not any(pages)
    assert max(looked_at) * 2_500 < 2 * query.CONDITIONS_PER_PAGE_MAX


def test_the_description_of_a_run_leaves_out_the_details_that_do_not_fit() -> None:
    world = led()
    started = told(world, StartWorkflow("Crowd", "sim", plain(6)), "spender-1")
    assert isinstance(started, WorkflowStarted)
    for number in range(1, 7):
        details = (Payload({}, b"x" * (2 * MiB - 1_000)),)
        heartbeat = ActivityHeartbeat(ActivityReference(started.run_id, activity_id=str(number)), 1, details)
        told(world, heartbeat, "spender-1")
    described = told(world, DescribeWorkflow(), "spender-1")
    assert isinstance(described, WorkflowDescribed)
    assert [bool(activity.heartbeat_details) for activity in described.pending_activities] == [True, *[False] * 5]


@pytest.mark.parametrize(("query", "code"), [("long", RefusalCode.LIMIT_EXCEEDED), ("wrong", RefusalCode.QUERY_FAILED)])
def test_an_answer_of_code_that_no_record_holds_is_refused_and_the_next_is_given(query: str, code: RefusalCode) -> None:
    world = led()
    told(world, StartWorkflow("Spender", "sim"), "spender-1")
    refused = told(world, QueryWorkflow(query, args=plain(RECORD_BYTES_MAX)), "spender-1")
    assert isinstance(refused, Refused)
    assert refused.code == code
    assert ("at most 2097152 are allowed" if query == "long" else "x (cut: the failure had ") in refused.message
    assert told(world, QueryWorkflow("long", args=plain(3)), "spender-1") == QueryAnswered(plain("xxx"))


def test_a_result_reaches_all_who_wait_for_it_although_no_record_holds_it_for_all_of_them() -> None:
    world = led()
    started = told(world, StartWorkflow("Generous", "sim"), "spender-1")
    assert isinstance(started, WorkflowStarted)
    waiting = [f"waits-{number}" for number in range(6)]
    for request_id in waiting:
        request = Request(request_id, world.clock.ms + 60_000, ReplyAddress("client", 0))
        world.send(Command("spender-1", AwaitWorkflow(started.run_id), request))
    steps(world, 10)
    before = claims(world)
    told(world, SignalWorkflow("count", input=plain(2 * MiB - 1_000)), "spender-1")
    steps(world, 20)
    replies = [codec.decode_reply(record.value) for record in world.medium.read(f"{NAMESPACE}.replies", 0, 0, 10_000)]
    assert {reply.request_id for reply in replies if isinstance(reply.body, WorkflowClosed)} == set(waiting)
    assert claims(world) == before, "an answer that is too large for its record has cost the owner its claims"


@pytest.mark.parametrize("what", ["exception", "cause", "patch", "run id", "cancel"])
def test_code_that_asks_for_or_raises_what_no_record_holds_blocks_its_own_run_only(what: str) -> None:
    world = led()
    told(world, StartWorkflow("Extravagant", "sim", plain(what)), "spender-1")
    described = told(world, DescribeWorkflow(), "spender-1")
    assert isinstance(described, WorkflowDescribed)
    assert described.activation_failure is not None
    assert len(described.activation_failure.message) < 5_000
    survives(world)


def test_a_failure_that_no_record_holds_is_cut_and_fails_its_run() -> None:
    world = led()
    told(world, StartWorkflow("Extravagant", "sim", plain("failure")), "spender-1")
    described = told(world, DescribeWorkflow(), "spender-1")
    assert isinstance(described, WorkflowDescribed)
    assert described.summary.status is WorkflowStatus.FAILED
    survives(world)


@pytest.mark.parametrize("what", oversized())
def test_a_command_whose_record_or_answer_does_not_fit_ends_nobody(what: str) -> None:
    world = led()
    world.medium.append(*commands_of(HOME), None, codec.encode_command(oversized()[what]))
    survives(world)
    assert all(letter.reason == "oversized" and "at most 65536 are allowed" in letter.message for letter in letters(world))
    assert len(letters(world)) == (what != "a filter"), "a filter is refused, with an answer"


def test_poison_of_any_size_is_a_dead_letter() -> None:
    world = led()
    (written,) = [world.medium.append(*commands_of(HOME), b"k" * 10_000, b"\xff" * (RECORD_BYTES_MAX - 11_000))]
    survives(world)
    (letter,) = letters(world)
    assert letter.source_offset == written.offset
    assert letter.value == written.value[: len(letter.value)]
    assert f"the first {len(letter.value):,} of its {len(written.value):,} bytes are kept here" in letter.message


def test_poison_that_comes_in_one_turn_and_does_not_fit_into_one_record_ends_nobody() -> None:
    world = led()
    for _ in range(6):
        world.medium.append(*commands_of(HOME), None, b"\xff" * 2 * MiB)
    survives(world)
    assert len(letters(world)) == 6
