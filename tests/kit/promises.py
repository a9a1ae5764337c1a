"""A reader from 0 that looks at every record as it lands and asks for the promises P1 to P6 of design.md 8.

It shares no code with the owner but the wire records and the live rule. What it cannot say of one record (that nothing is missing, that
stores agree) it says at the end.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from perdure._log.port import Record
from perdure_schemas import codec, events, notes, replies
from perdure_schemas.commands import Command, CompleteActivity, DescribePartition, DescribeWorkflow, QueryWorkflow
from perdure_schemas.errors import CodecError, LogCorrupt
from perdure_schemas.history import Claim, CommitRecord, HistoryRecord, Transition
from perdure_schemas.live import LiveState, Verdict, judge, link_of
from perdure_schemas.replies import Refused, ReplyBody

Run = tuple[str, str]
_OUTCOMES = (
    events.ActivityTaskCompleted,
    events.ActivityTaskFailed,
    events.ActivityTaskTimedOut,
    events.ActivityTaskCanceled,
)


@dataclass
class Asked:
    """A client's request. `floor`: deposits that were acknowledged to anybody before it was first sent."""

    command: Command
    sent_ms: int
    answer: ReplyBody | None = None
    floor: int = 0

    @property
    def is_read(self) -> bool:
        """Whether it leaves no record."""
        return isinstance(self.command.body, (QueryWorkflow, DescribeWorkflow, DescribePartition))


@dataclass
class Account:
    """What an account's records say of it."""

    balance: int = 0
    deposits: int = 0


@dataclass
class Promises:
    """`clock` is the world's; `asked` are the requests that clients made, by id."""

    clock: Callable[[], int]
    asked: dict[str, Asked]
    told: Callable[[Record, HistoryRecord, Verdict], None] | None = None
    told_command: Callable[[Record, Command], None] | None = None
    """Others who want to know of what has landed."""
    live: list[tuple[int, int, CommitRecord]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    settled: dict[str, ReplyBody] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=lambda: defaultdict(Account))
    results: dict[str, str] = field(default_factory=dict)
    _states: dict[int, LiveState] = field(default_factory=lambda: defaultdict(LiveState))
    _live_offsets: set[tuple[int, int]] = field(default_factory=set)
    _commands: dict[tuple[int, int], Command] = field(default_factory=dict)
    _applied: set[tuple[int, int]] = field(default_factory=set)
    _origins: dict[tuple[int, int, int], Command] = field(default_factory=dict)
    _origins_applied: dict[tuple[int, int, int], tuple[int, int]] = field(default_factory=dict)
    _next_event: dict[Run, int] = field(default_factory=dict)
    open: dict[str, str] = field(default_factory=dict)
    parked: list[str] = field(default_factory=list)
    _attempts: dict[tuple[str, int], int] = field(default_factory=dict)
    _outcomes: set[tuple[str, int]] = field(default_factory=set)
    _timers: dict[tuple[str, int], int] = field(default_factory=dict)
    _deadlines: dict[tuple[str, int], int] = field(default_factory=dict)
    _results_landed: dict[tuple[str, int], int] = field(default_factory=dict)
    _failed: set[tuple[str, int]] = field(default_factory=set)
    _sent: dict[tuple[str, int], str] = field(default_factory=dict)
    _received: dict[tuple[str, int], str] = field(default_factory=dict)
    _resolved: set[tuple[str, int]] = field(default_factory=set)
    _last_from: dict[tuple[str, str], int] = field(default_factory=dict)
    _last_number: dict[str, int] = field(default_factory=dict)
    _poison: set[tuple[int, int]] = field(default_factory=set)
    _dead_lettered: set[tuple[int, int]] = field(default_factory=set)

    def watch(self, record: Record) -> None:
        """Look at a record that has just landed."""
        kind = record.topic.split(".")[1]
        if kind == "history":
            self._history(record)
        elif kind == "commands":
            self._command(record)
        elif kind == "tasks":
            task = codec.decode_task(record.value)
            assert (task.run_id, task.scheduled_event_id) in self._attempts, f"a task left for what is not in the log: {task}"
        elif kind == "replies":
            reply = codec.decode_reply(record.value)
            if reply.request_id in self.asked:
                if isinstance(reply.body, replies.Refused) and reply.body.code == replies.RefusalCode.PARTITION_STOPPED:
                    return  # it says that nobody knows
                self._reply(self.asked[reply.request_id], reply.request_id, reply.body)

    # -- what leaves

    def _command(self, record: Record) -> None:
        try:
            command = codec.decode_command(record.value)
        except CodecError:
            self._poison.add((record.partition, record.offset))
            return
        self._commands[record.partition, record.offset] = command
        if self.told_command is not None:
            self.told_command(record, command)
        if isinstance(command.body, CompleteActivity):
            self._results_landed.setdefault((command.body.activity.run_id, command.body.activity.scheduled_event_id), record.timestamp_ms)
        if command.origin is None:
            return
        origin = (command.origin.partition, command.origin.offset, command.origin.index)
        assert origin[:2] in self._live_offsets, f"a command left for record {origin[:2]}, which is not live: {command}"
        known = self._origins.setdefault(origin, command)
        assert known == command, f"P4: two commands under origin {origin}: {known} and {command}"

    def _reply(self, asked: Asked, request_id: str, body: ReplyBody) -> None:
        if isinstance(body, replies.WorkflowBlocked):
            return  # beside the answer of a start that waits for the result
        if not asked.is_read:
            assert self.settled.get(request_id) == body, (
                f"P1: {request_id} was told {body}, and the log says {self.settled.get(request_id)}"
            )
        elif isinstance(body, replies.QueryAnswered) and asked.command.workflow_id in self.accounts:
            told = json.loads(body.result[0].data)
            known = self.accounts[asked.command.workflow_id].deposits
            assert told >= asked.floor, f"stale read: {request_id} was told of {told} deposits, {asked.floor} were acknowledged before"
            assert told <= known, f"dirty read: {request_id} was told of {told} deposits, the log holds {known}"
            self.seen["query answered"] += 1

    # -- what is recorded

    def _history(self, record: Record) -> None:
        history = codec.decode_history(record.value)
        try:
            verdict, self._states[record.partition] = judge(self._states[record.partition], history, link_of(record.value))
        except LogCorrupt as error:
            raise AssertionError(f"P2: the reader from 0 stops at {record.partition}:{record.offset}: {error}") from error
        self.seen[f"{verdict} {'claim' if isinstance(history, Claim) else 'record'}"] += 1
        if self.told is not None:
            self.told(record, history, verdict)
        if verdict is not Verdict.LIVE:
            return
        self._live_offsets.add((record.partition, record.offset))
        if not isinstance(history, CommitRecord):
            self.seen[f"live {type(history).__name__}"] += 1
            return
        assert history.time_ms <= self.clock(), f"a record of {history.time_ms}, and it is {self.clock()}"
        for offset in history.command_offsets:
            self._apply_command(record.partition, offset, history)
        for request in history.requests:
            assert request.request_id not in self.settled, f"P1: {request.request_id} is twice in the log"
            self.settled[request.request_id] = request.outcome
            if isinstance(request.outcome, Refused):
                self.seen["request refused"] += 1
        for letter in history.dead_letters:
            poison = (letter.source_partition, letter.source_offset)
            assert poison not in self._dead_lettered, f"P9: {poison} is a dead letter twice"
            self._dead_lettered.add(poison)
        for transition in history.transitions:
            self._transition(transition, history.time_ms)
        self.live.append((record.partition, record.offset, history))

    def _apply_command(self, partition: int, offset: int, history: CommitRecord) -> None:
        command = self._commands.get((partition, offset))
        assert (partition, offset) not in self._applied, f"P4: command {partition}:{offset} was applied twice: {command}"
        self._applied.add((partition, offset))
        if command is None or command.origin is None:
            return
        origin = (command.origin.partition, command.origin.offset, command.origin.index)
        assert origin not in self._origins_applied, f"P4: command of {origin} was applied at {self._origins_applied[origin]} and {offset}"
        self._origins_applied[origin] = (partition, offset)

    def _transition(self, transition: Transition, time_ms: int) -> None:
        run = (transition.workflow_id, transition.run_id)
        assert transition.first_event_id == self._next_event.get(run, 1), f"P2: {run} goes on at event {transition.first_event_id}"
        if transition.first_event_id == 1:
            other = self.open.get(transition.workflow_id)
            assert other is None, f"P2: {transition.workflow_id} has run {other} open, and another one begins"
            self.open[transition.workflow_id] = transition.run_id
        both = (*transition.inbound, *transition.produced)
        for event_id, event in enumerate(both, transition.first_event_id):
            self.kinds[transition.workflow_id].append(type(event).__name__)
            self._event(transition.workflow_id, transition.run_id, event_id, event, time_ms)
        for note in transition.notes:
            if isinstance(note, notes.ActivityAttemptFailed):
                self._attempts[transition.run_id, note.scheduled_event_id] = note.attempt + 1
            elif isinstance(note, notes.RunParked):
                self.seen["run parked"] += 1
                self.parked.append(transition.workflow_id)
        self._next_event[run] = transition.first_event_id + len(both)

    def _event(self, workflow_id: str, run_id: str, event_id: int, event: events.Event, time_ms: int) -> None:
        match event:
            case events.WorkflowExecutionStarted():
                self._started(workflow_id, event)
            case events.ActivityTaskScheduled():
                self._attempts[run_id, event_id] = 1
                self._deadlines[run_id, event_id] = time_ms + event.schedule_to_close_timeout_ms
            case events.TimerStarted():
                self._timers[run_id, event_id] = time_ms + event.delay_ms
            case events.TimerFired():
                assert time_ms >= self._timers[run_id, event.started_event_id], f"P5: {workflow_id} fired a timer early"
            case events.SignalExternalWorkflowExecutionInitiated():
                self._sent[run_id, event_id] = event.workflow_id
            case events.ExternalWorkflowExecutionSignaled() | events.SignalExternalWorkflowExecutionFailed():
                message = (run_id, event.initiated_event_id)
                assert message not in self._resolved, f"P4: {workflow_id} heard twice of {event}"
                self._resolved.add(message)
                if isinstance(event, events.SignalExternalWorkflowExecutionFailed):
                    self.seen["message refused"] += 1
                    self._failed.add(message)
            case events.WorkflowExecutionSignaled():
                self._signaled(workflow_id, event)
            case events.WorkflowExecutionCompleted():
                self.results[workflow_id] = json.loads(event.result[0].data)
            case _:
                pass
        if isinstance(event, _OUTCOMES):
            key = (run_id, event.scheduled_event_id)
            assert key not in self._outcomes, f"P3: {workflow_id} has two outcomes of event {event.scheduled_event_id}"
            self._outcomes.add(key)
            if isinstance(event, events.ActivityTaskTimedOut):
                self.seen["activity timed out"] += 1
                landed, deadline = self._results_landed.get(key), self._deadlines[key]
                assert landed is None or landed >= deadline, f"P5: {workflow_id} gave up at {deadline}, its result was there at {landed}"
            if isinstance(event, events.ActivityTaskCompleted):
                attempt = json.loads(event.result[0].data)
                assert attempt == self._attempts[key], f"P3: {workflow_id} took the result of attempt {attempt}, not {self._attempts[key]}"
        if isinstance(event, events.CloseEvent):
            del self.open[workflow_id]

    def _started(self, workflow_id: str, event: events.WorkflowExecutionStarted) -> None:
        if event.workflow_type == "SimAccount":
            balance, deposits = (json.loads(value.data) for value in event.input)
            account = self.accounts[workflow_id]
            assert (balance, deposits) == (account.balance, account.deposits), (
                f"P4: {workflow_id} goes on with {balance} and {deposits} deposits, and was told of {account}"
            )

    def _signaled(self, workflow_id: str, event: events.WorkflowExecutionSignaled) -> None:
        if event.source is not None:
            message = (event.source.run_id, event.source.initiated_event_id)
            assert self._sent.get(message) == workflow_id, f"P4: {workflow_id} got {message}, sent to {self._sent.get(message)}"
            assert message not in self._received, f"P4: {workflow_id} got {message} twice"
            self._received[message] = workflow_id
            last = self._last_from.get((event.source.run_id, workflow_id), 0)
            assert message[1] > last, f"P6: {workflow_id} got {message} behind {last}"
            self._last_from[event.source.run_id, workflow_id] = message[1]
        number = json.loads(event.input[0].data)
        if event.name == "count":
            assert number > self._last_number.get(workflow_id, 0), f"P6: {workflow_id} got {number} behind {self._last_number}"
            self._last_number[workflow_id] = number
        elif workflow_id.startswith("account"):
            self.accounts[workflow_id].balance += number
            self.accounts[workflow_id].deposits += event.name == "deposit"

    # -- at the end

    def check_nothing_is_missing(self) -> None:
        """Every request is answered and settled, every message was received and acknowledged."""
        for request_id, asked in self.asked.items():
            assert asked.answer is not None, f"P1: {request_id} was never answered: {asked.command}"
            assert asked.is_read or request_id in self.settled, f"P1: {request_id} is not in the log"
        assert not self._failed & self._received.keys(), f"P4: refused and received: {sorted(self._failed & self._received.keys())}"
        lost = self._sent.keys() - self._received.keys() - self._failed
        assert not lost, f"P4: messages were lost: {sorted(lost)}"
        unheard = self._sent.keys() - self._resolved
        assert not unheard, f"P4: nobody heard what became of {sorted(unheard)}"
        never = self._origins.keys() - self._origins_applied.keys()
        assert not never, f"P4: commands that arrived and were not applied: {sorted(never)}"
        assert self._poison <= self._dead_lettered, f"P9: poison that is no dead letter: {sorted(self._poison - self._dead_lettered)}"
