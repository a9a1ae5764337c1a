"""Blocked code is seen from outside: by those who await its run, in lists, and in descriptions (issue 20, number 13)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from kit.sim_workflows import WORKFLOWS
from kit.world import FIRST, LIMITS, NAMESPACE, STEP_MS, World, plain
from perdure import workflow
from perdure._log.memory import MemoryLog
from perdure._replay.runtime import CodeHost
from perdure_platform.ops.verify import fold_partition
from perdure_platform.store.digest import digest
from perdure_platform.store.memory import MemoryStores
from perdure_platform.store.tables import Tables
from perdure_schemas import codec
from perdure_schemas.commands import (
    AwaitWorkflow,
    Command,
    CommandBody,
    DescribeWorkflow,
    ListWorkflows,
    ReplyAddress,
    Request,
    ResumeWorkflow,
    SignalWorkflow,
    StartWorkflow,
    TerminateWorkflow,
)
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.replies import (
    ReplyBody,
    RunSummary,
    WorkflowBlocked,
    WorkflowClosed,
    WorkflowDescribed,
    WorkflowsListed,
    WorkflowStarted,
)

_numbers = itertools.count()


@workflow.defn
class Picky:
    """Its code stands only an even number."""

    def __init__(self) -> None:
        self.number = 0

    @workflow.run
    async def run(self, number: int) -> int:
        self.number = number
        await workflow.wait_condition(lambda: self.number >= 100)
        return self.number

    @workflow.signal
    def set(self, number: int) -> None:
        if number % 2:
            raise ValueError(f"{number} is odd")
        self.number = number


@workflow.defn
class Waiting:
    """Waits for a timer, and for activities of its own queue and of another one."""

    @workflow.run
    async def run(self) -> None:
        own = workflow.start_activity("own", 0, start_to_close_timeout=timedelta(minutes=1))
        other = workflow.start_activity("other", 0, task_queue="elsewhere", start_to_close_timeout=timedelta(minutes=1))
        await workflow.sleep(600)
        await own
        await other


class Idle(World):
    """Its workers take nothing."""

    def workers(self) -> None:
        """See World."""


def leading() -> World:
    """A world whose owner knows these workflows."""
    world = Idle(partitions=1)
    process = world.start()
    host = CodeHost([*WORKFLOWS, Picky, Waiting], deadlock_timeout_ms=0)
    process.node._around = replace(process.node._around, host=host, limits=LIMITS)
    return world


def until(world: World, condition: Callable[[], object], steps_max: int = 500) -> None:
    for _ in range(steps_max):
        if condition():
            return
        world.step()
    raise AssertionError(f"not within {steps_max * STEP_MS} ms: {world.what_is_open()}")


def send(world: World, workflow_id: str, body: CommandBody) -> str:
    """Ask, once; returns the request id."""
    request_id = f"asked-{next(_numbers)}"
    world.send(Command(workflow_id, body, Request(request_id, world.clock.ms + 600_000, ReplyAddress("client", 0))))
    return request_id


def told(world: World, request_id: str) -> list[ReplyBody]:
    """What the request was told so far."""
    replied = [codec.decode_reply(record.value) for record in world.medium.read(f"{NAMESPACE}.replies", 0, 0, 10_000)]
    return [reply.body for reply in replied if reply.request_id == request_id]


def answer(world: World, workflow_id: str, body: CommandBody) -> ReplyBody:
    request_id = send(world, workflow_id, body)
    until(world, lambda: told(world, request_id))
    return told(world, request_id)[0]


def listed(world: World, query: str = "") -> list[RunSummary]:
    found = answer(world, "", ListWorkflows(query))
    assert isinstance(found, WorkflowsListed)
    return list(found.runs)


def blocked(told_so_far: list[ReplyBody]) -> list[str]:
    """The failures among what somebody was told."""
    return [body.failure.message for body in told_so_far if isinstance(body, WorkflowBlocked)]


def check_rows(world: World) -> None:
    """The owner's rows are the fold of the log, key for key."""
    until(world, lambda: all(process.node.partitions[0].owner.is_settled for process in world.processes.values()))  # type: ignore[union-attr]
    store = world.stores[FIRST].stores[0]
    read_to = Tables(store.opened()).positions().next_offset
    assert digest(store.opened()) == fold_partition(MemoryLog(world.medium), NAMESPACE, 0, MemoryStores(), read_to).digest


def test_who_starts_a_run_and_waits_is_told_at_once_that_its_code_is_blocked() -> None:
    world = leading()
    asked = send(world, "picky", StartWorkflow("Picky", "sim", await_result=True))
    until(world, lambda: blocked(told(world, asked)))
    started, first = told(world, asked)
    assert isinstance(started, WorkflowStarted)
    assert isinstance(first, WorkflowBlocked)
    assert "number" in first.failure.message, "the argument that is missing"
    assert (first.run_id, first.attempt) == (started.run_id, 1)
    assert first.retry_time_ms > world.clock.ms - 60_000
    for _ in range(400):  # it is tried again, and fails alike
        world.step()
    assert len(told(world, asked)) == 2, "one more attempt that fails alike is told again"
    check_rows(world)


def test_an_unknown_type_is_told_with_the_names_that_are_known_the_closest_first() -> None:
    world = leading()
    asked = send(world, "typo", StartWorkflow("picki", "sim", await_result=True))
    until(world, lambda: blocked(told(world, asked)))
    [message] = blocked(told(world, asked))
    assert "workflow type 'picki'" in message
    assert "which knows: Picky, " in message
    assert "SimAccount" in message


def test_who_awaits_a_run_hears_each_new_failure_and_then_the_end() -> None:
    world = leading()
    answer(world, "picky", StartWorkflow("Picky", "sim", plain(0)))
    before = send(world, "picky", AwaitWorkflow())
    for _ in range(20):
        world.step()
    assert told(world, before) == [], "a run that is not blocked has nothing to tell"
    answer(world, "picky", SignalWorkflow("set", input=plain(1)))
    until(world, lambda: blocked(told(world, before)))
    assert blocked(told(world, before)) == ["1 is odd"]
    later = send(world, "picky", AwaitWorkflow())
    until(world, lambda: blocked(told(world, later)))
    assert blocked(told(world, later)) == ["1 is odd"]
    answer(world, "picky", TerminateWorkflow())
    until(world, lambda: isinstance(told(world, before)[-1], WorkflowClosed) and isinstance(told(world, later)[-1], WorkflowClosed))
    assert blocked(told(world, before)) == ["1 is odd"]
    check_rows(world)


def test_a_list_marks_blocked_runs_until_they_go_on_or_end() -> None:
    world = leading()
    for name in ("well", "healed", "ended"):
        answer(world, name, StartWorkflow("Picky", "sim", plain(0)))
    for name in ("healed", "ended"):
        answer(world, name, SignalWorkflow("set", input=plain(3)))
    assert {run.workflow_id for run in listed(world) if run.blocked} == {"healed", "ended"}
    assert {run.workflow_id for run in listed(world, "Blocked = true")} == {"healed", "ended"}
    assert [run.workflow_id for run in listed(world, "Blocked = false")] == ["well"]
    assert {run.status for run in listed(world)} == {WorkflowStatus.RUNNING}
    check_rows(world)
    answer(world, "ended", TerminateWorkflow())
    answer(world, "healed", ResumeWorkflow(skips_signals=True))
    until(world, lambda: not listed(world, "Blocked = true"))
    assert [run.blocked for run in listed(world)] == [False] * 3
    described = answer(world, "healed", DescribeWorkflow())
    assert isinstance(described, WorkflowDescribed)
    assert not described.summary.blocked
    check_rows(world)


def test_a_description_names_foreign_queues_and_the_next_timer() -> None:
    world = leading()
    answer(world, "waiting", StartWorkflow("Waiting", "nobody-polls"))
    described = answer(world, "waiting", DescribeWorkflow())
    assert isinstance(described, WorkflowDescribed)
    assert {one.activity_type: one.task_queue for one in described.pending_activities} == {"own": "", "other": "elsewhere"}
    assert described.pending_timers == 1
    assert 500_000 < described.next_timer_time_ms - described.summary.start_time_ms <= 600_000
    closed = answer(world, "waiting", TerminateWorkflow())
    assert closed is not None
    described = answer(world, "waiting", DescribeWorkflow())
    assert isinstance(described, WorkflowDescribed)
    assert described.next_timer_time_ms == 0
