"""A whole namespace in one thread: owners over a memory log with a clock of its own, workers and clients from a script.

Time moves only here. Owners are real Nodes with real workflow code; a worker answers each task, some of them twice; clients repeat what is
not answered. `check` asks for the promises P1 to P8 of design.md 8.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from kit.ports import Crash, Port, PortCalls, StoresPort
from kit.sim_workflows import WORKFLOWS
from perdure._log.memory import MemoryLog, MemoryMedium
from perdure._replay.runtime import CodeHost
from perdure_platform.config import OwnerLimits
from perdure_platform.node.assignment import Stage, Surroundings
from perdure_platform.node.node import Node
from perdure_platform.node.topics import TaskTopics, describe_namespace, ensure_namespace
from perdure_platform.ops.verify import fold_partition
from perdure_platform.partition.claim import Identity
from perdure_platform.partition.lanes import Lanes
from perdure_platform.partition.runs import Runs
from perdure_platform.store.memory import MemoryStores
from perdure_platform.store.tables import Tables, digest
from perdure_schemas import codec, commands, events
from perdure_schemas.commands import Command, CommandBody, ReplyAddress, Request
from perdure_schemas.history import CommitRecord
from perdure_schemas.live import LiveState, Verdict, judge
from perdure_schemas.payload import Payload
from perdure_schemas.placement import partition_of
from perdure_schemas.replies import Accepted, WorkflowStarted

NAMESPACE = "sim"
STEP_MS = 20
SESSION_MS = 2_000


def plain(text: str) -> tuple[Payload, ...]:
    """JSON as it is."""
    return (Payload({"encoding": b"json/plain"}, text.encode()),)


class Clock:
    """Moves when told."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


@dataclass
class Process:
    """An owner process: what dies with it, and what stays."""

    node: Node
    calls: PortCalls


@dataclass
class Asked:
    """A client's request, repeated until it is answered."""

    command: Command
    sent_ms: int
    answer: Any = None


@dataclass
class World:
    """One namespace. `duplicates`: every n-th report of a worker is sent twice."""

    partitions: int = 2
    duplicates: int = 3
    clock: Clock = field(default_factory=Clock)
    stores: MemoryStores = field(default_factory=MemoryStores)
    asked: dict[str, Asked] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.medium = MemoryMedium(self.clock, self.clock)
        self.log = MemoryLog(self.medium)
        self.log.default_partitions = self.partitions
        ensure_namespace(self.log, NAMESPACE)
        self.described = describe_namespace(self.log, NAMESPACE)
        self._ids = itertools.count(1)
        self._positions: dict[tuple[str, int], int] = defaultdict(int)
        self._reports = 0
        self.process: Process | None = None

    # -- processes

    def start(self, calls: PortCalls | None = None) -> Process:
        """Start an owner process."""
        counted = calls or PortCalls()
        log: Any = Port(self.log, counted, "log")
        around = Surroundings(
            log=log,
            lanes=Lanes(log),
            host=CodeHost(WORKFLOWS, deadlock_timeout_ms=0),
            stores=StoresPort(self.stores, counted),
            task_topics=TaskTopics(log, NAMESPACE),
            identity=Identity("sim", "sim", 1, "sim"),
            limits=OwnerLimits(claim_backoff_first_ms=STEP_MS, idle_position_ms=200),
            monotonic_ms=lambda: float(self.clock.ms),
            new_id=lambda: f"claim-{next(self._ids)}",
            jitter=lambda: 0.5,
        )
        membership = log.membership("owners", f"{NAMESPACE}.commands", SESSION_MS)
        self.process = Process(Node(NAMESPACE, self.described, around, membership), counted)
        return self.process

    def lose_process(self, batches_lost: int) -> None:
        """SIGKILL: memory is gone, and each store may be back a few batches."""
        self.process = None
        for store in self.stores.stores.values():
            store.opened().crash(batches_lost)

    # -- clients and workers

    def ask(self, workflow_id: str, body: CommandBody) -> str:
        """A client asks for something, and repeats it until it is answered."""
        request_id = f"request-{next(self._ids)}"
        request = Request(request_id, self.clock.ms + 3_600_000, ReplyAddress("client", 0))
        self.asked[request_id] = Asked(Command(workflow_id, body, request), 0)
        return request_id

    def send(self, command: Command) -> None:
        """Append a command."""
        partition = partition_of(command.workflow_id, self.partitions)
        self.medium.append(f"{NAMESPACE}.commands", partition, command.workflow_id.encode(), codec.encode_command(command))

    def _client(self) -> None:
        for asked in self.asked.values():
            if asked.answer is None and self.clock.ms - asked.sent_ms >= 1_000:
                asked.sent_ms = self.clock.ms
                self.send(asked.command)
        for record in self._new_records(f"{NAMESPACE}.replies"):
            reply = codec.decode_reply(record.value)
            if reply.request_id in self.asked and isinstance(reply.body, WorkflowStarted | Accepted):
                self.asked[reply.request_id].answer = reply.body

    def _worker(self) -> None:
        for name in self.medium.names(f"{NAMESPACE}.tasks."):
            for record in self._new_records(name):
                task = codec.decode_task(record.value)
                reference = commands.ActivityReference(task.run_id, task.scheduled_event_id, task.attempt)
                self._reports += 1
                done = Command(task.workflow_id, commands.CompleteActivity(reference, plain(f'"{task.activity_type}"')))
                self.send(done)
                if self._reports % self.duplicates == 0:
                    self.send(done)

    def _new_records(self, topic: str) -> list[Any]:
        found = []
        for partition in range(self.log.describe_topics([topic], 0)[topic].partitions):
            records = self.medium.read(topic, partition, self._positions[topic, partition], 10_000)
            if records:
                self._positions[topic, partition] = records[-1].offset + 1
                found.extend(records)
        return found

    # -- running

    def step(self, *, owner: bool = True) -> None:
        """Everybody once, and a little time."""
        if owner and self.process is not None:
            self.process.node.turn(0)
        self._worker()
        self._client()
        self.clock.ms += STEP_MS

    def run_until_done(self, steps_max: int = 3_000) -> None:
        """Run until every request is answered and every workflow that ends by itself has ended. Crash passes through."""
        quiet = 0
        for _ in range(steps_max):
            self.step()
            quiet = quiet + 1 if self.is_done() else 0
            if quiet > 60:  # effects, positions and `released` have settled as well
                return
        raise AssertionError(f"not done after {steps_max} steps: {self.what_is_open()}")

    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return all(asked.answer is not None for asked in self.asked.values()) and not self.what_is_open()

    def what_is_open(self) -> list[str]:
        """Workflows that should have ended and have not."""
        started = {asked.command.workflow_id for asked in self.asked.values() if isinstance(asked.command.body, commands.StartWorkflow)}
        closed = {workflow_id for workflow_id, kinds in self.kinds().items() if "WorkflowExecutionCompleted" in kinds}
        return sorted(name for name in started - closed if not name.startswith("account"))

    # -- what the log says

    def live(self) -> list[tuple[int, int, CommitRecord]]:
        """(partition, offset, record) of every live commit record, by a reader from 0."""
        found = []
        for partition in range(self.partitions):
            state = LiveState()
            for record in self.medium.read(f"{NAMESPACE}.history", partition, 0, 1_000_000):
                history = codec.decode_history(record.value)
                verdict, state = judge(state, history)
                if verdict is Verdict.LIVE and isinstance(history, CommitRecord):
                    found.append((partition, record.offset, history))
        return found

    def kinds(self) -> dict[str, list[str]]:
        """Names of events by workflow id."""
        found: dict[str, list[str]] = defaultdict(list)
        for _, _, record in self.live():
            for transition in record.transitions:
                found[transition.workflow_id].extend(type(event).__name__ for event in (*transition.inbound, *transition.produced))
        return found

    def check(self) -> None:
        """P1 to P8."""
        records = self.live()
        self._check_requests(records)
        self._check_histories(records)
        self._check_messages(records)
        self._check_stores()

    def _check_requests(self, records: list[tuple[int, int, CommitRecord]]) -> None:
        settled = Counter(request.request_id for _, _, record in records for request in record.requests)
        for request_id, asked in self.asked.items():
            assert asked.answer is not None, f"P1: {request_id} was never answered"
            assert settled[request_id] == 1, f"P1: {request_id} is {settled[request_id]} times in the log"

    def _check_histories(self, records: list[tuple[int, int, CommitRecord]]) -> None:
        next_id: dict[tuple[str, str], int] = {}
        outcomes: Counter[tuple[str, int]] = Counter()
        timers: dict[tuple[str, int], int] = {}
        for _, _, record in records:
            for transition in record.transitions:
                run = (transition.workflow_id, transition.run_id)
                assert transition.first_event_id == next_id.get(run, 1), f"P2: {run} goes on at event {transition.first_event_id}"
                for event_id, event in enumerate((*transition.inbound, *transition.produced), transition.first_event_id):
                    if isinstance(event, events.ActivityTaskCompleted | events.ActivityTaskFailed | events.ActivityTaskTimedOut):
                        outcomes[transition.run_id, event.scheduled_event_id] += 1
                    if isinstance(event, events.TimerStarted):
                        timers[transition.run_id, event_id] = record.time_ms + event.delay_ms
                    if isinstance(event, events.TimerFired):
                        assert record.time_ms >= timers[transition.run_id, event.started_event_id], f"P5: {run} fired a timer early"
                next_id[run] = transition.first_event_id + len(transition.inbound) + len(transition.produced)
        assert all(count == 1 for count in outcomes.values()), f"P3: {outcomes}"

    def _check_messages(self, records: list[tuple[int, int, CommitRecord]]) -> None:
        transitions = [transition for _, _, record in records for transition in record.transitions]
        sent = [
            (event.workflow_id, event.input[0].data)
            for transition in transitions
            for event in transition.produced
            if isinstance(event, events.SignalExternalWorkflowExecutionInitiated)
        ]
        received = [
            (transition.workflow_id, event.input[0].data)
            for transition in transitions
            for event in transition.inbound
            if isinstance(event, events.WorkflowExecutionSignaled) and event.source is not None
        ]
        assert Counter(sent) == Counter(received), "P4: messages between workflows were lost or doubled"
        ordered: dict[str, list[int]] = defaultdict(list)
        for _, _, record in records:
            for transition in record.transitions:
                for event in transition.inbound:
                    if isinstance(event, events.WorkflowExecutionSignaled) and event.name == "count":
                        ordered[transition.workflow_id].append(int(event.input[0].data))
        assert all(numbers == sorted(numbers) for numbers in ordered.values()), f"P6: {ordered}"

    def _check_stores(self) -> None:
        assert self.process is not None
        for partition, assigned in self.process.node.partitions.items():
            assert assigned.stage is Stage.LEADING, f"partition {partition} is {assigned.stage}: {assigned.failure}"
            store = self.stores.stores[partition]
            folded = fold_partition(self.log, NAMESPACE, partition, MemoryStores(), Tables(store).positions().next_offset)
            assert folded.digest == digest(store), f"P8: the store of partition {partition} is not the fold of its log"
            self._replay_all(Tables(store))

    @staticmethod
    def _replay_all(tables: Tables) -> None:
        """P7: every run's code, taken through its records, asks for the same again (ActivationError otherwise)."""
        runs = Runs(tables, CodeHost(WORKFLOWS, deadlock_timeout_ms=0), NAMESPACE, 100)
        for _, summary in tables.summaries():
            run = runs.load(summary.workflow_id, summary.run_id)
            assert run is not None
            runs.rebuild(run).close()


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
    return calls.crashed_in
