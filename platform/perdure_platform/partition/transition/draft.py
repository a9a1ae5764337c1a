"""A decision in the making: what one batch of inputs of one workflow id does, before it becomes a record.

Handlers and deadlines write here and nowhere else. Each event is folded as it is made, so that the next input of the batch meets
its outcome. What leaves the draft is a `Decision`: the parts of a commit record, and the run states on both sides of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from perdure._replay.actions import Action
from perdure._replay.host import Activation
from perdure_platform.partition.transition import fold
from perdure_platform.partition.transition.sizes import answered_bytes, grown_bytes, payload_bytes, settled_bytes
from perdure_platform.partition.transition.state import RunState
from perdure_schemas.commands import Command, CommandBody, ReplyAddress, Request
from perdure_schemas.events import Event, ResultWaiter, WorkflowExecutionStarted
from perdure_schemas.history import AddressedReply, OutboundCommand, SettledRequest, Transition
from perdure_schemas.notes import Note
from perdure_schemas.replies import Outcome, ReplyBody

GROWN_BYTES_FULL = 1024 * 1024
"""A record that has grown by so much takes nothing more: an activity that closes adds up to thrice PAYLOADS_BYTES_MAX, its last failure
twice and its details, to inputs of which the owner takes half a record."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A command, where it lies in the log, the trace it belongs to, and why it must be refused, if it must."""

    offset: int
    command: Command
    trace_parent: str = ""
    size_bytes: int = 0
    objection: str = ""


@dataclass(frozen=True, slots=True)
class Due:
    """The clock has passed the run's next deadline."""


@dataclass(frozen=True, slots=True)
class TaskUndeliverable:
    """A task of the run could not be written to its queue (R9). `offset` and `index` name the effect."""

    run_id: str
    scheduled_event_id: int
    attempt: int
    reason: str
    offset: int = -1
    index: int = 0


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A process has taken the partition: the run's code was blocked, and may have been mended."""


@dataclass(frozen=True, slots=True)
class Park:
    """Inputs of the run have ended this many owners; its code is not run again until an operator says so (R14)."""

    strikes: int


Input = Arrived | Due | TaskUndeliverable | TakenOver | Park


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply that changes nothing and so needs no record, but must wait for the read barrier (design.md 3.7)."""

    address: ReplyAddress
    request_id: str
    body: ReplyBody


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision may know beside the run: times and positions that the owner vouches for.

    `caught_up_ms`: commands have been read to an end offset that was fetched at this time (R12). `leading_since_ms`: when this claim
    was confirmed. `activate` runs the code, and `discard` drops an instance whose outcome was refused. `run_id_seed` names the
    partition of this very topic, so that run ids derived from offsets never repeat.
    """

    now_ms: int
    caught_up_ms: int
    leading_since_ms: int
    run_id_seed: str
    settled: Callable[[str, str], SettledRequest | None]
    activate: Callable[[RunState, Activation], tuple[tuple[Action, ...], tuple[int, ...]]]
    discard: Callable[[str], None]


@dataclass(slots=True)
class RunDraft:
    """The part of a draft that belongs to one run."""

    before: RunState | None
    state: RunState
    first_event_id: int
    inbound: list[Event] = field(default_factory=list)
    produced: list[Event] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    activated: bool = False
    flags: tuple[int, ...] = ()
    _sized: tuple[int, int] = (0, 0)

    def transition(self) -> Transition:
        """The draft as a part of a record."""
        return Transition(
            self.state.workflow_id,
            self.state.run_id,
            self.first_event_id,
            tuple(self.inbound),
            tuple(self.produced),
            tuple(self.notes),
            self.activated,
            self.flags,
        )

    def size_bytes(self) -> int:
        """Roughly how large the transition is; counted anew only when events were added."""
        count = len(self.inbound) + len(self.produced)
        if count != self._sized[0]:
            self._sized = (count, payload_bytes(self.inbound) + payload_bytes(self.produced))
        return self._sized[1]

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened to the run."""
        return not (self.inbound or self.produced or self.notes or self.activated)


@dataclass(frozen=True, slots=True)
class Decision:
    """What goes into one commit record, the states around it, and the answers that wait for it."""

    workflow_id: str
    runs: tuple[RunDraft, ...]
    applied_offset: int | None
    command_offsets: tuple[int, ...]
    requests: tuple[SettledRequest, ...]
    replies: tuple[AddressedReply, ...]
    commands: tuple[OutboundCommand, ...]
    answers: tuple[Answer, ...]
    waiters: tuple[tuple[str, ResultWaiter], ...]
    left: tuple[Input, ...] = ()
    """Inputs that are to be decided next, because their outcome may not fit into this record."""

    @property
    def is_recorded(self) -> bool:
        """Whether there is anything that the log has to know."""
        return bool(self.runs or self.requests or self.commands or self.replies)


class Draft:
    """One batch of inputs being decided; see the module's text."""

    def __init__(self, workflow_id: str, state: RunState | None, context: Context) -> None:
        self.workflow_id = workflow_id
        self.context = context
        self._state = state
        self._current: RunDraft | None = None
        self._runs: list[RunDraft] = []
        self._offset: int | None = None
        self._offsets: list[int] = []
        self._request: Request | None = None
        self._applied_offset: int | None = None
        self._requests: list[SettledRequest] = []
        self._replies: list[AddressedReply] = []
        self._commands: list[OutboundCommand] = []
        self._answers: list[Answer] = []
        self._waiters: list[tuple[str, ResultWaiter]] = []
        self.retry_now = False
        self.left: tuple[Input, ...] = ()
        self._taken_bytes = 0
        """Of the commands so far, as they came."""
        self._grown_bytes = 0
        """Of what their outcome, or the clock, added to them."""

    # -- what handlers read

    @property
    def state(self) -> RunState | None:
        """The workflow id's current run as decided so far."""
        return self._state

    @property
    def open_run(self) -> RunState | None:
        """The current run if it is open."""
        return self._state if self._state is not None and self._state.is_open else None

    @property
    def now_ms(self) -> int:
        """The time of the record in the making."""
        return self.context.now_ms

    @property
    def run(self) -> RunDraft:
        """The current run, to be changed."""
        if self._current is None:
            assert self._state is not None, "no run to change"
            copy = self._state.copy()
            self._current = RunDraft(self._state, copy, copy.next_event_id)
            self._runs.append(self._current)
            self._state = copy
        return self._current

    # -- what handlers write

    def take(self, arrived: Arrived) -> None:
        """Handlers now work for this command."""
        self._offset = arrived.offset
        self._request = arrived.command.request
        self._taken_bytes += arrived.size_bytes

    def inbound(self, event: Event) -> None:
        """An event from outside happened to the current run; its code will see it."""
        run = self.run
        run.inbound.append(event)
        fold.fold_inbound(run.state, event, self.now_ms)
        self._grown_bytes += grown_bytes(event)
        self._settle_offset()

    def note(self, note: Note) -> None:
        """Keep a fact that the code does not see."""
        run = self.run
        run.notes.append(note)
        fold.fold_note(run.state, note, self.now_ms)
        self._grown_bytes += grown_bytes(note)
        self._settle_offset()

    def produce(self, event: Event) -> None:
        """The run's code, or its close, made an event."""
        run = self.run
        run.produced.append(event)
        fold.fold_event(run.state, event, self.now_ms)

    def activated(self, flags: tuple[int, ...]) -> None:
        """The run's code has seen everything that was pending."""
        run = self.run
        run.activated = True
        run.flags = flags
        fold.fold_activated(run.state, flags)

    def begin_run(self, run_id: str, started: WorkflowExecutionStarted) -> None:
        """A new run of the workflow id; it is the current one from here on."""
        state = fold.begin(self.workflow_id, run_id, started, self.now_ms)
        self._current = RunDraft(None, state, 1)
        self._runs.append(self._current)
        self._state = state
        self.inbound(started)

    def new_run_id(self, *parts: object) -> str:
        """A run id that nobody has to remember: the same inputs at the same place of the same log give the same id."""
        digest = hashlib.blake2b(repr((self.context.run_id_seed, self.workflow_id, *parts)).encode(), digest_size=16).hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"

    def settle(self, outcome: Outcome) -> None:
        """The client's request comes to this, now and for each retry (R10, R11); without a request, the offset alone is settled."""
        request = self._request
        if request is not None:
            self._requests.append(SettledRequest(self.workflow_id, request.request_id, request.expires_at_ms, outcome))
            self.reply(request.reply_to, request.request_id, outcome)
        self._settle_offset()

    def reply(self, address: ReplyAddress | None, request_id: str, body: ReplyBody) -> None:
        """Answer once the record is live."""
        if address is not None:
            self._replies.append(AddressedReply(address, request_id, body))

    def answer(self, address: ReplyAddress | None, request_id: str, body: ReplyBody) -> None:
        """Answer without a record, behind the read barrier."""
        if address is not None:
            self._answers.append(Answer(address, request_id, body))

    def answer_request(self, body: ReplyBody) -> None:
        """Answer the client's request without a record."""
        if self._request is not None:
            self.answer(self._request.reply_to, self._request.request_id, body)

    def reply_request(self, body: ReplyBody) -> None:
        """Tell the client, once the record is live, something beside its request's outcome."""
        if self._request is not None:
            self.reply(self._request.reply_to, self._request.request_id, body)

    def send(self, workflow_id: str, body: CommandBody) -> None:
        """Send a command to another run once the record is live."""
        self._commands.append(OutboundCommand(workflow_id, body))
        self._settle_offset()

    def wait_for_close(self, run_id: str) -> None:
        """Keep the client's address in memory until the run closes."""
        if self._request is not None and self._request.reply_to is not None:
            self._waiters.append((run_id, ResultWaiter(self._request.reply_to, self._request.request_id)))

    def result_waiter(self) -> ResultWaiter | None:
        """The client's address, to be kept in the log."""
        request = self._request
        return ResultWaiter(request.reply_to, request.request_id) if request is not None and request.reply_to is not None else None

    @property
    def offset(self) -> int | None:
        """The offset of the command at hand."""
        return self._offset

    @property
    def has_request(self) -> bool:
        """Whether a client waits for an outcome (a worker's report has none)."""
        return self._request is not None

    @property
    def brought_news(self) -> bool:
        """Whether this batch holds an event that the current run's code has not seen before, or the code itself may be new."""
        return self.retry_now or (self._current is not None and bool(self._current.inbound))

    @property
    def is_full(self) -> bool:
        """Whether the outcome of one more activity may not fit into the record."""
        return self._grown_bytes > GROWN_BYTES_FULL

    def has_room_for(self, item: Input) -> bool:
        """Whether what comes of `item` fits; what the clock brings has to fit beside the commands, and is as large as they may be."""
        return not (self.is_full or (isinstance(item, Due) and self._taken_bytes > GROWN_BYTES_FULL))

    def size_bytes(self) -> int:
        """Roughly how large the record will be."""
        beside = sum(map(settled_bytes, self._requests)) + sum(map(answered_bytes, self._replies))
        return beside + self._grown_bytes + sum([run.size_bytes() for run in self._runs])

    def already_settled(self, command: Command) -> bool:
        """Whether the command's request has its outcome; if so, the client gets it again."""
        request = command.request
        if request is None:
            return False
        for settled in self._requests:
            if settled.request_id == request.request_id:
                self.answer(request.reply_to, request.request_id, settled.outcome)
                return True
        known = self.context.settled(self.workflow_id, request.request_id)
        if known is not None:
            self.answer(request.reply_to, request.request_id, known.outcome)
        return known is not None

    def _settle_offset(self) -> None:
        if self._offset is not None and (self._applied_offset is None or self._offset > self._applied_offset):
            self._applied_offset = self._offset
            self._offsets.append(self._offset)

    def decided(self) -> Decision:
        """The finished decision."""
        for run in self._runs:
            run.state.history_bytes += run.size_bytes()
        return Decision(
            self.workflow_id,
            tuple(run for run in self._runs if not run.is_empty),
            self._applied_offset,
            tuple(self._offsets),
            tuple(self._requests),
            tuple(self._replies),
            tuple(self._commands),
            tuple(self._answers),
            tuple(self._waiters),
            self.left,
        )
