"""What a run holds in memory: while it is open, what it needs to go on; once it has closed, no place among those that can go on."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure._replay.host import Activation, RunStart
from perdure._replay.runtime import CodeHost
from perdure.converter import DataConverter
from perdure_platform.partition.runs import CLOSED_MAX, Runs
from perdure_platform.partition.transition.decide import decide
from perdure_platform.partition.transition.draft import Arrived, Context, Due
from perdure_platform.partition.transition.state import RunState
from perdure_platform.store.memory import MemoryStore
from perdure_platform.store.tables import Tables
from perdure_schemas import events
from perdure_schemas.codec import decode_command, encode_command
from perdure_schemas.commands import ActivityReference, Command, CommandBody, CompleteActivity, ReplyAddress, Request, StartWorkflow
from perdure_schemas.commands import SignalWorkflow as Signal
from perdure_schemas.payload import Payloads

MINUTE = timedelta(minutes=1)
LARGE_BYTES = 100_000
PER_SLEEPER_BYTES_MAX = 5_700
"""Of traced memory for each run that sleeps; it was 9,300, with more of asyncio's own bookkeeping beside it."""

alive: weakref.WeakSet[Any] = weakref.WeakSet()


@dataclass(eq=False)
class Large:
    """A result that tells whether somebody holds it."""

    text: str

    def __post_init__(self) -> None:
        alive.add(self)


class Counted:
    """A workflow object that tells whether somebody holds it."""

    def __init__(self) -> None:
        self.is_released = False
        alive.add(self)

    @workflow.signal
    async def release(self) -> None:
        self.is_released = True


@workflow.defn
class Sleeper(Counted):
    @workflow.run
    async def run(self, number: int) -> int:
        await asyncio.sleep(10_000_000)
        return number


@workflow.defn
class Awaits(Counted):
    @workflow.run
    async def run(self, count: int) -> None:
        for number in range(count):
            await workflow.execute_activity("large", number, start_to_close_timeout=MINUTE, result_type=Large)
        await workflow.wait_condition(lambda: self.is_released)


@workflow.defn
class Gathers(Counted):
    @workflow.run
    async def run(self, count: int) -> None:
        async def one(number: int) -> int:
            return len((await workflow.execute_activity("large", number, start_to_close_timeout=MINUTE, result_type=Large)).text)

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(number))
        await workflow.wait_condition(lambda: self.is_released)


@workflow.defn
class Sends(Counted):
    @workflow.run
    async def run(self, count: int) -> None:
        under_way = [workflow.start_activity("send", "x" * LARGE_BYTES, start_to_close_timeout=MINUTE) for _ in range(count)]
        await asyncio.wait(under_way, timeout=100)


@workflow.defn
class Races(Counted):
    @workflow.run
    async def run(self, count: int) -> None:
        first = asyncio.create_task(workflow.execute_activity("large", 1, start_to_close_timeout=MINUTE, result_type=Large))
        try:
            await asyncio.wait_for(asyncio.shield(first), 100)
        finally:
            await asyncio.gather(first, asyncio.sleep(count))


@workflow.defn
class Waits(Counted):
    @workflow.run
    async def run(self, count: int) -> None:
        changed = asyncio.Event()
        await asyncio.gather(workflow.wait_condition(lambda: self.is_released, timeout=100), changed.wait())


KINDS = (Sleeper, Awaits, Gathers, Sends, Races, Waits)


@pytest.fixture(autouse=True)
def without_cycles() -> Iterator[None]:
    """Owners look for cycles so seldom that what is in one stays."""
    gc.collect()
    alive.clear()
    gc.disable()
    yield
    gc.enable()


def encoded(*values: object) -> Payloads:
    return DataConverter.default.payload_converter.to_payloads(values)


@dataclass
class Memory:
    """The runs of a partition, with decisions that go nowhere: each run has what an owner would have given it."""

    open_max: int = 10**6
    now_ms: int = 1_000_000
    offset: int = 0
    runs: Runs = field(init=False)

    def __post_init__(self) -> None:
        self.runs = Runs(Tables(MemoryStore()), CodeHost(KINDS), "ns", self.open_max)

    def take(self, workflow_id: str, body: CommandBody) -> None:
        """A command, as it comes from the log."""
        self.offset += 1
        request = Request(f"request-{self.offset}", self.now_ms + 30_000, ReplyAddress("client", 0))
        command = decode_command(encode_command(Command(workflow_id, body, request)))
        self.decide(workflow_id, Arrived(self.offset, command))

    def decide(self, workflow_id: str, item: Arrived | Due) -> None:
        activate, discard = self.runs.activate, self.runs.discard
        context = Context(self.now_ms, self.now_ms, 0, "topic/0", lambda _workflow_id, _request_id: None, activate, discard)
        for run in decide(self.runs.entry(workflow_id).state, workflow_id, (item,), context).runs:
            self.runs.put(workflow_id, run.state)

    def start(self, kind: type, workflow_id: str, value: object) -> None:
        self.take(workflow_id, StartWorkflow(kind.__name__, "queue", encoded(value)))

    def state(self, workflow_id: str) -> RunState:
        state = self.runs.entry(workflow_id).state
        assert state is not None
        return state

    def complete(self, workflow_id: str, result: object) -> None:
        """The first activity under way gives its result."""
        state = self.state(workflow_id)
        reference = ActivityReference(state.run_id, next(iter(state.activities)), 1)
        self.take(workflow_id, CompleteActivity(reference, encoded(result)))


@pytest.mark.parametrize("kind", [Awaits, Gathers])
def test_results_that_the_code_has_let_go_are_gone(kind: type) -> None:
    memory = Memory()
    memory.start(kind, "w", 30)
    for _ in range(30):
        memory.complete("w", Large("x" * 1_000))
    assert not memory.state("w").activities
    assert [one for one in alive if isinstance(one, Large)] == []
    memory.take("w", Signal("release"))
    assert not memory.state("w").is_open


def test_what_activities_were_called_with_is_kept_by_the_state_alone() -> None:
    """The state needs it for another attempt; the code does not, and after a takeover it would hold a copy."""
    count = 20
    start = RunStart("ns", "w", "run", 1, events.WorkflowExecutionStarted("Sends", "queue", encoded(count), "run"))
    instance = CodeHost(KINDS).open(start, ())
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        activated = instance.activate(Activation(1, ((1, start.started),), 2))
        assert len(activated.actions) == count + 1
        del activated
        kept_bytes = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept_bytes < 2 * LARGE_BYTES, f"{kept_bytes} bytes for {count} inputs of {LARGE_BYTES}"
    instance.close()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Gathers])  # asyncio's TaskGroup keeps its own error in a cycle
def test_a_run_that_is_dropped_is_freed_at_once(kind: type) -> None:
    memory = Memory(open_max=1)
    memory.start(kind, "first", 7)
    instance: Callable[[], object] = weakref.ref(memory.runs.entry("first").instance)
    assert len(alive) == 1
    memory.start(Sleeper, "second", 7)
    memory.runs.trim()
    assert instance() is None
    assert [type(one).__name__ for one in alive] == ["Sleeper"]
    assert len(memory.runs) == 1


def test_closed_runs_hold_no_places_of_open_ones() -> None:
    memory = Memory(open_max=5)
    for number in range(5):
        memory.start(Sleeper, f"open-{number}", 7)
    for number in range(3 * CLOSED_MAX):
        memory.start(Awaits, f"closed-{number}", 0)
        memory.take(f"closed-{number}", Signal("release"))
        memory.runs.trim()
    hits, misses = memory.runs.hits, memory.runs.misses
    assert all(memory.state(f"open-{number}").is_open for number in range(5))
    assert (memory.runs.hits - hits, memory.runs.misses - misses) == (5, 0)
    assert len(memory.runs) == 5, "those that can go on"


def test_a_run_with_records_in_flight_stays_open_or_closed() -> None:
    memory = Memory(open_max=1)
    for number in range(3):
        memory.start(Awaits, f"w-{number}", 0)
        memory.runs.sent(f"w-{number}")
    memory.take("w-0", Signal("release"))
    memory.take("w-1", Signal("release"))
    memory.runs.trim()
    misses = memory.runs.misses
    assert [memory.state(f"w-{number}").is_open for number in range(3)] == [False, False, True]
    assert memory.runs.misses == misses
    for number in range(3):
        memory.runs.confirmed(f"w-{number}")
    memory.runs.trim()
    memory.runs.entry("w-0")
    assert memory.runs.misses == misses + 1, "the least recently used of the closed ones went"


def test_a_run_that_sleeps_takes_little() -> None:
    memory, count = Memory(), 500
    for number in range(20):
        memory.start(Sleeper, f"before-{number}", 7)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(count):
            memory.start(Sleeper, f"sleeper-{number}", 1_000_000 + number)
        per_run_bytes = (tracemalloc.get_traced_memory()[0] - before) / count
    finally:
        tracemalloc.stop()
    assert per_run_bytes < PER_SLEEPER_BYTES_MAX
