"""A random schedule of a whole namespace: everything that happens in it follows from its seed, or from a tape of what one has chosen.

Several processes are told who leads what, rightly or not; they are paused, also in the middle of a turn, killed and robbed of their stores;
appends are late, lost, doubled or wrongly reported; clients and workers repeat themselves, and some commands are poison. Then all faults
end, and all must come right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kit.chooser import Chooser, Tape
from kit.decoding import decoded_once
from kit.ports import Crash, PortCalls, crash
from kit.sim_workflows import FUSE
from kit.slow_medium import Deletion, Fate
from kit.sometimes import Sometimes, looking_at
from kit.world import NAMESPACE, STEP_MS, World, commands_of, history_of, open_account, plain, transfer
from perdure._log.memory.medium import Append
from perdure._log.port import TopicPartition
from perdure_platform.config import OwnerLimits
from perdure_platform.node.assignment import Stage
from perdure_platform.store.memory import MemoryStores
from perdure_platform.store.tables import Tables
from perdure_schemas.commands import QueryWorkflow, SignalWorkflow, StartWorkflow
from perdure_schemas.options import IdReusePolicy
from perdure_schemas.tasks import ActivityTask

LONG, SHORT = 150, 25
"""Steps of a schedule that meets much, and of one of many."""

LEAP_MS = 700

STOPS_WITHIN_MS = 4_000
"""So long it may take until a log that lost its tail is believed."""

ACCOUNTS = ("account-0", "account-3", "account-5")

_FAULTS = ("said", "said", "pause", "resume", "lose", "start back", "cut", "poison")
_WISHES = (
    "deposit",
    "deposit",
    "transfer",
    "query",
    "note",
    "signal",
    "count",
    "again",
    "brief",
    "message",
    "impatient",
    "impatient",
    "bomb",
    "bomb",
)
_POISON = (b"", b"poison", b"\xc3\x01" + bytes(8))
_LATE_MS = {"copy": (20, 100, 700, 2_000), "delete": (20, 700)}


class Schedule:
    """From a seed: so many steps; with `trims`, a life of trimming, half-appended turns and takeovers, where else chance would give each
    its share. Or from a tape. `written` is the tape of what was chosen."""

    def __init__(self, source: int | Tape, steps: int = LONG, *, trims: bool = False) -> None:
        if isinstance(source, Tape):
            steps, trims = source.steps, source.trims
        self.steps, self.trims = steps, trims
        self.written = Tape(steps, trims)
        self.chooser = chooser = Chooser(source, self.written)
        self.acting = "client"
        """Who does what happens now."""
        self.tell: Callable[[str], None] = lambda what: None
        """Is told what is done, beside what lands in the log."""
        with chooser.part("setup"):
            self.names = [f"owner-{number}" for number in range(chooser.among("owners", (2, 1, 2, 3)))]
            self.world = World(partitions=chooser.among("partitions", (1, 2, 1, 3)), limits=self._limits(), said={})
            self._choose_rates()
            # Whoever reads everything reads again from each start, and must come to the same: a second reader of the rest is a luxury.
            self.world.checks_remainder = steps > SHORT or chooser.among("what is left is read too", (True, False, False))
        world = self.world
        world.medium.delay_ms = self._delay_ms
        self.sometimes = Sometimes(world.promises.seen, world.medium)
        world.observe = lambda process: looking_at(process, world.promises.seen)
        world.promises.told, world.promises.told_command = self.sometimes.history, self.sometimes.command
        self._down_until_ms: dict[str, int] = {}
        self._turning: list[str] = []
        self._robbed: set[str] = set()
        self._reports: list[tuple[int, ActivityTask]] = []
        self._cut: TopicPartition | None = None
        self._numbers = 0
        self._calm = True

    def _limits(self) -> OwnerLimits:
        among = self.chooser.among
        limits = OwnerLimits(
            turn_records_max=among("records of a turn", (500, 3, 500, 1)),
            activation_inputs_max=among("inputs of an activation", (500, 1)),
            in_flight_records_max=among("records in flight", (2_000, 1, 4)),
            cached_runs_max=among("cached runs", (2_000, 2, 2_000, 0)),
            due_runs_max=among("due runs", (10_000, 1)),
            idle_position_ms=200,
            claim_backoff_first_ms=STEP_MS,
            claim_backoff_max_ms=200,
            handover_ms=200,
            retention_ms=among("retention", (0, 0, 200, 1_000)),
            checkpoint_interval_ms=among("checkpoint interval", (300, 40, 0)),
            suspects_max=0,  # owners that isolate meet less of what these schedules are about
        )
        if self.trims:
            limits = replace(limits, retention_ms=200, checkpoint_interval_ms=0)
        if limits.retention_ms and limits.turn_records_max == 1:  # who trims all the time has to read what it carries
            limits = replace(limits, turn_records_max=500)
        if among("isolate", (False, False, False, True)):
            limits = replace(limits, suspects_max=among("suspects", (1_000, 1)), strikes_max=among("strikes", (3, 2)))
        return limits

    def _choose_rates(self) -> None:
        among = self.chooser.among
        bad: tuple[tuple[Fate, ...], ...] = (
            (),
            (Fate.LATE,),
            (Fate.LATE, Fate.TWICE),
            (Fate.TWICE, Fate.REFUSED),
            (Fate.LOST, Fate.UNTOLD),
            (Fate.FAILED_LATE, Fate.STALLED, Fate.TOLD_LATE),
            tuple(Fate)[1:],
        )
        self._bad_fates = (Fate.LOST, Fate.UNTOLD, Fate.LATE) if self.trims else among("fates", bad)
        self._fate_rate = 0.3 if self.trims else among("rate of fates", (0.02, 0.1, 0.3))
        self._fault_rate = 0.15 if self.trims else among("rate of faults", (0.0, 0.05, 0.15))
        self._call_fault_rate = among("rate of failing calls", (0.0, 0.5, 0.5))
        self._lag_rate = 0.5 if self.trims else among("rate of lagging readers", (0.0, 0.0, 0.5, 0.9))
        self._skip_rate = among("rate of skipping readers", (0.0, 0.0, 0.02))
        self._delete_rate = among("rate of failing deletes", (0.0, 0.5))
        self._leap_rate = among("rate of leaps", (0.0, 0.1))
        self._tells_ends_early = among("ends are told", ("of the look", "of the request")) == "of the request"
        self._rest_rates = {name: among(f"rate at which {name} rests", (0.0, 0.7)) for name in self.names}

    def run(self) -> World:
        """Open accounts in peace, live through the faults, and come right."""
        with decoded_once():
            self._run()
        return self.world

    def _run(self) -> None:
        world, chooser = self.world, self.chooser
        with chooser.part("opening"):
            self._say_the_truth()
            self._start_all()
            for account in ACCOUNTS:
                world.ask(account, open_account())
            world.run_until_answered()
        world.medium.fate = self._fate
        world.medium.deletion = self._deletion
        FUSE.go_off = self._go_off
        self._calm = False
        with chooser.part("beginning"):
            for name, process in world.processes.items():
                self._let_a_call_fail(name, process.calls)
        for _ in range(self.steps):
            self.step()
        with chooser.part("healing"):
            self._heal()
            world.run_until_done()
            world.check()
        if chooser.happens("the tail is lost", 0.05):
            self._lose_tail()

    def step(self) -> None:
        """A little of everything."""
        with self.chooser.part() as step:
            self._step(step)

    def _step(self, step: str) -> None:
        world, chooser = self.world, self.chooser
        self.tell(f"step {step}")
        if chooser.happens("fault", self._fault_rate):
            self._fault()
        for name in chooser.order("turn", self.names):
            if name not in world.processes and world.clock.ms >= self._down_until_ms.get(name, 0):
                self._start(name)
            runs = name in world.processes and name not in world.paused and name not in self._turning
            if runs and not chooser.happens(f"{name} rests", self._rest_rates[name]):
                self._turn(name)
        self.acting = "network"
        world.medium.pass_time()
        self._work()
        self.acting = "client"
        if chooser.happens("wish", 0.15):
            for _ in range(chooser.among("how many", (1, 1, 4))):
                self._wish()
        world.clients()
        leaps = chooser.happens("time leaps", self._leap_rate)
        world.clock.ms += LEAP_MS if leaps else chooser.among("time passes", (STEP_MS, STEP_MS, 1, 5 * STEP_MS))

    # -- owners

    def _start(self, name: str, *, faulty: bool = True) -> None:
        calls = PortCalls(then=lambda call: self._fail(name, call))
        if faulty:
            self._let_a_call_fail(name, calls)
        self.acting = name
        self.tell("starts")
        try:
            process = self.world.start(calls, name)
            process.log.tells_ends_early = self._tells_ends_early
            process.began_empty = name in self._robbed
            self._robbed.discard(name)
        except Crash:
            self._lose(name)

    def _start_all(self) -> None:
        for name in self.names:
            if name not in self.world.processes:
                self._start(name, faulty=False)

    def _let_a_call_fail(self, name: str, calls: PortCalls) -> None:
        if self.chooser.happens(f"a call of {name} fails", self._call_fault_rate):
            calls.at = calls.count + 1 + self.chooser.number("which", 400 if self.steps > SHORT else 150)
            calls.before = self.chooser.among("when", ("before", "after")) == "before"

    def _fail(self, name: str, call: str) -> None:
        if self.chooser.happens(f"{name} only stops", 0.5):
            self._stop(name, call)
        else:
            crash(call)

    def _turn(self, name: str) -> None:
        process, chooser = self.world.processes[name], self.chooser
        process.log.hidden.clear()
        if self._lag_rate:
            places = [place for partition in range(self.world.partitions) for place in (history_of(partition), commands_of(partition))]
            lagging = [place for place in places if chooser.happens(f"{name} does not see {place[0]} {place[1]}", self._lag_rate)]
            process.log.hidden.update(lagging)
        process.log.skips = chooser.happens(f"{name} skips a fetch", self._skip_rate)
        self._turning.append(name)
        self.acting = name
        try:
            if not process.sleeps(self.world.clock.ms):
                self.world.turn(process)
        except Crash as died:
            self.tell(f"dies in {died}")
            self._lose(name)
        finally:
            self._turning.remove(name)

    def _stop(self, name: str, call: str) -> None:
        """In the middle of a turn: the others go on."""
        if self._calm or len(self._turning) > 1:
            return
        self.world.promises.seen["stopped in a turn"] += 1
        self.tell(f"stops in {call}")
        for _ in range(self.chooser.among(f"{name} stops for so many steps", (3, 20, 60))):
            self.step()
        self.acting = name
        self.tell("goes on")

    def _lose(self, name: str) -> None:
        world, chooser = self.world, self.chooser
        process = world.processes.get(name)
        self.acting = name
        self.tell("is lost")
        if process is not None:
            for later in [later for later in world.medium.on_the_way if later.producer in process.log.producers]:
                if chooser.happens(f"what {name} had on the way is lost", 0.5):
                    world.medium.lose(later)
        world.paused.discard(name)
        world.lose_process(chooser.among("batches lost", (0, 1, 5)), name)
        world.promises.seen["process lost"] += 1
        if chooser.happens("store lost", 0.3):
            self.tell("loses its store")
            world.stores[name] = MemoryStores()
            world.promises.seen["store lost"] += 1
            self._robbed.add(name)
        self._down_until_ms[name] = world.clock.ms + chooser.among("is down for", (0, 60, 300, 1_500))

    def _fault(self) -> None:
        world, chooser = self.world, self.chooser
        name = chooser.among("whose fault", self.names)
        fault = chooser.among("which fault", _FAULTS)
        self.acting = "fault"
        match fault:
            case "said":
                assert world.said is not None
                partition = chooser.number("of which partition", world.partitions)
                told = chooser.order("who is told", self.names)
                world.said[partition] = set(told[: 1 + chooser.number("how many are told", len(told))])
                self.tell(f"{sorted(world.said[partition])} are told to lead partition {partition}")
            case "pause":
                self.tell(f"{name} is paused")
                world.paused.add(name)
            case "resume":
                self.tell(f"{name} is resumed")
                world.paused.discard(name)
            case "lose" if name in world.processes and name not in self._turning:
                self._lose(name)
            case "start back":
                place = history_of(chooser.number("of which partition", world.partitions))
                if world.medium.deleted[place]:
                    records = 1 + chooser.number("records", 39)
                    self.tell(f"the start of {place} moves back by {records}")
                    world.medium.move_start_back(*place, records)
                    world.promises.seen["start moved back"] += 1
            case "cut":
                self._cut = None if self._cut else commands_of(chooser.number("of which partition", world.partitions))
                self.tell(f"commands cannot be appended to {self._cut}" if self._cut else "all can be appended to again")
            case "poison":
                partition = chooser.number("of which partition", world.partitions)
                world.medium.append(*commands_of(partition), b"account-0", chooser.among("which bytes", _POISON))

    def _go_off(self) -> None:
        """Workflow code ends the process that runs it."""
        if not self._calm and self._turning:
            self.world.processes[self._turning[-1]].calls.is_dead = True
            self.world.promises.seen["bomb went off"] += 1

    # -- the network

    def _fate(self, append: Append) -> Fate:
        if self._calm:
            return Fate.LANDS
        kind = append.topic.split(".")[1]
        if (append.topic, append.partition) == self._cut:
            self.world.promises.seen["command to a partition that cannot be reached"] += 1
            return Fate.LOST
        if not self._bad_fates or not self.chooser.happens(f"{kind} append goes wrong", self._fate_rate):
            return Fate.LANDS
        fate = self.chooser.among("how", self._bad_fates)
        if fate is Fate.REFUSED and kind != "tasks":
            fate = Fate.LOST
        self.world.promises.seen[f"{kind} append {fate.name.lower()}"] += 1
        if kind == "history" and fate is Fate.LOST:
            self.world.promises.seen["unknown outcome was not appended"] += 1
        elif kind == "history" and fate in (Fate.UNTOLD, Fate.FAILED_LATE):
            self.sometimes.untold.add(append.value)
        self.tell(f"{kind} append is {fate.name.lower()}")
        return fate

    def _deletion(self, place: TopicPartition) -> Deletion:
        if self._calm or not self.chooser.happens("delete goes wrong", self._delete_rate):
            return Deletion.DONE
        fate = self.chooser.among("how", tuple(Deletion)[1:])
        self.world.promises.seen[f"delete {fate.name.lower()}"] += 1
        self.tell(f"delete of {place} is {fate.name.lower()}")
        return fate

    def _delay_ms(self, what: str) -> int:
        return self.chooser.among(f"{what} comes after", _LATE_MS.get(what, (STEP_MS, 60, 200, 600)))

    # -- clients and workers

    def _work(self) -> None:
        world, chooser = self.world, self.chooser
        self.acting = "worker"
        for topic in world.medium.names(f"{NAMESPACE}.tasks."):
            world.take_tasks(topic)
        for task in world.tasks:
            self._reports.append((world.clock.ms + chooser.among("work takes", (0, 20, 60, 400, 1_500)), task))
        world.tasks.clear()
        reports, self._reports = self._reports, []
        for due_ms, task in reports:
            if due_ms > world.clock.ms:
                self._reports.append((due_ms, task))
                continue
            world.report(task)
            if chooser.happens("work is done again", 0.3):
                self._reports.append((world.clock.ms + chooser.among("work takes", (20, 60, 400)), task))

    def _wish(self) -> None:
        world, chooser = self.world, self.chooser
        match chooser.among("what", _WISHES):
            case "transfer":
                self._numbers += 1
                source, target, _ = chooser.order("accounts", ACCOUNTS)
                world.ask(f"transfer-{self._numbers}", transfer(source, target, chooser.among("amount", (2, 3, 13))))
            case "deposit":
                world.ask(chooser.among("account", ACCOUNTS), SignalWorkflow("deposit", input=plain(1 + chooser.number("amount", 9))))
            case "query":
                world.ask(chooser.among("account", ACCOUNTS), QueryWorkflow("deposits_seen"))
            case "note":
                policy = chooser.among("policy", (IdReusePolicy.ALLOW_DUPLICATE, IdReusePolicy.REJECT_DUPLICATE))
                world.ask(f"note-{chooser.number('note', 3)}", StartWorkflow("SimNote", "sim", id_reuse_policy=policy))
            case "signal":
                world.ask(f"note-{chooser.number('note', 3)}", SignalWorkflow("anything", input=plain(0)))
            case "brief":
                world.ask(f"brief-{chooser.number('brief', 3)}", StartWorkflow("SimBrief", "sim"))
            case "message":
                self._numbers += 1
                targets = [f"brief-{number}" for number in chooser.order("briefs", range(4))[:3]]
                world.ask(f"messenger-{self._numbers}", StartWorkflow("SimMessenger", "sim", plain(targets)))
            case "impatient":
                self._numbers += 1
                world.ask(f"impatient-{self._numbers}", StartWorkflow("SimImpatient", "sim"))
            case "count":
                self._count(f"counter-{chooser.number('counter', 2)}")
            case "again":
                answered = [asked for asked in world.asked.values() if asked.answer is not None and not asked.is_read]
                world.send(chooser.among("which", answered).command)
            case "bomb" if world.limits.suspects_max:
                world.ask("bomb", StartWorkflow("SimBomb", "sim"))

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
        self.world.said = {partition: {self.chooser.among("leader", self.names)} for partition in range(self.world.partitions)}

    def _heal(self) -> None:
        """Everything that is on its way arrives, everybody is there and told the truth; counters get what they wait for."""
        world = self.world
        self.tell("healing")
        self._calm = True
        self._cut = None
        world.paused.clear()
        for process in world.processes.values():
            process.calls.at = 0
            process.log.hidden.clear()
            process.log.skips = False
        self._start_all()
        self._say_the_truth()
        world.tasks += [task for _, task in self._reports]
        while world.medium.on_the_way:
            world.medium.deliver(self.chooser.among("arrives", world.medium.on_the_way))
            if self.chooser.happens("time passes", 0.5):
                world.go_on()
        for workflow_id in ("counter-0", "counter-1"):
            if any(asked.command.workflow_id == workflow_id for asked in world.asked.values()):
                for _ in range(4):
                    world.run_until_answered()
                    self._count(workflow_id)

    def _lose_tail(self) -> None:
        """The log loses its newest records: whoever has seen more must say so and stop, and nothing is appended there."""
        world, chooser = self.world, self.chooser
        partition = chooser.number("of which partition", world.partitions)
        place = history_of(partition)
        ahead = [name for name in self.names if _read_to(world.stores[name], partition) == world.medium.bounds(*place)[1]]
        assert ahead, f"all has settled, and nobody's store is at the end of partition {partition}"
        for name in self.names:
            world.lose_process(0, name)
        world.medium.lose_tail(*place, 1 + chooser.number("records", 3))
        end = world.medium.bounds(*place)[1]
        world.said = {partition: {ahead[0]}}
        process = world.start(name=ahead[0])
        for _ in range(STOPS_WITHIN_MS // STEP_MS):
            world.turn(process)
            world.clock.ms += STEP_MS
        assert process.node.partitions[partition].stage is Stage.STOPPED, f"partition {partition} goes on although its log lost its tail"
        assert world.medium.bounds(*place)[1] == end, f"something was appended to partition {partition}, whose log lost its tail"
        world.promises.seen["store ahead of the log detected"] += 1


def _read_to(stores: MemoryStores, partition: int) -> int:
    store = stores.stores.get(partition)
    return -1 if store is None else Tables(store.opened()).positions().next_offset
