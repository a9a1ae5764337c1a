"""Code that cannot be activated blocks its own run and no other, says why, and is healed by an owner with better code (P7, P9)."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from kit.sim_workflows import WORKFLOWS
from kit.world import FIRST, LIMITS, NAMESPACE, SECOND, STEP_MS, Process, World, open_account, plain, transfer
from perdure import workflow
from perdure._replay.runtime import CodeHost
from perdure_schemas import codec, notes
from perdure_schemas.commands import (
    Command,
    CommandBody,
    DescribeWorkflow,
    QueryWorkflow,
    ReplyAddress,
    Request,
    SignalWorkflow,
    StartWorkflow,
)
from perdure_schemas.events import Event
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.replies import QueryAnswered, RefusalCode, Refused, ReplyBody, WorkflowDescribed

IDLE_RETRY_MS = 60_000


@workflow.defn(name="Basket")
class BrokenBasket:
    """Has never heard of item 7."""

    def __init__(self) -> None:
        self.total = 0
        self.paid = False

    @workflow.run
    async def run(self) -> int:
        await workflow.sleep(0.1)
        await workflow.wait_condition(lambda: self.paid)
        return self.total

    @workflow.signal
    def add(self, item: int) -> None:
        self.total += {1: 10}[item]

    @workflow.signal
    def pay(self, _: int) -> None:
        self.paid = True

    @workflow.query
    def sum(self) -> int:
        return self.total


@workflow.defn(name="Basket")
class MendedBasket(BrokenBasket):
    """Has."""

    @workflow.run
    async def run(self) -> int:
        return await super().run()

    @workflow.signal
    def add(self, item: int) -> None:
        self.total += {1: 10, 7: 70}[item]


@workflow.defn(name="Basket")
class ChangedBasket(MendedBasket):
    """Asks for an activity where runs that are under way have asked for a timer."""

    @workflow.run
    async def run(self) -> int:
        await workflow.execute_activity("reserve", 0, start_to_close_timeout=timedelta(minutes=1))
        await workflow.wait_condition(lambda: self.paid)
        return self.total


@workflow.defn(name="Basket")
class ExitingBasket(MendedBasket):
    """Ends the process, as it thinks."""

    @workflow.run
    async def run(self) -> int:
        return await super().run()

    @workflow.signal
    def add(self, item: int) -> None:
        raise {1: SystemExit(3), 2: KeyboardInterrupt(), 3: RecursionError("deep"), 4: MemoryError(), 5: asyncio.InvalidStateError()}[item]


@workflow.defn(name="Basket")
class TolerantBasket(MendedBasket):
    """Takes every item for its number."""

    @workflow.run
    async def run(self) -> int:
        return await super().run()

    @workflow.signal
    def add(self, item: int) -> None:
        self.total += item


START = StartWorkflow("Basket", "sim")


def deploy(world: World, basket: type, name: str = FIRST, cached_runs_max: int = LIMITS.cached_runs_max) -> Process:
    """An owner process with this version of the code."""
    for other in list(world.processes):
        world.lose_process(0, other)
    process = world.start(name=name)
    host = CodeHost([*WORKFLOWS, basket], deadlock_timeout_ms=0)
    process.node._around = replace(process.node._around, host=host, limits=replace(LIMITS, cached_runs_max=cached_runs_max))
    return process


def signal(name: str, number: int = 0) -> SignalWorkflow:
    return SignalWorkflow(name, input=plain(number))


def until(world: World, condition: Callable[[], object], steps_max: int = 500) -> None:
    """Run until the condition holds."""
    for _ in range(steps_max):
        if condition():
            return
        world.step()
    raise AssertionError(f"not within {steps_max * STEP_MS} ms: {world.what_is_open()}")


_numbers = itertools.count()


def answer(world: World, workflow_id: str, body: CommandBody) -> ReplyBody:
    """What a client is told that asks this now."""
    request = f"asked-{next(_numbers)}"
    world.send(Command(workflow_id, body, Request(request, world.clock.ms + 60_000, ReplyAddress("client", 0))))

    def told() -> list[ReplyBody]:
        replied = [codec.decode_reply(record.value) for record in world.medium.read(f"{NAMESPACE}.replies", 0, 0, 10_000)]
        return [reply.body for reply in replied if reply.request_id == request]

    until(world, told)
    return told()[0]


def query(world: World, workflow_id: str, name: str) -> object:
    """What the code answers; a client asks again while it is not ready."""
    while isinstance(told := answer(world, workflow_id, QueryWorkflow(name)), Refused):
        assert told.code == RefusalCode.NOT_READY
        world.step()
    assert isinstance(told, QueryAnswered)
    return json.loads(told.result[0].data)


def described(world: World, workflow_id: str = "basket") -> WorkflowDescribed:
    told = answer(world, workflow_id, DescribeWorkflow())
    assert isinstance(told, WorkflowDescribed)
    return told


def failures(world: World) -> list[tuple[int, notes.ActivationFailed]]:
    """Failed activations of the basket in the log, with the time of each."""
    return [
        (record.time_ms, note)
        for _, _, record in world.live()
        for transition in record.transitions
        for note in transition.notes
        if transition.workflow_id == "basket" and isinstance(note, notes.ActivationFailed)
    ]


def blocked(item: int = 7, basket: type = BrokenBasket) -> World:
    """A basket whose code has failed on this item."""
    world = World()
    world.ask("basket", START)
    deploy(world, basket)
    until(world, lambda: "TimerFired" in world.promises.kinds["basket"])
    world.ask("basket", signal("add", item))
    world.run_until_answered()
    until(world, lambda: failures(world))
    return world


def finish(world: World, total: int) -> None:
    """Pay; the run closes with the total."""
    world.ask("basket", signal("pay"))
    world.run_until_done()
    world.promises.check_nothing_is_missing()
    assert str(world.promises.results["basket"]) == str(total)


# -- code that raises


def test_a_run_whose_code_raises_stays_open_and_describes_the_failure() -> None:
    world = blocked()
    told = described(world)
    assert told.summary.status is WorkflowStatus.RUNNING
    assert told.activation_failure is not None
    assert "7" in told.activation_failure.message
    assert "test_code_healed.py" in told.activation_failure.stack_trace
    assert told.activation_failure.info is not None
    assert getattr(told.activation_failure.info, "type", "") == "KeyError"
    assert told.activation_attempt == 1
    assert told.activation_retry_time_ms > world.clock.ms


def test_a_query_of_a_run_whose_code_raises_sees_it_as_it_was_before() -> None:
    assert answer(blocked(), "basket", QueryWorkflow("sum")) == QueryAnswered(plain(0))


def test_blocked_code_is_tried_again_with_back_off_and_then_once_a_minute() -> None:
    world = blocked()
    until(world, lambda: len(failures(world)) >= 13, 4 * IDLE_RETRY_MS // STEP_MS)
    times = [time_ms for time_ms, _ in failures(world)]
    waited_ms = [later - earlier for earlier, later in itertools.pairwise(times)]
    expected_ms = [1_000, 2_000, 4_000, 8_000, *[10_000] * 6, 60_000, 60_000]
    assert [attempt.attempt for _, attempt in failures(world)] == list(range(1, 14))
    assert all(expected <= waited <= expected + 5 * STEP_MS for waited, expected in zip(waited_ms, expected_ms, strict=True)), waited_ms


def test_other_runs_of_the_same_code_and_partition_go_on() -> None:
    world = blocked()
    for number in range(6):
        world.ask(f"other-{number}", START)
        world.ask(f"other-{number}", signal("add", 1))
        world.ask(f"other-{number}", signal("pay"))
    until(world, lambda: len(world.promises.results) == 6)
    assert set(map(str, world.promises.results.values())) == {"10"}


def test_mended_code_heals_the_run_at_once_when_its_owner_takes_over() -> None:
    world = blocked()
    until(world, lambda: len(failures(world)) >= 8, IDLE_RETRY_MS // STEP_MS)
    world.ask("basket", signal("add", 1))
    world.run_until_answered()
    process = deploy(world, MendedBasket, SECOND)
    until(world, lambda: all(assigned.owner is not None for assigned in process.node.partitions.values()) and process.node.partitions)
    before = len(failures(world))
    # The run is a suspect of the owner's end: it is tried once its strike is in the log, and queries do not wait for that.
    until(world, lambda: query(world, "basket", "sum") == 80)
    assert len(failures(world)) == before
    told = described(world)
    assert (told.activation_failure, told.activation_attempt, told.activation_retry_time_ms) == (None, 0, 0)
    finish(world, 80)


def test_an_owner_with_the_same_code_tries_once_more_and_goes_on_waiting() -> None:
    world = blocked()
    until(world, lambda: len(failures(world)) >= 5, IDLE_RETRY_MS // STEP_MS)
    deploy(world, BrokenBasket, SECOND)
    until(world, lambda: len(failures(world)) >= 6)
    assert failures(world)[-1][1].attempt == 1
    assert described(world).summary.status is WorkflowStatus.RUNNING


@pytest.mark.parametrize("item", [1, 2, 3, 4, 5])
def test_no_exception_of_code_ends_the_owner_or_the_run(item: int) -> None:
    world = blocked(item, ExitingBasket)
    assert described(world).summary.status is WorkflowStatus.RUNNING
    deploy(world, TolerantBasket, SECOND)
    finish(world, item)


# -- code that has changed


def changed() -> World:
    """A basket with a timer in its history, under code that asks for an activity."""
    world = World()
    world.ask("basket", START)
    deploy(world, MendedBasket)
    until(world, lambda: "TimerFired" in world.promises.kinds["basket"])
    deploy(world, ChangedBasket, SECOND)
    world.ask("basket", signal("add", 7))
    world.run_until_answered()
    until(world, lambda: failures(world))
    return world


def test_changed_code_is_an_error_with_both_sides_and_records_no_event_of_its_own() -> None:
    world = changed()
    failure = described(world).activation_failure
    assert failure is not None
    assert "history holds event 2: TimerStarted" in failure.message
    assert "the code asks for ScheduleActivity (activity_id='1', activity_type='reserve')" in failure.message
    assert "ActivityTaskScheduled" not in world.promises.kinds["basket"]


def test_a_query_of_a_run_that_cannot_be_rebuilt_says_what_blocks_it() -> None:
    told = answer(changed(), "basket", QueryWorkflow("sum"))
    assert isinstance(told, Refused)
    assert told.code == RefusalCode.NOT_READY
    assert "the code of workflow 'basket' is blocked: " in told.message
    assert "history holds event 2: TimerStarted" in told.message


def test_runs_that_begin_under_changed_code_are_not_blocked() -> None:
    world = changed()
    world.ask("other", START)
    world.ask("other", signal("pay"))
    until(world, lambda: "other" in world.promises.results)
    assert "ActivityTaskScheduled" in world.promises.kinds["other"]


def test_going_back_to_the_old_code_heals_the_run_with_all_that_came_meanwhile() -> None:
    world = changed()
    for _ in range(3):
        world.ask("basket", signal("add", 1))
    world.run_until_answered()
    deploy(world, MendedBasket, FIRST)
    finish(world, 100)
    assert world.promises.kinds["basket"].count("WorkflowExecutionSignaled") == 5


def test_a_type_that_the_new_code_no_longer_has_waits_for_one_that_has() -> None:
    world = World()
    world.ask("basket", START)
    deploy(world, MendedBasket)
    until(world, lambda: "TimerFired" in world.promises.kinds["basket"])
    for other in list(world.processes):
        world.lose_process(0, other)
    world.start(name=SECOND)
    world.ask("basket", signal("add", 7))
    world.run_until_answered()
    until(world, lambda: failures(world))
    failure = described(world).activation_failure
    assert failure is not None
    assert failure.message.startswith("workflow type 'Basket' (workflow 'basket') is not registered with this owner, which knows: ")
    deploy(world, MendedBasket, FIRST)
    finish(world, 70)


# -- runs that are dropped from memory


def histories(cached_runs_max: int) -> tuple[dict[str, list[Event]], list[object]]:
    """Every event, by workflow id, of transfers among accounts whose deposits are queried; and the answers."""
    world = World()
    deploy(world, MendedBasket, cached_runs_max=cached_runs_max)
    answers: list[object] = []
    for number in range(4):
        world.ask(f"account-{number}", open_account())
    world.ask("basket", START)
    for amount in (2, 13, 4):
        for number in range(3):
            world.ask(f"transfer-{amount}-{number}", transfer(f"account-{number}", f"account-{number + 1}", amount))
            world.ask(f"account-{number}", signal("deposit", amount))
        world.ask("basket", signal("add", 1))
        world.run_until_answered()
        answers += [query(world, f"account-{number}", "deposits_seen") for number in range(4)]
        answers.append(query(world, "basket", "sum"))
    world.ask("basket", signal("pay"))
    world.run_until_done()
    found: dict[str, list[Event]] = {}
    for _, _, record in world.live():
        for transition in record.transitions:
            found.setdefault(transition.workflow_id, []).extend((*transition.inbound, *transition.produced))
    return found, answers


@pytest.mark.parametrize("cached_runs_max", [0, 1])
def test_runs_that_are_dropped_from_memory_make_the_same_histories_and_give_the_same_answers(cached_runs_max: int) -> None:
    kept, told = histories(LIMITS.cached_runs_max)
    rebuilt, told_again = histories(cached_runs_max)
    assert rebuilt == kept
    assert told_again == told
    assert told == [1, 1, 1, 0, 10, 2, 2, 2, 0, 20, 3, 3, 3, 0, 30]


def test_no_more_runs_are_kept_in_memory_than_allowed_and_each_answers_when_asked() -> None:
    world = World()
    process = deploy(world, MendedBasket, cached_runs_max=1)
    for number in range(10):
        world.ask(f"account-{number}", open_account())
        for _ in range(number % 3):
            world.ask(f"account-{number}", signal("deposit", 1))
    world.run_until_done()
    owners = [assigned.owner for assigned in process.node.partitions.values()]
    assert all(owner is not None and len(owner._runs) <= 1 for owner in owners)
    for number in range(10):
        assert query(world, f"account-{number}", "deposits_seen") == number % 3
    world.check()
