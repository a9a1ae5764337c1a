"""Small worlds with a real client and a real worker, and the ways in which the process of either fails at one of its port calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from kit.ports import Crash, crash, unavailable
from kit.real_client import Asking
from kit.real_world import RealWorld
from kit.sim_process import Dying, SimProcess
from kit.slow_medium import Fate
from kit.world import FIRST, SESSION_MS, STEP_MS
from perdure._log.errors import LogBusy
from perdure._log.memory.medium import Append
from perdure.common import RetryPolicy, WorkflowIDConflictPolicy

CLIENT, WORKER, OTHER = "client-1", "worker-1", "worker-2"


async def transfers(ask: Asking) -> None:
    """Two accounts; one transfer succeeds after a failed attempt, one is given back."""
    await asyncio.gather(*(ask.start(account, "SimAccount", 0, 0) for account in ("account-0", "account-3")))
    amounts = {"transfer-0": 3, "transfer-1": 13}
    await asyncio.gather(*(ask.start(name, "SimTransfer", "account-0", "account-3", amount) for name, amount in amounts.items()))
    assert [await ask.result(name) for name in amounts] == ["done", "refunded"]


async def deposits_and_queries(ask: Asking) -> None:
    """An account is asked while it changes, over several of its runs."""
    await ask.start("account-0", "SimAccount", 0, 0)
    for amount in range(1, 6):
        await ask.signal("account-0", "deposit", amount)
        assert await ask.deposits_seen("account-0") >= amount
    await asyncio.gather(*(ask.signal("account-0", "deposit", 1) for _ in range(3)), ask.deposits_seen("account-0"))


async def signals(ask: Asking) -> None:
    """Started by its first signal; one sender's signals come in order."""
    await ask.start("counter-0", "SimCounter", start_signal="count", start_signal_args=[1])
    for number in (2, 3, 4):
        await ask.signal("counter-0", "count", number)
    assert await ask.result("counter-0") == [1, 2, 3, 4]


async def charges(ask: Asking) -> None:
    """Activities that must not be done twice."""
    names = [f"charge-{number}" for number in range(3)]
    await asyncio.gather(*(ask.start(name, "SimCharge", 7) for name in names))
    assert {await ask.result(name) for name in names} <= {"charged", "perhaps"}


async def heartbeats(ask: Asking) -> None:
    """An activity that goes on from where it was."""
    await ask.start("count-0", "SimCount", 5)
    assert await ask.result("count-0") == "counted"


async def cancellations(ask: Asking) -> None:
    """Cancelled with an activity that ends only then; cancelled and cleaning up; terminated with its activity; cancelled when closed."""
    for name, workflow in (("endless-0", "SimEndless"), ("careful-0", "SimCareful"), ("endless-1", "SimEndless")):
        await ask.start(name, workflow)
    await asyncio.sleep(0.5)
    await asyncio.gather(ask.cancel("endless-0"), ask.cancel("careful-0"), ask.terminate("endless-1"))
    assert await ask.result("endless-0") in ("ended by CancelledError", "ended by TimeoutError")
    assert await ask.result("careful-0") == "CancelledError"
    assert await ask.result("endless-1") == "TerminatedError"
    await ask.cancel("endless-0")


async def fan_out(ask: Asking) -> None:
    """More activities at once than the worker has slots, and runs that follow one another."""
    await asyncio.gather(ask.start("fan-0", "SimFanOut", 8), ask.start("chain-0", "SimChain", 3, 0))
    assert await ask.result("fan-0") == 8
    assert await ask.result("chain-0") == 3


async def again(ask: Asking) -> None:
    """Ids that are taken, or replaced; runs that fail and are retried."""
    retry = RetryPolicy(initial_interval=timedelta(milliseconds=100), backoff_coefficient=1.0, maximum_attempts=5)
    await ask.start("careful-0", "SimCareful")
    assert not await ask.start("careful-0", "SimCareful")
    assert await ask.start("careful-0", "SimNote", id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING)
    await ask.start("stubborn-0", "SimStubborn", retry_policy=retry)
    assert await ask.result("stubborn-0") == 3


REAL_SCENARIOS: dict[str, Callable[[Asking], Awaitable[None]]] = {
    script.__name__: script for script in (transfers, deposits_and_queries, signals, charges, heartbeats, cancellations, fan_out, again)
}

# ---- failures

FALLIBLE = frozenset(
    {
        "log.describe_topics",
        "log.create_topics",
        "log.end_offsets",
        "log.request_end_offsets",
        "log.producer",
        "log.group_consumer",
        "request_end_offsets.result",
        "consumer.poll",
        "group_consumer.poll",
        "producer.poll",
    }
)
"""Port calls of clients and workers that may say LogUnavailable, executed or not."""

_APPENDS = frozenset({"producer.append"})
_COMMITS_NOW = frozenset({"group_consumer.commit_now"})
_COMMITS = frozenset({"group_consumer.commit"})
_REPLY_POLLS = frozenset({"consumer.poll"})
_TASK_POLLS = frozenset({"group_consumer.poll"})

STALL_MS = 2 * SESSION_MS


class _Answers(Dying):
    """Call number `at` says `answer`, executed or not."""

    def __init__(self, at: int, *, before: bool, answer: Any, only: frozenset[str]) -> None:
        super().__init__(at, before=before, then=lambda _: None, only=only)
        self._answer = answer

    def __call__(self, name: str, call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        counted = self.count
        here = self._only is not None and name in self._only and counted + 1 == self.at
        if here and self.before:
            return super().__call__(name, lambda *_, **__: self._answer, *arguments, **keywords)
        outcome = super().__call__(name, call, *arguments, **keywords)
        return self._answer if here else outcome


def busy(name: str) -> None:
    """The queue of a producer is full."""
    raise LogBusy(f"{name} has no room")


def make(name: str, actor: str, calls: Dying) -> tuple[RealWorld, SimProcess]:
    """The world of a scenario, with one owner; `calls` are those of the actor."""
    world = RealWorld()
    world.start()
    processes = {
        WORKER: world.start_worker(WORKER, calls if actor == WORKER else None),
        CLIENT: world.start_client(CLIENT, REAL_SCENARIOS[name], calls if actor == CLIENT else None),
    }
    return world, processes[actor]


@contextmanager
def _ended(world: RealWorld) -> Iterator[None]:
    """Run the world to its end and check it, whatever of it crashes meanwhile."""
    try:
        yield
        world.check()
        world.leave()
    finally:
        world.close()


def settle(world: RealWorld) -> None:
    """Run to the end. A worker that dies is followed by another, a client by itself, an owner by itself."""
    while True:
        try:
            world.run_until_done()
            return
        except Crash:
            for _ in range(3):
                world.step()
            if not any(name not in world.scripts for name in world.actors):
                world.start_worker(OTHER)


def run(name: str, actor: str, calls: Dying, *, beside: bool = False) -> str:
    """Run a scenario to its end with the actor's port calls as given; `beside`: there is a second worker. Which call was hit."""
    world, _ = make(name, actor, calls)
    if beside:
        world.start_worker(OTHER)
    with _ended(world):
        settle(world)
    return calls.hit


def _crashing(at: int, *, before: bool) -> Dying:
    return Dying(at, before=before, then=crash)


def _failing(at: int, *, before: bool) -> Dying:
    return Dying(at, before=before, then=unavailable, only=FALLIBLE)


def run_with_stop(name: str, actor: str, at: int, *, before: bool, whole: bool, for_ms: int = STALL_MS) -> str:
    """The process, or only the thread, stands still at one port call beyond the session, while all else goes on."""
    calls = Dying(at, before=before, then=lambda _: stand_still())
    world, process = make(name, actor, calls)

    def stand_still() -> None:
        world.ledger.disturb(f"{actor} stands still")
        if whole:
            world.paused.add(actor)
        until_ms = world.clock.ms + for_ms
        while world.clock.ms < until_ms:
            world.step()
        world.paused.discard(actor)
        world.ledger.disturb(f"{actor} goes on")

    with _ended(world):
        if actor == WORKER:
            world.start_worker(OTHER)
        settle(world)
    assert not process.errors
    return calls.hit


class _Fates:
    """Gives append number `at` of one process its fate."""

    def __init__(self, world: RealWorld, process: SimProcess, at: int = 0, fate: Fate = Fate.LANDS) -> None:
        self._world = world
        self._process = process
        self._at = at
        self._fate = fate
        self.names: list[str] = []

    def __call__(self, append: Append) -> Fate:
        if append.producer not in self._process.own_log.producers:
            return Fate.LANDS
        self.names.append(append.topic)
        if len(self.names) != self._at:
            return Fate.LANDS
        self._world.ledger.disturb(f"append {self._fate.name}")
        return self._fate


def run_with_fate(name: str, actor: str, at: int, fate: Fate, late_steps: int = 100) -> str:
    """One append of the actor is late, lost, doubled, or reported as failed although it landed."""
    world, process = make(name, actor, Dying())
    world.medium.fate = fates = _Fates(world, process, at, fate)
    with _ended(world):
        for _ in range(late_steps):
            world.step()
        while world.medium.on_the_way:
            world.medium.deliver(world.medium.on_the_way[0])
        settle(world)
    return fates.names[at - 1] if len(fates.names) >= at else ""


def run_with_takeover(name: str, actor: str, at: int, *, before: bool) -> str:
    """The owner dies at one port call of the actor, and another one comes."""

    def take_over(_: str) -> None:
        world.lose_process(at % 4, FIRST)
        world.start()

    calls = Dying(at, before=before, then=take_over)
    world, _ = make(name, actor, calls)
    with _ended(world):
        settle(world)
    return calls.hit


REAL_FAILURES: dict[str, Callable[[str, str, int], str]] = {
    "crash_before": lambda name, actor, at: run(name, actor, _crashing(at, before=True)),
    "crash_after": lambda name, actor, at: run(name, actor, _crashing(at, before=False)),
    "crash_before_beside": lambda name, actor, at: run(name, actor, _crashing(at, before=True), beside=True),
    "crash_after_beside": lambda name, actor, at: run(name, actor, _crashing(at, before=False), beside=True),
    "error_before": lambda name, actor, at: run(name, actor, _failing(at, before=True)),
    "error_after": lambda name, actor, at: run(name, actor, _failing(at, before=False)),
    "busy": lambda name, actor, at: run(name, actor, Dying(at, then=busy, only=_APPENDS)),
    "commit_refused": lambda name, actor, at: run(name, actor, _Answers(at, before=True, answer=False, only=_COMMITS_NOW)),
    "commit_untold": lambda name, actor, at: run(name, actor, _Answers(at, before=False, answer=False, only=_COMMITS_NOW)),
    "commit_lost": lambda name, actor, at: run(name, actor, _Answers(at, before=True, answer=None, only=_COMMITS)),
    "poll_skipped": lambda name, actor, at: run(name, actor, _Answers(at, before=False, answer=[], only=_REPLY_POLLS)),
    "tasks_skipped": lambda name, actor, at: run(name, actor, _Answers(at, before=False, answer=[], only=_TASK_POLLS)),
    "stop_before": lambda name, actor, at: run_with_stop(name, actor, at, before=True, whole=True),
    "stop_after": lambda name, actor, at: run_with_stop(name, actor, at, before=False, whole=True),
    "stall_before": lambda name, actor, at: run_with_stop(name, actor, at, before=True, whole=False),
    "stall_after": lambda name, actor, at: run_with_stop(name, actor, at, before=False, whole=False),
    "short_stall": lambda name, actor, at: run_with_stop(name, actor, at, before=at % 2 == 0, whole=False, for_ms=4 * STEP_MS),
    "append_lost": lambda name, actor, at: run_with_fate(name, actor, at, Fate.LOST),
    "append_untold": lambda name, actor, at: run_with_fate(name, actor, at, Fate.UNTOLD),
    "append_late": lambda name, actor, at: run_with_fate(name, actor, at, Fate.LATE),
    "append_twice": lambda name, actor, at: run_with_fate(name, actor, at, Fate.TWICE),
    "takeover_before": lambda name, actor, at: run_with_takeover(name, actor, at, before=True),
    "takeover_after": lambda name, actor, at: run_with_takeover(name, actor, at, before=False),
}
"""What can befall a client or a worker at call number `at`; each gives the call that it hit."""

_ONLY = {
    "error_before": FALLIBLE,
    "error_after": FALLIBLE,
    "busy": _APPENDS,
    "commit_refused": _COMMITS_NOW,
    "commit_untold": _COMMITS_NOW,
    "commit_lost": _COMMITS,
    "poll_skipped": _REPLY_POLLS,
    "tasks_skipped": _TASK_POLLS,
}


def real_calls(name: str, actor: str, failure: str) -> list[str]:
    """The calls of an undisturbed run that a failure can hit."""
    calls = Dying(only=_ONLY.get(failure))
    world, process = make(name, actor, calls)
    world.medium.fate = fates = _Fates(world, process)
    with _ended(world):
        settle(world)
    return fates.names if failure.startswith("append") else calls.names
