"""A random schedule with real clients and real workers: everything that happens in it follows from its seed.

Threads and loops of each process take turns by chance, also in the middle of each other's steps; processes crash, stand still or fail at
any port call; workers come and go; owners are killed and told wrong; appends are late, lost, doubled or wrongly reported; clients die and
others ask again. Then all faults end, and all must come right.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from kit.ports import Crash, crash, unavailable
from kit.real_client import Asking
from kit.real_scenarios import FALLIBLE
from kit.real_world import RealWorld
from kit.sim_process import Dying, SimProcess
from kit.slow_medium import Fate
from kit.world import NAMESPACE, STEP_MS
from perdure._log.memory.medium import Append
from perdure_platform.config import OwnerLimits

LEAP_MS = 700
ACCOUNTS = ("account-0", "account-3", "account-5")

BAD_FATES = [Fate.LATE, Fate.LOST, Fate.UNTOLD, Fate.TWICE, Fate.TOLD_LATE, Fate.FAILED_LATE, Fate.STALLED]
WISHES = ("transfer", "deposit", "deposit", "query", "note", "count", "charge", "charge", "long", "endless", "fan", "again")


@dataclass
class Wish:
    """Something that a client wants; whoever asks for it asks under the same request ids."""

    number: int
    call: Callable[[Asking], Awaitable[object]]
    is_done: bool = False


@dataclass
class RealSchedule:
    """One seed."""

    seed: int
    steps: int = 150
    random: random.Random = field(init=False)
    world: RealWorld = field(init=False)

    def __post_init__(self) -> None:
        self.random = chance = random.Random(self.seed)
        limits = OwnerLimits(
            turn_records_max=chance.choice((1, 3, 500)),
            in_flight_records_max=chance.choice((1, 2_000)),
            cached_runs_max=chance.choice((0, 2_000)),
            idle_position_ms=200,
            claim_backoff_first_ms=STEP_MS,
            claim_backoff_max_ms=200,
            handover_ms=200,
            cautious_deaths=1_000,
        )
        self.world = RealWorld(
            partitions=chance.choice((1, 2, 3)), limits=limits, said={}, chance=chance.random, slots=chance.choice((1, 2, 4))
        )
        self.owners = [f"owner-{number}" for number in range(chance.choice((1, 2)))]
        self.workers = [f"worker-{number}" for number in range(chance.choice((1, 2, 2, 3)))]
        self.clients = [f"client-{number}" for number in range(chance.choice((1, 2)))]
        self.wishes: dict[str, list[Wish]] = {name: [] for name in self.clients}
        self._bad_fates = chance.choice(([], [Fate.LATE], [Fate.LATE, Fate.TWICE], [Fate.LOST, Fate.UNTOLD], BAD_FATES))
        self._fate_rate = chance.choice((0.02, 0.1, 0.3))
        self._fault_rate = chance.choice((0.0, 0.05, 0.15))
        self._call_faults = chance.random() < 0.6
        self._switch_rate = chance.choice((0.0, 0.05, 0.3))
        self._lag_rate = chance.choice((0.0, 0.0, 0.5))
        self._leap_rate = chance.choice((0.0, 0.05))
        self._speeds = {name: chance.choice((0.3, 1.0)) for name in (*self.owners, *self.workers, *self.clients)}
        self._numbers = 0
        self._depth = 0
        self._calm = False
        self._closing = False

    def run(self) -> RealWorld:
        """Live through the faults, and come right."""
        world = self.world
        try:
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
            self._heal()
            world.run_until_done()
            world.check()
            world.leave()
        finally:
            world.close()
        return world

    def step(self) -> None:
        """A little of everything."""
        world, chance = self.world, self.random
        if not self._calm and chance.random() < self._fault_rate:
            self._fault()
        names = [*self.owners, *self.workers, *self.clients]
        for name in chance.sample(names, len(names)):
            if name in world.paused or chance.random() >= self._speeds[name]:
                continue
            if name in self.owners:
                self._turn_owner(name)
            elif name in world.actors:
                self._turn_actor(name)
            elif not self._calm and chance.random() < 0.1 and not (name in self.workers and self._closing):
                self._start(name)
        for later in list(world.medium.on_the_way):
            if chance.random() < 0.2 and later in world.medium.on_the_way:
                world.medium.deliver(later)
        if not self._calm and chance.random() < 0.25:
            self._wish()
        world.clock.ms += chance.choice((1, STEP_MS, STEP_MS, 5 * STEP_MS)) if chance.random() >= self._leap_rate else LEAP_MS

    # -- processes

    def _turn_owner(self, name: str) -> None:
        world = self.world
        if name in world.processes:
            world.turn(world.processes[name])
        elif self.random.random() < 0.2:
            world.start(name=name)

    def _turn_actor(self, name: str) -> None:
        process = self.world.actors[name]
        if process.loop.is_running() or any(thread.is_in_step for thread in process.threads):
            return  # it is in the middle of a call; what else it does, it does there
        topic = f"{NAMESPACE}.replies"
        places = [(topic, partition) for partition in range(self.world.log.describe_topics([topic], 0)[topic].partitions)]
        process.own_log.hidden.clear()
        process.own_log.hidden.update(place for place in places if not self._calm and self.random.random() < self._lag_rate)
        try:
            self.world.turn_actor(name)
        except Crash:
            self._died(name)

    def _start(self, name: str) -> None:
        calls, world = self._calls(name), self.world
        process = world.start_worker(name, calls) if name in self.workers else world.start_client(name, self._live_as(name), calls)
        process.order = lambda parts: self.random.sample(parts, len(parts))
        calls.around = lambda: self._switch(process)

    def _calls(self, name: str) -> Dying:
        chance = self.random
        if self._calm or not self._call_faults or chance.random() < 0.5:
            return Dying()
        at, before = chance.randrange(1, 300), chance.random() < 0.5
        match chance.choice(("crash", "stop", "stall", "error")):
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
        for _ in range(self.random.choice((3, 20, 80))):
            self.step()
            if not whole and not process.is_dead:
                self._turn_rest(process)
        world.ledger.disturb(f"{name} goes on")
        self._depth -= 1

    def _switch(self, process: SimProcess) -> None:
        """At a port call: perhaps another thread of the process, or its loop, comes first."""
        if not self._depth and self.random.random() < self._switch_rate:
            self._depth += 1
            self._turn_rest(process)
            self._depth -= 1

    def _turn_rest(self, process: SimProcess) -> None:
        process.turned_ms = self.world.clock.ms
        process.turn()

    def _died(self, name: str) -> None:
        world, chance = self.world, self.random
        world.promises.seen[f"{name.split('-')[0]} crashed"] += 1
        if name in self.clients and len(self.clients) > 1 and chance.random() < 0.5:
            other = chance.choice([one for one in self.clients if one != name])
            moved = [wish for wish in self.wishes[name] if not wish.is_done]
            self.wishes[other] += moved
            if chance.random() < 0.5:  # otherwise both will ask
                self.wishes[name] = [wish for wish in self.wishes[name] if wish.is_done]

    def _kill(self, name: str) -> None:
        world, chance = self.world, self.random
        process = world.actors[name]
        if process.loop.is_running() or any(thread.is_in_step for thread in process.threads):
            return
        for later in [later for later in world.medium.on_the_way if later.producer in process.own_log.producers]:
            if chance.random() < 0.5:
                world.medium.lose(later)
        world.kill_actor(name)
        world.paused.discard(name)
        self._died(name)

    # -- faults

    def _fault(self) -> None:
        world, chance = self.world, self.random
        name = chance.choice([*self.owners, *self.workers, *self.workers, *self.clients])
        match chance.choice(("said", "pause", "resume", "resume", "kill", "leave")):
            case "said":
                assert world.said is not None
                world.said[chance.randrange(world.partitions)] = set(chance.sample(self.owners, chance.randint(1, len(self.owners))))
            case "pause":
                world.paused.add(name)
            case "resume":
                world.paused.discard(name)
            case "kill" if name in world.processes:
                world.paused.discard(name)
                world.lose_process(chance.choice((0, 1, 5)), name)
                world.promises.seen["owner lost"] += 1
            case "kill" if name in world.actors:
                self._kill(name)
            case "leave" if name in world.workers_running and name not in world.paused:
                world.actors[name].loop.create_task(world.workers_running[name].shutdown())
                world.promises.seen["worker told to leave"] += 1

    def _fate(self, append: Append) -> Fate:
        if self._calm or not self._bad_fates or self.random.random() >= self._fate_rate:
            return Fate.LANDS
        fate = self.random.choice(self._bad_fates)
        self.world.ledger.disturb(f"{append.topic} append {fate.name.lower()}")
        self.world.promises.seen[f"{append.topic.split('.')[1]} append {fate.name.lower()}"] += 1
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
        self.wishes[self.random.choice(self.clients)].append(Wish(self._numbers, call))

    def _wish(self) -> None:
        chance = self.random
        number = self._numbers
        account = chance.choice(ACCOUNTS)
        match chance.choice(
            ("transfer", "deposit", "deposit", "query", "note", "count", "charge", "charge", "long", "endless", "fan", "again")
        ):
            case "transfer":
                other, amount = chance.choice([one for one in ACCOUNTS if one != account]), chance.choice((2, 3, 13))
                self._wish_for(lambda ask: _run(ask, f"transfer-{number}", "SimTransfer", account, other, amount))
            case "deposit":
                amount = chance.randint(1, 9)
                self._wish_for(lambda ask: ask.signal(account, "deposit", amount))
            case "query":
                self._wish_for(lambda ask: ask.deposits_seen(account))
            case "note":
                name = f"note-{chance.randrange(3)}"
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
                self.wishes[chance.choice(self.clients)].append(chance.choice(wishes))

    # -- peace

    def _say_the_truth(self) -> None:
        self.world.said = {partition: {self.random.choice(self.owners)} for partition in range(self.world.partitions)}

    def _heal(self) -> None:
        """Everything that is on its way arrives, everybody is there and told the truth."""
        world = self.world
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
            world.medium.deliver(self.random.choice(world.medium.on_the_way))
            if self.random.random() < 0.5:
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
