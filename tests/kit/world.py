"""A whole namespace in one thread: owner processes over a log in memory with a clock of its own, workers and clients from a script.

Time moves only here. Owners are real Nodes with real workflow code; a worker answers each task, some of them twice; clients repeat what is
not answered. `kit.promises` looks at every record as it lands, `check` asks for the rest of P1 to P8 of design.md 8, and `perdure_check`
reads the whole log once more, as it would that of a real namespace.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from kit.checking import assert_nothing_broken, check_medium
from kit.ports import Port, PortCalls, StoresPort
from kit.promises import Asked, Promises
from kit.sim_workflows import REFUSED_AMOUNT, WORKFLOWS
from kit.slow_medium import SlowMedium
from kit.stores_check import check_stores
from perdure._log.errors import OffsetOutOfRange
from perdure._log.memory import MemoryLog, MemoryMedium
from perdure._log.memory.consumer import MemoryConsumer
from perdure._log.port import Consumer, Delivery, EndOffsetsRequest, Producer, Record, TopicPartition
from perdure._replay.runtime import CodeHost
from perdure._telemetry import metrics
from perdure_platform.config import OwnerLimits
from perdure_platform.node.assignment import Stage, Surroundings
from perdure_platform.node.node import Node
from perdure_platform.node.topics import TaskTopics, describe_namespace, ensure_namespace
from perdure_platform.partition.claim import Identity
from perdure_platform.partition.decode import FORMAT_LEVEL
from perdure_platform.partition.isolation import ProcessIsolation
from perdure_platform.partition.lanes import Lanes
from perdure_platform.partition.tokens import Tokens
from perdure_platform.store.digest import digest
from perdure_platform.store.memory import MemoryStores
from perdure_schemas import codec, commands
from perdure_schemas.commands import (
    ActivityReference,
    Command,
    CommandBody,
    ReplyAddress,
    Request,
    ResumeWorkflow,
    SignalWorkflow,
    StartWorkflow,
)
from perdure_schemas.errors import PerdureError
from perdure_schemas.failure import ApplicationFailureInfo, Failure
from perdure_schemas.history import CommitRecord
from perdure_schemas.payload import Payload
from perdure_schemas.placement import partition_of
from perdure_schemas.replies import Accepted, RefusalCode, Refused
from perdure_schemas.tasks import ActivityTask

NAMESPACE = "sim"
GAUGES = (metrics.LAG, metrics.IN_FLIGHT, metrics.CACHED_RUNS, metrics.QUEUE_DEPTH)
STEP_MS = 20
BUSY_STEP_MS = 5
"""So long a turn takes, or else who takes one record a turn would fall behind clients that repeat themselves."""

LEAP_MS_MAX = 200
"""Where everybody sleeps, time leaps to when the first wakes, but not further than this."""

REST_MS = 500
REST_STEPS = 8
"""For so long, and so many turns of all, nothing must be left to do before all is done: time can leap further than an owner sleeps."""

SESSION_MS = 2_000
CLIENT_PATIENCE_MS = 1_000
FIRST, SECOND = "owner-1", "owner-2"

LIMITS = OwnerLimits(claim_backoff_first_ms=STEP_MS, claim_backoff_max_ms=1_000, idle_position_ms=200)


def plain(*values: object) -> tuple[Payload, ...]:
    """Values as JSON."""
    return tuple(Payload({"encoding": b"json/plain"}, json.dumps(value).encode()) for value in values)


def open_account() -> StartWorkflow:
    """An account with nothing on it."""
    return StartWorkflow("SimAccount", "sim", plain(0, 0))


def history_of(partition: int) -> TopicPartition:
    """A partition's history."""
    return f"{NAMESPACE}.history", partition


def commands_of(partition: int) -> TopicPartition:
    """A partition's commands."""
    return f"{NAMESPACE}.commands", partition


def transfer(source: str, target: str, amount: int) -> StartWorkflow:
    """A transfer between two accounts."""
    return StartWorkflow("SimTransfer", "sim", plain(source, target, amount))


class Clock:
    """Moves when told."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


class ProcessLog(MemoryLog):
    """One process's connection. It knows its producers, so that what they have on the way can be lost with the process; what is `hidden`
    (a topic and partition) does not reach its consumers for the time being."""

    def __init__(self, medium: SlowMedium, **settings: int) -> None:
        super().__init__(medium, **settings)
        self.producers: list[Producer] = []
        self.hidden: set[TopicPartition] = set()
        self.tells_ends_early = False
        """Whether an end offset is that of the moment of the request, as a broker's answer may be; else that of the moment of the look."""

        self.overtaken = 0
        """How often a reader found that the place where it reads was deleted."""
        self.skips = False
        """Whether the next records that its consumers take are not given to anybody."""
        self._consumers: list[LaggingConsumer] = []

    def request_end_offsets(self, partitions: Sequence[TopicPartition]) -> EndOffsetsRequest:
        return EndsOfThen(self.end_offsets(partitions, 0)) if self.tells_ends_early else super().request_end_offsets(partitions)

    def consumer(self) -> Consumer:
        self._check_open()
        self._consumers = [consumer for consumer in self._consumers if not consumer.is_closed]
        self._consumers.append(LaggingConsumer(self.medium, self))
        return self._consumers[-1]

    @property
    def has_news(self) -> bool:
        """Whether there is something to read."""
        return any(consumer.has_news for consumer in self._consumers)

    def producer(self, delivery: Delivery) -> Producer:
        self.producers.append(super().producer(delivery))
        return self.producers[-1]


@dataclass(frozen=True)
class EndsOfThen:
    """End offsets of the moment at which they were asked for."""

    ends: dict[TopicPartition, int]

    def result(self) -> dict[TopicPartition, int]:
        return self.ends


class LaggingConsumer(MemoryConsumer):
    """Reads everything but what is hidden, and now and then skips what it has taken."""

    def __init__(self, medium: MemoryMedium, log: ProcessLog) -> None:
        super().__init__(medium)
        self._log = log

    def poll(self, records_max: int, timeout_ms: int) -> list[Record]:
        hidden = self._log.hidden - self._paused
        self.pause(hidden)
        try:
            records = super().poll(records_max, timeout_ms)
        except OffsetOutOfRange as error:
            place = error.topic, error.partition
            self._log.overtaken += self._positions.get(place, 0) < self._medium.bounds(*place)[0]
            raise
        finally:
            self.resume(hidden)
        if records and self._log.skips:
            self._log.skips = False
            return []
        return records

    @property
    def is_closed(self) -> bool:
        """Whether it reads no more."""
        return self._closed

    @property
    def has_news(self) -> bool:
        """Whether a poll would give something, or fail."""
        hidden = self._log.hidden | self._paused
        return any(position != self._medium.bounds(*place)[1] for place, position in self._positions.items() if place not in hidden)


@dataclass
class Process:
    """An owner process. It dies with its memory; its stores stay on its machine."""

    name: str
    node: Node
    calls: PortCalls
    log: ProcessLog
    isolation: ProcessIsolation
    began_empty: bool = False
    """Whether its stores were lost before it started, and it has not led since."""
    wakes_at_ms: int = 0

    def sleeps(self, now_ms: int) -> bool:
        """Whether its loop waits: as long as it said, unless there is something to read."""
        return now_ms < self.wakes_at_ms and not self.log.has_news


class SaidMembership:
    """Says what the world wants it to say, true or not."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name

    def poll(self) -> frozenset[int]:
        said = self._world.said
        assert said is not None
        return frozenset(partition for partition, names in said.items() if self._name in names)

    def show(self, positions: Mapping[int, int]) -> None:
        pass

    def leave(self) -> None:
        pass


@dataclass
class World:
    """One namespace. `duplicates`: every n-th report of a worker is sent twice. `said`: partition to the processes that are told to lead
    it; None is a real membership."""

    partitions: int = 2
    duplicates: int = 3
    limits: OwnerLimits = LIMITS
    said: dict[int, set[str]] | None = None
    reads_format_level: int = FORMAT_LEVEL
    tokens: Tokens = Tokens(NAMESPACE)  # noqa: RUF009 - it is frozen
    clock: Clock = field(default_factory=Clock)
    stores: dict[str, MemoryStores] = field(default_factory=lambda: defaultdict(MemoryStores))
    asked: dict[str, Asked] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for gauge in GAUGES:  # processes that ended without a word are still in them, and with those all of the worlds before
            gauge._readers.clear()
        self.medium = SlowMedium(self.clock)
        self.log = MemoryLog(self.medium)
        self.log.default_partitions = self.partitions
        ensure_namespace(self.log, NAMESPACE)
        self.described = describe_namespace(self.log, NAMESPACE)
        self.promises = Promises(self.clock, self.asked)
        self.medium.watch = self.promises.watch
        self.tasks: list[ActivityTask] = []
        self._ids = itertools.count(1)
        self._positions: dict[tuple[str, int], int] = defaultdict(int)
        self._landed_then: Counter[str] = Counter()
        self._reports = 0
        self._deposits_told: dict[str, int] = defaultdict(int)
        self._is_quiet = False
        self.found_right: set[bytes] = set()
        """Logs with their stores that need not be checked again. Failures at neighbouring calls leave the same: worlds may share it."""
        self.told_stopped: dict[str, str] = {}
        """Requests whose clients were told that the partition is stopped, and in which words."""
        self.checks_remainder = True
        """Whether `perdure_check` also reads what is left of a trimmed log as if there had been nothing else."""
        self.observe: Callable[[Process], AbstractContextManager[None]] = lambda process: nullcontext()
        """Surrounds each turn of an owner."""

    # -- processes

    def start(self, calls: PortCalls | None = None, name: str = FIRST) -> Process:
        """Start an owner process."""
        counted, isolation = calls or PortCalls(), ProcessIsolation(lambda: float(self.clock.ms))
        own = ProcessLog(self.medium)
        log: Any = Port(own, counted, "log")
        around = Surroundings(
            log=log,
            lanes=Lanes(log, lambda: float(self.clock.ms)),
            host=CodeHost(WORKFLOWS, deadlock_timeout_ms=0),
            stores=StoresPort(self.stores[name], counted),
            task_topics=TaskTopics(log, NAMESPACE, monotonic_ms=lambda: float(self.clock.ms)),
            audit=_audited,
            aside=_at_once,
            identity=Identity("sim", "sim", 1, "sim", f"instance-{next(self._ids)}", self.reads_format_level),
            isolation=isolation,
            tokens=self.tokens,
            limits=self.limits,
            monotonic_ms=lambda: float(self.clock.ms),
            new_id=lambda: f"claim-{next(self._ids)}",
            jitter=lambda: 0.5,
        )
        real = self.said is None
        membership: Any = log.membership("owners", f"{NAMESPACE}.commands", SESSION_MS) if real else SaidMembership(self, name)
        self.processes[name] = Process(name, Node(NAMESPACE, self.described, around, membership), counted, own, isolation)
        return self.processes[name]

    def lose_process(self, batches_lost: int, name: str = FIRST) -> None:
        """SIGKILL: memory is gone, and each store may be back a few batches."""
        self.processes.pop(name, None)
        for store in self.stores[name].stores.values():
            store.opened().crash(batches_lost)

    # -- clients and workers

    def ask(self, workflow_id: str, body: CommandBody, after_ms: int = 0) -> str:
        """A client asks for something, in a while or at once, and repeats it until it is answered."""
        request_id = f"request-{next(self._ids)}"
        request = Request(request_id, self.clock.ms + 3_600_000, ReplyAddress("client", 0))
        sent_ms = self.clock.ms + after_ms - CLIENT_PATIENCE_MS
        self.asked[request_id] = Asked(Command(workflow_id, body, request), sent_ms, floor=self._deposits_told[workflow_id])
        return request_id

    def send(self, command: Command) -> None:
        """Append a command."""
        partition = partition_of(command.workflow_id, self.partitions)
        self.medium.append(f"{NAMESPACE}.commands", partition, command.workflow_id.encode(), codec.encode_command(command))

    def clients(self) -> None:
        """Clients read their answers, and send what is not answered for long."""
        for record in self._new_records(f"{NAMESPACE}.replies"):
            reply = codec.decode_reply(record.value)
            asked = self.asked.get(reply.request_id)
            if asked is None or asked.answer is not None:
                continue
            if isinstance(reply.body, Refused) and reply.body.code == RefusalCode.PARTITION_STOPPED:
                self.told_stopped[reply.request_id] = reply.body.message  # it asks again, though others would be content with the error
                continue
            if asked.is_read and isinstance(reply.body, Refused) and reply.body.code in (RefusalCode.NOT_READY, RefusalCode.NOT_FOUND):
                continue  # it asks again
            asked.answer = reply.body
            is_deposit = isinstance(asked.command.body, SignalWorkflow) and asked.command.body.name == "deposit"
            self._deposits_told[asked.command.workflow_id] += is_deposit and isinstance(reply.body, Accepted)
        while self.promises.parked:
            self.ask(self.promises.parked.pop(), ResumeWorkflow())  # what an operator does: in these schedules, owners die of other causes
        for asked in list(self.asked.values()):
            if asked.answer is None and self.clock.ms - asked.sent_ms >= CLIENT_PATIENCE_MS:
                asked.sent_ms = self.clock.ms
                self.send(asked.command)

    def workers(self) -> None:
        """Workers take the tasks that are there, and report."""
        for name in self.medium.names(f"{NAMESPACE}.tasks."):
            self.take_tasks(name)
        for task in self.tasks:
            self.report(task)
        self.tasks.clear()

    def take_tasks(self, topic: str) -> None:
        """Read new tasks."""
        self.tasks += [codec.decode_task(record.value) for record in self._new_records(topic)]

    def report(self, task: ActivityTask) -> None:
        """The end of one attempt; the result is its number. Odd withdrawals fail at first, unlucky deposits for good."""
        reference = ActivityReference(task.run_id, task.scheduled_event_id, task.attempt)
        amount = json.loads(task.input[0].data)
        body: CommandBody = commands.CompleteActivity(reference, plain(task.attempt))
        if task.activity_type == "withdraw" and amount % 2 and task.attempt == 1:
            body = commands.FailActivity(reference, Failure("busy", info=ApplicationFailureInfo("Busy")))
        elif task.activity_type == "deposit" and amount == REFUSED_AMOUNT:
            body = commands.FailActivity(reference, Failure("no", info=ApplicationFailureInfo("No", non_retryable=True)))
        self._reports += 1
        for _ in range(1 if self._reports % self.duplicates else 2):
            self.send(Command(task.workflow_id, body))

    def _new_records(self, topic: str) -> list[Any]:
        if self._landed_then[topic] == self.medium.landed[topic]:
            return []
        self._landed_then[topic] = self.medium.landed[topic]
        found = []
        for partition in range(self.log.describe_topics([topic], 0)[topic].partitions):
            records = self.medium.read(topic, partition, self._positions[topic, partition], 10_000)
            if records:
                self._positions[topic, partition] = records[-1].offset + 1
                found.extend(records)
        return found

    # -- running

    def turn(self, process: Process) -> None:
        """One turn of its loop."""
        with self.observe(process):
            process.node.turn(0)
        process.wakes_at_ms = self.clock.ms + process.node.wait_ms()

    def step(self) -> None:
        """Everybody once, and a little time. Crash passes through."""
        self._everybody(self._running())
        self.clock.ms += STEP_MS

    def go_on(self) -> None:
        """Everybody who does not sleep once, and as much time as passes until somebody has something to do."""
        self._everybody([process for process in self._running() if not process.sleeps(self.clock.ms)])
        self.clock.ms += self._until_somebody_wakes_ms()

    def _everybody(self, processes: list[Process]) -> None:
        self._is_quiet = False
        for process in processes:
            self.turn(process)
        self.workers()
        self.clients()

    def _running(self) -> list[Process]:
        return [process for process in self.processes.values() if process.name not in self.paused]

    def _until_somebody_wakes_ms(self) -> int:
        if any(process.log.has_news for process in self._running()):
            return BUSY_STEP_MS
        times = [process.wakes_at_ms for process in self._running()]
        times += [asked.sent_ms + CLIENT_PATIENCE_MS for asked in self.asked.values() if asked.answer is None]
        return max(STEP_MS, min(min(times, default=0) - self.clock.ms, LEAP_MS_MAX))

    def run_until_done(self, steps_max: int = 3_000) -> None:
        """Run until every request is answered, every workflow that ends by itself has ended, and positions have settled."""
        done_since_ms, rested = 0, 0
        for _ in range(steps_max):
            self.go_on()
            rested = rested + 1 if self.is_done() else 0
            if rested == 1:
                done_since_ms = self.clock.ms
            if rested > REST_STEPS and self.clock.ms - done_since_ms > REST_MS:
                self._is_quiet = True
                return
        raise AssertionError(f"not done after {steps_max} steps: {self.what_is_open()}")

    def run_until_answered(self, steps_max: int = 3_000) -> None:
        """Run until every request is answered."""
        for _ in range(steps_max):
            unanswered = [asked.command for asked in self.asked.values() if asked.answer is None]
            if not unanswered:
                return
            self.go_on()
        raise AssertionError(f"P1: no answer after {steps_max} steps: {unanswered}")

    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return all(asked.answer is not None for asked in self.asked.values()) and not self.what_is_open()

    def what_is_open(self) -> list[str]:
        """Workflows that should have ended and have not, and partitions that have not settled."""
        open_ids = sorted(name for name in self.promises.open if not name.startswith(("account", "brief")))
        owners = self._owners()
        unled = [f"partition {p}" for p in range(self.partitions) if p not in owners or not owners[p].is_settled]
        return open_ids + unled + ["appends"] * bool(self.medium.on_the_way)

    def _owners(self) -> dict[int, Any]:
        return {
            partition: assigned.owner
            for process in self.processes.values()
            for partition, assigned in process.node.partitions.items()
            if assigned.owner is not None
        }

    # -- what the log says

    def live(self) -> list[tuple[int, int, CommitRecord]]:
        """(partition, offset, record) of every live commit record, by a reader from 0."""
        return self.promises.live

    def check(self) -> None:
        """What can only be said at the end: nothing is missing, money is where it should be, stores and code follow from the log."""
        self.promises.check_nothing_is_missing()
        self._check_money()
        for process in self.processes.values():
            for partition, assigned in process.node.partitions.items():
                assert assigned.stage is not Stage.STOPPED, f"partition {partition} stopped: {assigned.failure}"
        if (left := self._left()) not in self.found_right:
            check_stores(self.medium, NAMESPACE, self.stores)
            reports = check_medium(self.medium, NAMESPACE, self.medium.deleted, quiescent=self._is_quiet, remainder=self.checks_remainder)
            for report in reports:
                assert_nothing_broken(report)
            self.found_right.add(left)

    def _left(self) -> bytes:
        """One digest of all that checks of the log and of stores look at."""
        left = hashlib.blake2b(repr((self._is_quiet, self.checks_remainder)).encode(), digest_size=16)
        for topic, described in self.medium.describe(self.medium.names("")).items():
            for place in ((topic, partition) for partition in range(described.partitions)):
                start, end = self.medium.bounds(*place)
                records = [*self.medium.deleted.get(place, ()), *self.medium.read(*place, start, end - start)]
                left.update(repr((place, start, [(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in records])).encode())
        for name, stores in sorted(self.stores.items()):
            for partition, store in sorted(stores.stores.items()):
                left.update(f"{name} {partition} {digest(store.opened())} ".encode())
        return left.digest()

    def _check_money(self) -> None:
        deposits = [a for a in self.asked.values() if isinstance(a.command.body, SignalWorkflow) and a.command.body.name == "deposit"]
        accepted = [a for a in deposits if isinstance(a.answer, Accepted)]
        balances = sum(account.balance for account in self.promises.accounts.values())
        expected = sum(json.loads(asked.command.body.input[0].data) for asked in accepted)  # type: ignore[union-attr]
        assert balances == expected, f"P4: accounts hold {balances}, and {expected} were deposited"
        for workflow_id, result in self.promises.results.items():
            if workflow_id.startswith("transfer"):
                moves = self.promises.kinds[workflow_id].count("SignalExternalWorkflowExecutionInitiated")
                assert moves == {"done": 2, "refunded": 4}[result], f"{workflow_id} is {result} after {moves} moves"


def _audited() -> Future[None]:
    """The topics of the simulation are as they must be, and their audit takes no time."""
    future: Future[None] = Future()
    future.set_result(None)
    return future


def _at_once(call: Callable[[], None]) -> Future[None]:
    """What blocks elsewhere takes no time here."""
    future: Future[None] = Future()
    try:
        call()
        future.set_result(None)
    except PerdureError as error:
        future.set_exception(error)
    return future
