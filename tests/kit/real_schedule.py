"""A random schedule with real clients and real workers: everything that happens in it follows from its seed, or from a tape.

Threads and loops of each process take turns by chance, also in the middle of each other's steps; processes crash, stand still or fail at
any port call; workers come and go; owners are killed and told wrong; appends are late, lost, doubled or wrongly reported; clients die and
others ask again. Then all faults end, and all must come right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kit.chooser import Chooser, Tape
from kit.ports import Crash, crash, unavailable
from kit.real_client import Asking
from kit.real_scenarios import FALLIBLE
from kit.real_world import RealWorld
from kit.schedule import ACCOUNTS, LEAP_MS, LONG
from kit.sim_process import Dying, SimProcess
from kit.slow_medium import Fate
from kit.world import NAMESPACE, STEP_MS
from perdure._log.memory.medium import Append
from perdure_platform.config import OwnerLimits

BAD_FATES = (Fate.LATE, Fate.LOST, Fate.UNTOLD, Fate.TWICE, Fate.TOLD_LATE, Fate.FAILED_LATE, Fate.STALLED)
FATES: tuple[tuple[Fate, ...], ...] = ((), (Fate.LATE,), (Fate.LATE, Fate.TWICE), (Fate.LOST, Fate.UNTOLD), BAD_FATES)
CHANCES = (0.5, 0.0, 0.1, 0.3, 0.7, 0.9, 0.99)
WISHES = ("transfer", "deposit", "deposit", "query", "note", "count", "charge", "charge", "long", "endless", "fan", "again")


@dataclass
class Wish:
    """Something that a client wants; whoever asks for it asks under the same request ids."""

    number: int
    call: Callable[[Asking], Awaitable[object]]
    is_done: bool = False


class RealSchedule:
    """From a seed: so many steps. Or from a tape. `written` is the tape of what was chosen."""

    def __init__(self, source: int | Tape, steps: int = LONG) -> None:
        self.steps = source.steps if isinstance(source, Tape) else steps
        self.written = Tape(self.steps, is_real=True)
        self.chooser = chooser = Chooser(source, self.written)
        self.acting = "client"
        """Who does what happens now."""
        self.tell: Callable[[str], None] = lambda what: None
        """Is told what is done, beside what lands in the log."""
        with chooser.part("setup"):
            among = chooser.among
            limits = OwnerLimits(
                turn_records_max=among("records of a turn", (500, 1, 3)),
                in_flight_records_max=among("records in flight", (2_000, 1)),
                cached_runs_max=among("cached runs", (2_000, 0)),
                idle_position_ms=200,
                claim_backoff_first_ms=STEP_MS,
                claim_backoff_max_ms=200,
                handover_ms=200,
                suspects_max=0,
            )
            self.world = RealWorld(
                partitions=among("partitions", (1, 2, 3)),
                limits=limits,
                said={},
                chance=lambda: chooser.among("a number that an actor draws", CHANCES),
                slots=among("slots", (2, 1, 4)),
            )
            self.owners = [f"owner-{number}" for number in range(among("owners", (1, 2)))]
            self.workers = [f"worker-{number}" for number in range(among("workers", (1, 2, 2, 3)))]
            self.clients = [f"client-{number}" for number in range(among("clients", (1, 2)))]
            self.wishes: dict[str, list[Wish]] = {name: [] for name in self.clients}
            self._bad_fates = among("fates", FATES)
            self._fate_rate = among("rate of fates", (0.02, 0.1, 0.3))
            self._fault_rate = among("rate of faults", (0.0, 0.05, 0.15))
            self._call_faults = chooser.happens("calls fail", 0.6)
            self._switch_rate = among("rate of switches", (0.0, 0.05, 0.3))
            self._lag_rate = among("rate of lagging readers", (0.0, 0.0, 0.5))
            self._leap_rate = among("rate of leaps", (0.0, 0.05))
            everybody = (*self.owners, *self.workers, *self.clients)
            self._rest_rates = {name: among(f"rate at which {name} rests", (0.0, 0.7)) for name in everybody}
        self._numbers = 0
        self._depth = 0
        self._calm = False
        self._closing = False

    def run(self) -> RealWorld:
        """Live through the faults, and come right."""
        world, chooser = self.world, self.chooser
        try:
            with chooser.part("opening"):
                self._say_the_truth()
                for name in self.owners:
                    world.start(name=name)
                for name in (*self.workers, *self.clients):
                    self._start(name)
                for account in ACCOUNTS:
                    self._wish_for(lambda ask, account=account: ask.start(account, "SimAccount", 0, 0))  # type: ignore[misc]
            world.medium.fate = self._fate
            for _ in range(self.steps):
                self.step()
            with chooser.part("healing"):
                self._heal()
                world.run_until_done()
                world.check()
                world.leave()
        finally:
            world.close()
        return world

    def step(self) -> None:
        """A little of everything."""
        with self.chooser.part() as step:
            self._step(step)

    def _step(self, step: str) -> None:
        world, chooser = self.world, self.chooser
        self.tell(f"step {step}")
        if not self._calm and chooser.happens("fault", self._fault_rate):
            self._fault()
        for name in chooser.order("turn", [*self.owners, *self.workers, *self.clients]):
            if name in world.paused or chooser.happens(f"{name} rests", self._rest_rates[name]):
                continue
            self.acting = name
            if name in self.owners:
                self._turn_owner(name)
            elif name in world.actors:
                self._turn_actor(name)
            elif not self._calm and not (name in self.workers and self._closing) and chooser.happens(f"{name} starts", 0.1):
                self._start(name)
        self.acting = "network"
        for later in list(world.medium.on_the_way):
            if later in world.medium.on_the_way and not chooser.happens("stays on its way", 0.8):
                world.medium.deliver(later)
        self.acting = "client"
        if not self._calm and chooser.happens("wish", 0.25):
            self._wish()
        leaps = chooser.happens("time leaps", self._leap_rate)
        world.clock.ms += LEAP_MS if leaps else chooser.among("time passes", (STEP_MS, STEP_MS, 1, 5 * STEP_MS))

    # -- processes

    def _turn_owner(self, name: str) -> None:
        world = self.world
        if name in world.processes:
            world.turn(world.processes[name])
        elif self.chooser.happens(f"{name} starts", 0.2):
            self.tell("starts")
            world.start(name=name)

    def _turn_actor(self, name: str) -> None:
        process = self.world.actors[name]
        if process.loop.is_running() or any(thread.is_in_step for thread in process.threads):
            return  # it is in the middle of a call; what else it does, it does there
        topic = f"{NAMESPACE}.replies"
        places = [(topic, partition) for partition in range(self.world.log.describe_topics([topic], 0)[topic].partitions)]
        process.own_log.hidden.clear()
        if self._lag_rate and not self._calm:
            happens = self.chooser.happens
            lagging = [place for place in places if happens(f"{name} does not see {place[0]} {place[1]}", self._lag_rate)]
            process.own_log.hidden.update(lagging)
        try:
            self.world.turn_actor(name)
        except Crash:
            self._died(name)

    def _start(self, name: str) -> None:
        calls, world = self._calls(name), self.world
        process = world.start_worker(name, calls) if name in self.workers else world.start_client(name, self._live_as(name), calls)
        self.tell(f"{name} starts")
        process.order = lambda parts: self.chooser.order("parts", parts)
        calls.around = lambda: self._switch(process)

    def _calls(self, name: str) -> Dying:
        chooser = self.chooser
        if self._calm or not self._call_faults or not chooser.happens(f"a call of {name} fails", 0.5):
            return Dying()
        at, before = 1 + chooser.number("which", 299), chooser.among("when", ("before", "after")) == "before"
        match chooser.among("how a call fails", ("crash", "stop", "stall", "error")):
            case "crash":
                return Dying(at, before=before, then=crash)
            case "stop":
                return Dying(at, before=before, then=lambda _: self._stand_still(name, whole=True))
            case "stall":
                return Dying(at, before=before, then=lambda _: self._stand_still(name, whole=False))
            case _:
                return Dying(at, before=before, then=self._fail, only=FALLIBLE)

    def _fail(self, call: str) -> None:
        if not self._calm:
            self.tell(f"{call} fails")
            self.world.ledger.disturb(f"{call} failed")
            self.world.promises.seen[f"{call} failed"] += 1
            unavailable(call)

    def _stand_still(self, name: str, *, whole: bool) -> None:
        """In the middle of a port call: the others go on, and with a mere stall the rest of the process, too."""
        world = self.world
        if self._calm or self._depth:
            return
        process = world.actors[name]
        self._depth += 1
        world.promises.seen[f"{name.split('-')[0]} {'stopped' if whole else 'stalled'} in a call"] += 1
        world.ledger.disturb(f"{name} stands still")
        self.tell(f"{name} {'stops' if whole else 'stalls'}")
        for _ in range(self.chooser.among(f"{name} stands still for so many steps", (3, 20, 80))):
            self.step()
            if not whole and not process.is_dead:
                self._turn_rest(process)
        world.ledger.disturb(f"{name} goes on")
        self.acting = name
        self.tell("goes on")
        self._depth -= 1

    def _switch(self, process: SimProcess) -> None:
        """At a port call: perhaps another thread of the process, or its loop, comes first."""
        if self._switch_rate and not self._depth and self.chooser.happens(f"the rest of {process.name} comes first", self._switch_rate):
            self._depth += 1
            self._turn_rest(process)
            self._depth -= 1

    def _turn_rest(self, process: SimProcess) -> None:
        process.turned_ms = self.world.clock.ms
        process.turn()

    def _died(self, name: str) -> None:
        world, chooser = self.world, self.chooser
        self.tell(f"{name} dies")
        world.promises.seen[f"{name.split('-')[0]} crashed"] += 1
        if name in self.clients and len(self.clients) > 1 and chooser.happens("another client takes over", 0.5):
            other = chooser.among("which client", [one for one in self.clients if one != name])
            moved = [wish for wish in self.wishes[name] if not wish.is_done]
            self.wishes[other] += moved
            if chooser.happens("only that one asks", 0.5):  # otherwise both will
                self.wishes[name] = [wish for wish in self.wishes[name] if wish.is_done]

    def _kill(self, name: str) -> None:
        world = self.world
        process = world.actors[name]
        if process.loop.is_running() or any(thread.is_in_step for thread in process.threads):
            return
        for later in [later for later in world.medium.on_the_way if later.producer in process.own_log.producers]:
            if self.chooser.happens(f"what {name} had on the way is lost", 0.5):
                world.medium.lose(later)
        world.kill_actor(name)
        world.paused.discard(name)
        self._died(name)

    # -- faults

    def _fault(self) -> None:
        world, chooser = self.world, self.chooser
        self.acting = "fault"
        name = chooser.among("whose fault", [*self.owners, *self.workers, *self.workers, *self.clients])
        match chooser.among("which fault", ("said", "pause", "resume", "resume", "kill", "leave")):
            case "said":
                assert world.said is not None
                partition = chooser.number("of which partition", world.partitions)
                told = chooser.order("who is told", self.owners)
                world.said[partition] = set(told[: 1 + chooser.number("how many are told", len(told))])
                self.tell(f"{sorted(world.said[partition])} are told to lead partition {partition}")
            case "pause":
                self.tell(f"{name} is paused")
                world.paused.add(name)
            case "resume":
                self.tell(f"{name} is resumed")
                world.paused.discard(name)
            case "kill" if name in world.processes:
                self.tell(f"{name} is lost")
                world.paused.discard(name)
                world.lose_process(chooser.among("batches lost", (0, 1, 5)), name)
                world.promises.seen["owner lost"] += 1
            case "kill" if name in world.actors:
                self._kill(name)
            case "leave" if name in world.workers_running and name not in world.paused:
                self.tell(f"{name} is told to leave")
                world.actors[name].loop.create_task(world.workers_running[name].shutdown())
                world.promises.seen["worker told to leave"] += 1

    def _fate(self, append: Append) -> Fate:
        kind = append.topic.split(".")[1]
        if self._calm or not self._bad_fates or not self.chooser.happens(f"{kind} append goes wrong", self._fate_rate):
            return Fate.LANDS
        fate = self.chooser.among("how", self._bad_fates)
        self.tell(f"{kind} append is {fate.name.lower()}")
        self.world.ledger.disturb(f"{append.topic} append {fate.name.lower()}")
        self.world.promises.seen[f"{kind} append {fate.name.lower()}"] += 1
        return fate

    # -- wishes

    def _live_as(self, name: str) -> Callable[[Asking], Awaitable[None]]:
        async def live(ask: Asking) -> None:
            asked: dict[int, asyncio.Task[None]] = {}
            while not self._closing or not all(wish.is_done for wish in self.wishes[name]):
                for wish in self.wishes[name]:
                    if not wish.is_done and wish.number not in asked:
                        asked[wish.number] = asyncio.get_running_loop().create_task(self._ask(ask, wish))
                for task in asked.values():
                    if task.done():
                        task.result()
                await asyncio.sleep(0.02)
            for task in asked.values():
                task.cancel()  # another client was told already
            await asyncio.gather(*asked.values(), return_exceptions=True)

        return live

    async def _ask(self, ask: Asking, wish: Wish) -> None:
        await wish.call(ask.under(f"wish-{wish.number}/"))
        wish.is_done = True

    def _wish_for(self, call: Callable[[Asking], Awaitable[object]]) -> None:
        self._numbers += 1
        self.wishes[self.chooser.among("whose wish", self.clients)].append(Wish(self._numbers, call))

    def _wish(self) -> None:
        chooser = self.chooser
        number = self._numbers
        match chooser.among("what", WISHES):
            case "transfer":
                account, other, _ = chooser.order("accounts", ACCOUNTS)
                amount = chooser.among("amount", (2, 3, 13))
                self._wish_for(lambda ask: _run(ask, f"transfer-{number}", "SimTransfer", account, other, amount))
            case "deposit":
                account, amount = chooser.among("account", ACCOUNTS), 1 + chooser.number("amount", 9)
                self._wish_for(lambda ask: ask.signal(account, "deposit", amount))
            case "query":
                account = chooser.among("account", ACCOUNTS)
                self._wish_for(lambda ask: ask.deposits_seen(account))
            case "note":
                name = f"note-{chooser.number('note', 3)}"
                self._wish_for(lambda ask: ask.start(name, "SimNote"))
            case "count":
                self._wish_for(lambda ask: _count(ask, f"counter-{number}"))
            case "charge":
                self._wish_for(lambda ask: _run(ask, f"charge-{number}", "SimCharge", 7))
            case "long":
                self._wish_for(lambda ask: _run(ask, f"count-{number}", "SimCount", 3))
            case "endless":
                self._wish_for(lambda ask: _cancel(ask, f"endless-{number}"))
            case "fan":
                self._wish_for(lambda ask: _run(ask, f"fan-{number}", "SimFanOut", 4))
            case "again":
                wishes = [wish for each in self.wishes.values() for wish in each]
                self.wishes[chooser.among("whose wish", self.clients)].append(chooser.among("which", wishes))

    # -- peace

    def _say_the_truth(self) -> None:
        self.world.said = {partition: {self.chooser.among("leader", self.owners)} for partition in range(self.world.partitions)}

    def _heal(self) -> None:
        """Everything that is on its way arrives, everybody is there and told the truth."""
        world = self.world
        self.tell("healing")
        self._calm = True
        world.paused.clear()
        for process in world.actors.values():
            process.calls.at = 0
            process.own_log.hidden.clear()
        for name in self.owners:
            if name not in world.processes:
                world.start(name=name)
        self._say_the_truth()
        self._closing = True
        while world.medium.on_the_way:
            world.medium.deliver(self.chooser.among("which arrives", world.medium.on_the_way))
            if self.chooser.happens("somebody acts between", 0.5):
                self.step()
        world.kept.update(self.workers)


async def _run(ask: Asking, workflow_id: str, workflow_type: str, *args: object) -> None:
    await ask.start(workflow_id, workflow_type, *args)
    await ask.result(workflow_id)


async def _count(ask: Asking, workflow_id: str) -> None:
    """P6: a sender that goes on when its last signal was acknowledged."""
    await ask.start(workflow_id, "SimCounter", start_signal="count", start_signal_args=[1])
    for number in (2, 3, 4):
        await ask.signal(workflow_id, "count", number)
    assert await ask.result(workflow_id) == [1, 2, 3, 4]


async def _cancel(ask: Asking, workflow_id: str) -> None:
    await ask.start(workflow_id, "SimEndless")
    await asyncio.sleep(0.3)
    await ask.cancel(workflow_id)
    await ask.result(workflow_id)
