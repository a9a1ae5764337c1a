"""A random schedule of a whole namespace: everything that happens in it follows from its seed.

Several processes are told who leads what, rightly or not; they are paused, also in the middle of a turn, killed and robbed of their stores;
appends are late, lost, doubled or wrongly reported; clients and workers repeat themselves. Then all faults end, and all must come right.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from kit.ports import Crash, PortCalls, crash
from kit.slow_medium import Fate
from kit.world import NAMESPACE, STEP_MS, World, commands_of, history_of, open_account, plain, transfer
from perdure._log.memory.medium import Append
from perdure_platform.config import OwnerLimits
from perdure_platform.store.memory import MemoryStores
from perdure_schemas.commands import QueryWorkflow, SignalWorkflow, StartWorkflow
from perdure_schemas.options import IdReusePolicy

LEAP_MS = 700
ACCOUNTS = ("account-0", "account-3", "account-5")


@dataclass
class Schedule:
    """One seed. `trims`: a life of trimming, half-appended turns and takeovers, where else chance would give each its share."""

    seed: int
    steps: int = 150
    trims: bool = False
    random: random.Random = field(init=False)
    world: World = field(init=False)

    def __post_init__(self) -> None:
        self.random = chance = random.Random(self.seed)
        self.names = [f"owner-{number}" for number in range(chance.choice((1, 2, 2, 3)))]
        limits = OwnerLimits(
            turn_records_max=chance.choice((1, 3, 500)),
            activation_inputs_max=chance.choice((1, 500)),
            in_flight_records_max=chance.choice((1, 4, 2_000)),
            cached_runs_max=chance.choice((0, 2, 2_000)),
            due_runs_max=chance.choice((1, 10_000)),
            idle_position_ms=200,
            claim_backoff_first_ms=STEP_MS,
            claim_backoff_max_ms=200,
            handover_ms=200,
            retention_ms=chance.choice((0, 200, 1_000)),
            checkpoint_interval_ms=chance.choice((0, 40, 300)),
        )
        if self.trims:
            limits = replace(limits, retention_ms=200, checkpoint_interval_ms=0, turn_records_max=500)
        if self.seed % 3:  # careful owners meet less of what these schedules are about
            limits = replace(limits, cautious_deaths=1_000)
        self.world = World(partitions=chance.choice((1, 2, 3)), limits=limits, said={})
        self._bad_fates = chance.choice(([], [Fate.LATE], [Fate.LATE, Fate.TWICE], [Fate.LOST, Fate.UNTOLD], list(Fate)[1:]))
        self._fate_rate = chance.choice((0.02, 0.1, 0.3))
        self._fault_rate = chance.choice((0.0, 0.05, 0.15))
        self._call_faults = chance.random() < 0.6
        self._speeds = {name: chance.choice((0.3, 1.0)) for name in self.names}
        self._turning: set[str] = set()
        self._numbers = 0
        self._calm = False
        if self.trims:
            self._bad_fates, self._fate_rate, self._fault_rate = [Fate.LOST, Fate.UNTOLD, Fate.LATE], 0.3, 0.15
        self._leap_rate = chance.choice((0.0, 0.1))
        self._lag_rate = 0.5 if self.trims else chance.choice((0.0, 0.0, 0.5, 0.9))

    def run(self) -> World:
        """Open accounts in peace, live through the faults, and come right."""
        world = self.world
        self._say_the_truth()
        self._start_all(faulty=False)
        for account in ACCOUNTS:
            world.ask(account, open_account())
        world.run_until_done()
        world.medium.fate = self._fate
        for _ in range(self.steps):
            self.step()
        self._heal()
        world.run_until_done()
        world.check()
        return world

    def step(self) -> None:
        """A little of everything."""
        world, chance = self.world, self.random
        if chance.random() < self._fault_rate:
            self._fault()
        for name in chance.sample(self.names, len(self.names)):
            if name not in world.processes and chance.random() < 0.2:
                self._start(name)
            if name in world.processes and name not in world.paused | self._turning and chance.random() < self._speeds[name]:
                self._turn(name)
        for append in [*world.medium.on_the_way, *world.medium.copies]:
            if chance.random() < 0.2:
                self._deliver(append)
        self._work()
        if chance.random() < 0.25:
            self._wish()
        world.clients()
        world.clock.ms += chance.choice((1, STEP_MS, STEP_MS, 5 * STEP_MS)) if chance.random() > self._leap_rate else LEAP_MS

    # -- owners

    def _start(self, name: str, *, faulty: bool = True) -> None:
        chance = self.random
        calls = PortCalls()
        if faulty and self._call_faults and chance.random() < 0.5:
            then = crash if chance.random() < 0.5 else lambda call: self._stop(name)
            calls = PortCalls(chance.randrange(1, 400), before=chance.random() < 0.5, then=then)
        try:
            process = self.world.start(calls, name)
            process.log.tells_ends_early = self.seed % 2 == 1
        except Crash:
            self._lose(name)

    def _start_all(self, *, faulty: bool) -> None:
        for name in self.names:
            if name not in self.world.processes:
                self._start(name, faulty=faulty)

    def _turn(self, name: str) -> None:
        process = self.world.processes[name]
        places = [place for partition in range(self.world.partitions) for place in (history_of(partition), commands_of(partition))]
        process.log.hidden.clear()
        process.log.hidden.update(place for place in places if self.random.random() < self._lag_rate)
        self._turning.add(name)
        try:
            process.node.turn(0)
        except Crash:
            self._lose(name)
        finally:
            self._turning.discard(name)

    def _stop(self, name: str) -> None:
        """In the middle of a turn: the others go on."""
        if self._calm or len(self._turning) > 1:
            return
        self.world.promises.seen["stopped in a turn"] += 1
        for _ in range(self.random.choice((3, 20, 60))):
            self.step()

    def _lose(self, name: str) -> None:
        world, chance = self.world, self.random
        process = world.processes.get(name)
        if process is not None:
            for append in [append for append in world.medium.on_the_way if append.producer in process.log.producers]:
                if chance.random() < 0.5:
                    world.medium.on_the_way.remove(append)
        world.paused.discard(name)
        world.lose_process(chance.choice((0, 1, 5)), name)
        world.promises.seen["process lost"] += 1
        if chance.random() < 0.3:
            world.stores[name] = MemoryStores()
            world.promises.seen["store lost"] += 1

    def _fault(self) -> None:
        world, chance = self.world, self.random
        name = chance.choice(self.names)
        match chance.choice(("said", "said", "pause", "resume", "lose", "start back")):
            case "start back":
                place = history_of(chance.randrange(world.partitions))
                if world.medium.deleted[place]:
                    world.medium.move_start_back(*place, chance.randrange(1, 40))
                    world.promises.seen["start moved back"] += 1
            case "said":
                assert world.said is not None
                world.said[chance.randrange(world.partitions)] = set(chance.sample(self.names, chance.randint(1, len(self.names))))
            case "pause":
                world.paused.add(name)
            case "resume":
                world.paused.discard(name)
            case "lose" if name in world.processes and name not in self._turning:
                self._lose(name)

    # -- the network

    def _fate(self, append: Append) -> Fate:
        if self._calm or not self._bad_fates or self.random.random() >= self._fate_rate:
            return Fate.LANDS
        fate = self.random.choice(self._bad_fates)
        self.world.promises.seen[f"{append.topic.split('.')[1]} append {fate.name.lower()}"] += 1
        return fate

    def _deliver(self, append: Append) -> None:
        medium = self.world.medium
        if append in medium.on_the_way or append in medium.copies:
            medium.deliver(append)

    # -- clients and workers

    def _work(self) -> None:
        world, chance = self.world, self.random
        for name in world.medium.names(f"{NAMESPACE}.tasks."):
            world.take_tasks(name)
        for task in list(world.tasks):
            if chance.random() < 0.5:
                world.report(task)
                if chance.random() < 0.7:
                    world.tasks.remove(task)

    def _wish(self) -> None:
        world, chance = self.world, self.random
        account = chance.choice(ACCOUNTS)
        match chance.choice(
            ("transfer", "deposit", "deposit", "query", "note", "signal", "count", "again", "brief", "message", "impatient")
        ):
            case "transfer":
                self._numbers += 1
                amount = chance.choice((2, 3, 13))
                world.ask(f"transfer-{self._numbers}", transfer(account, chance.choice([a for a in ACCOUNTS if a != account]), amount))
            case "deposit":
                world.ask(account, SignalWorkflow("deposit", input=plain(chance.randint(1, 9))))
            case "query":
                world.ask(account, QueryWorkflow("deposits_seen"))
            case "note":
                policy = chance.choice((IdReusePolicy.ALLOW_DUPLICATE, IdReusePolicy.REJECT_DUPLICATE))
                world.ask(f"note-{chance.randrange(3)}", StartWorkflow("SimNote", "sim", id_reuse_policy=policy))
            case "signal":
                world.ask(f"note-{chance.randrange(3)}", SignalWorkflow("anything", input=plain(0)))
            case "brief":
                world.ask(f"brief-{chance.randrange(3)}", StartWorkflow("SimBrief", "sim"))
            case "message":
                self._numbers += 1
                targets = [f"brief-{number}" for number in chance.sample(range(4), 3)]
                world.ask(f"messenger-{self._numbers}", StartWorkflow("SimMessenger", "sim", plain(targets)))
            case "impatient":
                self._numbers += 1
                world.ask(f"impatient-{self._numbers}", StartWorkflow("SimImpatient", "sim"))
            case "count":
                self._count(f"counter-{chance.randrange(2)}")
            case "again":
                answered = [asked for asked in world.asked.values() if asked.answer is not None and not asked.is_read]
                world.send(chance.choice(answered).command)

    def _count(self, workflow_id: str) -> None:
        """A client that signals once its last signal was acknowledged; the counter is started with the first."""
        world = self.world
        told = [asked for asked in world.asked.values() if asked.command.workflow_id == workflow_id]
        asked = [asked for asked in told if isinstance(asked.command.body, StartWorkflow | SignalWorkflow)]  # no operator's resume
        if len(asked) >= 4 or any(one.answer is None for one in told):
            return
        signal = SignalWorkflow("count", input=plain(len(asked) + 1))
        world.ask(workflow_id, signal if asked else StartWorkflow("SimCounter", "sim", signal=signal))

    # -- peace

    def _say_the_truth(self) -> None:
        self.world.said = {partition: {self.random.choice(self.names)} for partition in range(self.world.partitions)}

    def _heal(self) -> None:
        """Everything that is on its way arrives, everybody is there and told the truth; counters get what they wait for."""
        world = self.world
        self._calm = True
        world.paused.clear()
        for process in world.processes.values():
            process.calls.at = 0
            process.log.hidden.clear()
        self._start_all(faulty=False)
        self._say_the_truth()
        medium = world.medium
        while medium.on_the_way or medium.copies:
            self._deliver(self.random.choice([*medium.on_the_way, *medium.copies]))
            if self.random.random() < 0.5:
                world.step()
        for workflow_id in ("counter-0", "counter-1"):
            if any(asked.command.workflow_id == workflow_id for asked in world.asked.values()):
                for _ in range(4):
                    world.run_until_answered()
                    self._count(workflow_id)
