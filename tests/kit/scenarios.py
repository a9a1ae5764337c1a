"""Fourteen canonical workflows, each as a small world that ends by itself, and the ways in which its owner fails at one port call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kit.ports import Crash, PortCalls, unavailable
from kit.slow_medium import Fate
from kit.world import FIRST, LIMITS, SECOND, SESSION_MS, STEP_MS, World, open_account, plain, transfer
from perdure._log.memory.medium import Append
from perdure_schemas.commands import CancelWorkflow, CommandBody, QueryWorkflow, SignalWorkflow, StartWorkflow, TerminateWorkflow
from perdure_schemas.options import IdConflictPolicy, RetryOptions


def _start(workflow_type: str, *values: object) -> StartWorkflow:
    return StartWorkflow(workflow_type, "sim", plain(*values))


def _world(*asked: tuple[str, CommandBody], world: World | None = None) -> World:
    """What is asked of one workflow comes one after the other."""
    world = world or World()
    before: Counter[str] = Counter()
    for workflow_id, body in asked:
        world.ask(workflow_id, body, after_ms=before[workflow_id] * 3 * STEP_MS)
        before[workflow_id] += 1
    return world


def _count(number: int) -> SignalWorkflow:
    return SignalWorkflow("count", input=plain(number))


def transfers() -> World:
    """Two accounts on two partitions; one transfer succeeds, one is given back."""
    accounts = [(account, open_account()) for account in ("account-0", "account-3")]
    return _world(*accounts, *((f"transfer-{n}", transfer("account-0", "account-3", amount)) for n, amount in enumerate((2, 13))))


def signals_and_timers() -> World:
    """Started by its first signal."""
    first = StartWorkflow("SimCounter", "sim", signal=_count(1))
    return _world(("counter-0", first), *(("counter-0", _count(number)) for number in (2, 3, 4)))


def deposits_and_queries() -> World:
    """An account is asked while it changes, over several of its runs."""
    deposits = [("account-0", SignalWorkflow("deposit", input=plain(amount))) for amount in range(1, 8)]
    return _world(("account-0", open_account()), *deposits[:4], ("account-0", QueryWorkflow("deposits_seen")), *deposits[4:])


def chain() -> World:
    """Continue-as-new, several times."""
    return _world(("chain-0", _start("SimChain", 4, 0)))


def fan_out() -> World:
    """Eight activities and timers at once."""
    return _world(("fan-0", _start("SimFanOut", 8)))


def cancelled_by_client() -> World:
    """Cleans up when it is cancelled."""
    return _world(("careful-0", _start("SimCareful")), ("careful-0", CancelWorkflow(reason="enough")))


def cancelled_by_workflow() -> World:
    """The same, by a workflow of another partition."""
    return _world(("careful-0", _start("SimCareful")), ("canceller-1", _start("SimCanceller", "careful-0")))


def terminated_and_started_again() -> World:
    """An id whose run is ended by the next one's start."""
    again = StartWorkflow("SimNote", "sim", id_conflict_policy=IdConflictPolicy.TERMINATE_EXISTING)
    return _world(("note-0", _start("SimCareful")), ("note-0", again), ("note-1", _start("SimCareful")), ("note-1", TerminateWorkflow()))


def messages_to_whoever_is_there() -> World:
    """Signals to open, closed and unknown workflows."""
    briefs = [(f"brief-{number}", _start("SimBrief")) for number in (0, 1)]
    messengers = [(f"messenger-{number}", _start("SimMessenger", ["brief-0", "brief-1", "brief-2"])) for number in (0, 1)]
    return _world(*briefs, *messengers)


def race() -> World:
    """A signal that comes in time, and one that does not."""
    return _world(("race-0", _start("SimRace")), ("race-0", _count(1)), ("race-0", _count(2)), ("race-1", _start("SimRace")))


def impatient() -> World:
    """Results that come in time."""
    return _world(*((f"impatient-{number}", _start("SimImpatient")) for number in (0, 1)))


def stubborn() -> World:
    """Runs that fail and are retried as new ones."""
    retry = RetryOptions(initial_interval_ms=100, backoff_coefficient=1.0, maximum_interval_ms=100, maximum_attempts=5)
    return _world(("stubborn-0", StartWorkflow("SimStubborn", "sim", retry_options=retry)))


def trimmed() -> World:
    """Trimmed several times while an account takes deposits and short workflows come and go; a carried run has several parts."""
    world = World(partitions=1, limits=replace(LIMITS, retention_ms=150, checkpoint_interval_ms=50))
    deposits = [("account-0", SignalWorkflow("deposit", input=plain(amount))) for amount in range(1, 9)]
    return _world(("account-0", open_account()), *deposits, *[("note-0", _start("SimNote"))] * 6, world=world)


def hostile() -> World:
    """Values that are none, handed over, raised and answered, beside two that mean no harm; what is blocked is terminated."""
    handed_over = ("activity id, a UUID", "retried but for a class", "patch id, half a character", "next type, too long")
    raised = ("half a character", "an exception as the message", "a class as the type", "odd details")
    asked: list[tuple[str, CommandBody]] = [(f"odd-{number}", _start("HandsOver", what)) for number, what in enumerate(handed_over)]
    asked += [(f"failing-{number}", _start("Raises", what)) for number, what in enumerate(raised)]
    asked += [("answers-0", _start("Answers"))]
    asked += [("answers-0", QueryWorkflow("ask", args=plain(what))) for what in ("no JSON", "raises no text")]
    ended = [(name, TerminateWorkflow()) for name in dict(asked)]
    asked += [("counter-0", StartWorkflow("SimCounter", "sim", signal=_count(1))), *(("counter-0", _count(n)) for n in (2, 3, 4))]
    return _world(*asked, ("chain-0", _start("SimChain", 3, 0)), *ended, world=World(partitions=1))


SCENARIOS: dict[str, Callable[[], World]] = {
    scenario.__name__: scenario
    for scenario in (
        transfers,
        signals_and_timers,
        deposits_and_queries,
        chain,
        fan_out,
        cancelled_by_client,
        cancelled_by_workflow,
        terminated_and_started_again,
        messages_to_whoever_is_there,
        race,
        impatient,
        stubborn,
        trimmed,
        hostile,
    )
}

FALLIBLE = frozenset({"consumer.poll", "log.request_end_offsets", "request_end_offsets.result", "log.describe_topics", "log.create_topics"})
"""Port calls that may say LogUnavailable. That an append failed is told later; see SlowMedium."""


def run_with_crash(world: World, at: int, *, before: bool, batches_lost: int) -> str:
    """Run the world to its end, with the owner dying at one port call; which call that was."""
    calls = PortCalls(at, before=before)
    try:
        world.start(calls)
        world.run_until_done()
    except Crash:
        world.lose_process(batches_lost)
        for _ in range(3):
            world.step()
        world.start()
        world.run_until_done()
    world.check()
    return calls.hit


def run_with_zombie(world: World, at: int, *, before: bool) -> str:
    """Run the world to its end; the owner stops at one port call, another takes over, and the first goes on where it was."""

    def stop(_name: str) -> None:
        world.paused.add(FIRST)
        world.start(name=SECOND)
        end_ms = world.clock.ms + 2 * SESSION_MS
        while world.clock.ms < end_ms:
            world.go_on()
        world.paused.remove(FIRST)

    calls = PortCalls(at, before=before, then=stop)
    world.start(calls)
    world.run_until_done()
    world.check()
    return calls.hit


def run_with_error(world: World, at: int, *, before: bool) -> str:
    """Run the world to its end; one call that may fail does, `before` it was executed or after."""
    calls = PortCalls(at, before=before, then=unavailable, only=FALLIBLE)
    world.start(calls)
    world.run_until_done()
    world.check()
    return calls.hit


class _Skips(PortCalls):
    """Call number `at` returns nothing of what it has taken."""

    def __call__(self, name: str, call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        outcome = super().__call__(name, call, *arguments, **keywords)
        return [] if self.hit and self.count == self.at and name in POLLS else outcome


POLLS = frozenset({"consumer.poll"})


def run_with_skip(world: World, at: int) -> str:
    """Run the world to its end; the reader takes records once that nobody sees."""
    calls = _Skips(at, then=lambda _: None, only=POLLS)
    world.start(calls)
    world.run_until_done()
    world.check()
    return calls.hit


def run_with_failed_append(world: World, at: int, fate: Fate) -> str:
    """Run the world to its end; one append of the owner is reported as failed, and landed or not."""
    world.medium.fate = appends = _AppendCounter(at, fate)
    world.start()
    world.run_until_done()
    world.check()
    return appends.names[at - 1] if len(appends.names) >= at else ""


class _AppendCounter:
    """Gives the append number `at` its fate."""

    def __init__(self, at: int = 0, fate: Fate = Fate.LANDS) -> None:
        self.at = at
        self.fate = fate
        self.names: list[str] = []

    def __call__(self, append: Append) -> Fate:
        self.names.append(append.topic)
        return self.fate if len(self.names) == self.at else Fate.LANDS


FAILURES: dict[str, Callable[[World, int], str]] = {
    "crash_before": lambda world, at: run_with_crash(world, at, before=True, batches_lost=at % 4),
    "crash_after": lambda world, at: run_with_crash(world, at, before=False, batches_lost=at % 4),
    "stop_before": lambda world, at: run_with_zombie(world, at, before=True),
    "stop_after": lambda world, at: run_with_zombie(world, at, before=False),
    "error_before": lambda world, at: run_with_error(world, at, before=True),
    "error_after": lambda world, at: run_with_error(world, at, before=False),
    "poll_skipped": run_with_skip,
    "append_lost": lambda world, at: run_with_failed_append(world, at, Fate.LOST),
    "append_untold": lambda world, at: run_with_failed_append(world, at, Fate.UNTOLD),
}


def run_with_two_crashes(world: World, at: int, again: int, *, before: bool) -> str:
    """Run the world to its end; the owner dies at one port call, and who comes after it at another."""
    first, second = PortCalls(at, before=before), PortCalls(again, before=not before)
    for calls, batches_lost in ((first, at % 4), (second, again % 4), (PortCalls(), 0)):
        try:
            world.start(calls)
            world.run_until_done()
            break
        except Crash:
            world.lose_process(batches_lost)
            for _ in range(3):
                world.step()
    world.check()
    return f"{first.hit} and {second.hit or 'none'}"


def run_with_failed_append_and_crash(world: World, at: int, again: int, fate: Fate) -> str:
    """Run the world to its end; an append is reported as failed, landed or not, and the owner dies at a port call before or behind it."""
    world.medium.fate = appends = _AppendCounter(at, fate)
    hit = run_with_crash(world, again, before=again % 2 == 0, batches_lost=again % 4)
    return f"{appends.names[at - 1] if len(appends.names) >= at else 'none'} and {hit or 'none'}"


PAIRS: dict[str, Callable[[World, int, int], str]] = {
    "crash_before_and_after": lambda world, at, again: run_with_two_crashes(world, at, again, before=True),
    "crash_after_and_before": lambda world, at, again: run_with_two_crashes(world, at, again, before=False),
    "append_lost_and_crash": lambda world, at, again: run_with_failed_append_and_crash(world, at, again, Fate.LOST),
    "append_untold_and_crash": lambda world, at, again: run_with_failed_append_and_crash(world, at, again, Fate.UNTOLD),
}
"""Two failures in one run; each is named by the number of the port call, or of the append, that it hits."""


def calls_of(name: str, failure: str) -> list[str]:
    """The calls of an undisturbed run that a failure can hit."""
    world = SCENARIOS[name]()
    calls = PortCalls(only=FALLIBLE if failure.startswith("error") else POLLS if failure.startswith("poll") else None)
    world.medium.fate = appends = _AppendCounter()
    world.start(calls)
    world.run_until_done()
    world.check()
    return appends.names if failure.startswith("append") else calls.names
