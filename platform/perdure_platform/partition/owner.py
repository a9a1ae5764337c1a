"""PartitionOwner: one partition under one claim. Read `turn` first; everything else is a stage of it.

What belongs here is the order of the stages and what they share. It has no rule of its own: what is live is `confirm`'s to say, what is
decided `transition`'s, what is stored `apply`'s, what leaves and when `release`'s. Memory runs ahead of the log, and the store and the
world see only what is confirmed. A crash at any line loses memory and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from perdure._log.port import EndOffsetsRequest, Log, Record
from perdure._log.progress import GapReadings
from perdure._replay.actions import Action
from perdure._replay.host import REFUSED_BY, Activation
from perdure._telemetry.names import LOG_RUN_ID, LOG_WORKFLOW_ID
from perdure._telemetry.quiet import QuietLogger
from perdure_platform.config import OwnerLimits
from perdure_platform.partition import spans
from perdure_platform.partition.append import Appender
from perdure_platform.partition.apply import Applier, RunChange
from perdure_platform.partition.barrier import ASK_AGAIN_MS, Barrier
from perdure_platform.partition.clock import PartitionClock
from perdure_platform.partition.confirm import Confirmer, Sent
from perdure_platform.partition.containment import DEFECT, ENDS_A_CLAIM, as_failure, brief, dead_letter
from perdure_platform.partition.decode import dead_letter as set_aside
from perdure_platform.partition.decode import decode, is_origin_new
from perdure_platform.partition.isolation import Admitted, Isolation, ProcessIsolation, suspects_of
from perdure_platform.partition.lanes import Lanes
from perdure_platform.partition.query import Reader, blocked_reply, is_newly_blocked
from perdure_platform.partition.rebuild import HistoryGap, Topics
from perdure_platform.partition.release import Releaser
from perdure_platform.partition.runs import Runs
from perdure_platform.partition.timers import DueRuns
from perdure_platform.partition.tokens import Tokens
from perdure_platform.partition.transition import parking
from perdure_platform.partition.transition.caution import last_death_ms
from perdure_platform.partition.transition.decide import ActivationDeferred, blocked, decide, nothing, refused
from perdure_platform.partition.transition.draft import (
    Answer,
    Arrived,
    Context,
    Decision,
    Due,
    Input,
    Park,
    TakenOver,
    TaskUndeliverable,
)
from perdure_platform.partition.transition.effects import effects_of
from perdure_platform.partition.transition.handlers import READS
from perdure_platform.partition.transition.sizes import closed_bytes
from perdure_platform.partition.transition.state import RunState
from perdure_platform.partition.transition.workflow import closed_reply
from perdure_platform.partition.trim import Decided, Trimmer
from perdure_platform.store.tables import Tables
from perdure_schemas.commands import Command
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.events import ActivityTaskScheduled, ResultWaiter
from perdure_schemas.history import AddressedReply, AppliedOffset, Caution, Claim, CommitRecord, Forget, Mark, SettledRequest
from perdure_schemas.notes import ActivationFailed, Note, RunParked
from perdure_schemas.replies import PartitionDescribed
from perdure_schemas.topics import commands_topic, history_topic

logger = QuietLogger("perdure.owner")

WAITERS_MAX = 1_000
"""Clients that wait in memory for one run; the oldest is dropped and asks again."""

REPLIES_BYTES_MAX = 32 * 1024
"""Of their answers, what goes into the record that closes the run; a record filled to its limit has room for so much more."""

REPLY_BYTES = 200
"""An allowance for the address of an answer."""

ISOLATION_LOOK_MS = 2
"""Time after which inputs that wait behind a suspect are looked at again, if nothing comes, in milliseconds."""

DEFECT_LOOK_MS = 10_000
"""A run whose due row could not be decided is looked at again after this."""

OVERDUE_LOOK_MS = 1_000
"""A run that looked due and was not (a takeover moved its deadline) is looked at again after this."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What an owner is made of, all for one partition."""

    topics: Topics
    log: Log
    lanes: Lanes
    tables: Tables
    runs: Runs
    applier: Applier
    releaser: Releaser
    clock: PartitionClock
    isolation: ProcessIsolation
    tokens: Tokens
    limits: OwnerLimits
    aside: Callable[[Callable[[], None]], Future[None]]
    """Makes a call that blocks, elsewhere."""


class PartitionOwner:
    """Leads a partition from the moment its claim counts until Retired is raised or it is closed."""

    def __init__(self, parts: Parts, claim: Claim, claim_offset: int) -> None:
        self._parts = parts
        self._topics, self._lanes, self._tables = parts.topics, parts.lanes, parts.tables
        self._runs, self._applier, self._releaser = parts.runs, parts.applier, parts.releaser
        self._clock, self._limits = parts.clock, parts.limits
        self.claim = claim
        positions = self._applier.positions
        self._leading_since_ms = positions.time_ms
        self.confirmer = Confirmer(positions.live)
        self._appender = Appender(claim, positions.live, self.confirmer, self._send_history)
        self._confirmed_sequence = 0
        self.next_command_offset = positions.watermark + 1
        self._gap = GapReadings()
        self.skipped_commands = False
        """Whether offsets were missing among the commands, so that they have to be read again from `next_command_offset`."""
        self._marks = {int(source): (mark.offset, mark.index) for source, mark in positions.marks.items()}
        self._recorded_marks = dict(self._marks)
        self._requests: dict[tuple[str, str], SettledRequest] = {}
        """Settled by records that are in flight; the store has the others."""
        self._due = DueRuns(self._tables, self._limits.due_runs_max)
        self._overdue: list[str] = []
        self._waiters: dict[str, list[tuple[str, ResultWaiter]]] = {}
        self._barrier = Barrier(self._request_ends, self._read_ends)
        self._reader = Reader(self, self._runs, self._tables, self._tables.store)
        self._reads: list[Command] = []
        self._resting: list[tuple[int, TaskUndeliverable]] = []
        """Undeliverable tasks, each with the sequence of the record behind which that is noted, or known to be of no matter."""
        self._last_append_ms = self._turn_began_ms = now_ms = self._clock.now_ms()
        shared = (self._topics, parts.log, self._tables, self._runs, self._applier, self._appender, self._limits)
        self._trimmer = Trimmer(*shared, now_ms, self._decided, parts.aside)
        blocked, is_behind_a_death = self._blocked(positions.caution)
        suspects = suspects_of(positions.caution, self._tables, blocked if is_behind_a_death else (), self._limits)
        self._isolation = Isolation(parts.isolation, self._topics.partition, suspects, self._limits, self._strike, self._next_due_ms)
        self._is_leaving = self._has_resigned = False
        self._release_again(claim_offset)
        self._appender.position(self.next_command_offset - 1, self._releaser.released, self._all_marks(), self._clock.now_ms())
        self._taken_over = blocked
        """Whose code was blocked when this claim began, and has not been tried since."""
        self._trying_again: frozenset[str] = frozenset()

    # -- the path

    def turn(self, history: Sequence[Record], commands: Sequence[Record]) -> None:
        """Settle what the log gave back, then decide what arrived. Raises Retired, HistoryGap, LogCorrupt."""
        self._settle(history)  # 4 confirm, 5 apply, 6 release
        now_ms = self._turn_began_ms = self._clock.now_ms()
        admitted = self._admit(commands, now_ms)  # everything, unless it may have ended the owner before
        inputs, dead_letters = self._decode(admitted, now_ms)  # 1
        batches = [(workflow_id, batch) for workflow_id, arrived in inputs.items() for batch in self._cut(arrived)]
        for number, (workflow_id, batch) in enumerate(batches, 1):  # each run once
            if number == len(batches) and not dead_letters:
                self._appender.expect_end(self.next_command_offset - 1, self._marks_to_record())
            while batch:
                batch = self._decide(workflow_id, batch, now_ms)  # 2 pure, 3 asynchronous
        # Last: what stood before the turn's other records would be there twice if only a part of the turn landed.
        self._appender.add_dead_letters(dead_letters, now_ms, self._releaser.released)
        self._end_turn(now_ms)

    def _admit(self, commands: Sequence[Record], now_ms: int) -> Admitted:
        due = self._take_undeliverable() if self._trimmer.wants_quiet or self._is_leaving else self._take_due(now_ms)
        return self._isolation.admit(
            self._without_gap(commands),
            due,
            self._applier.positions.caution,
            is_quiet=not self.confirmer.in_flight and not self._trimmer.wants_quiet,
            confirmed_sequence=self._confirmed_sequence,
            caught_up_ms=self._barrier.caught_up_ms,
        )

    def _without_gap(self, commands: Sequence[Record]) -> Sequence[Record]:
        """The commands up to where offsets are missing: a consumer that skips loses what is acknowledged, and nobody sends again (A8).

        Offsets that are missing each time do not exist: a broker may leave some out.
        """
        expected = max(self.next_command_offset, self._isolation.queued_to + 1)
        for index, record in enumerate(commands):
            if record.offset > expected and not self._gap.is_believed(expected):
                self.skipped_commands = True
                return commands[:index]
            expected = max(expected, record.offset + 1)
        return commands

    def _settle(self, history: Sequence[Record]) -> None:
        if not history:
            return
        self._check_complete(history)
        confirmed = self.confirmer.confirm(history)
        self._applier.apply([judged for judged, _ in confirmed])
        for judged, sent in confirmed:
            self._clock.observe(judged.append_time_ms)
            if sent is None:
                continue
            self._confirmed_sequence = sent.record.sequence
            if isinstance(sent.record, CommitRecord):
                for request in sent.record.requests:
                    self._requests.pop((request.workflow_id, request.request_id), None)
            elif isinstance(sent.record, Forget):
                for name in sent.record.runs:
                    self._runs.forget(name.workflow_id)
            if sent.workflow_id:
                self._runs.confirmed(sent.workflow_id)
                self._look_at(sent.workflow_id, self._runs.entry(sent.workflow_id).state)
            self._release(judged.offset, judged.append_time_ms, sent)
        self._let_rest()
        self._runs.trim()

    def _check_complete(self, history: Sequence[Record]) -> None:
        """Raises HistoryGap. What lies behind a claim that was skipped would look like a part of a damaged log (A8)."""
        expected = self._applier.positions.next_offset
        for record in history:
            if record.offset > expected:
                raise HistoryGap(expected, record.offset)
            expected = record.offset + 1

    def _let_rest(self) -> None:
        """An undeliverable task whose note is confirmed holds up `released` no longer."""
        if self._resting:
            for _, task in (one for one in self._resting if one[0] <= self._confirmed_sequence):
                self._releaser.acknowledged(task.offset, task.index)
            self._resting = [one for one in self._resting if one[0] > self._confirmed_sequence]

    def _decode(self, admitted: Admitted, now_ms: int) -> tuple[dict[str, list[Input]], list[DeadLetter]]:
        inputs: dict[str, list[Input]] = {}
        dead_letters: list[DeadLetter] = []
        applied = self._applier.applied
        is_refused = admitted.strikes >= 2 * self._limits.strikes_max  # its code was not even run any more
        for record in admitted.commands:
            if record.offset < self.next_command_offset:
                continue
            if is_refused:
                text = f"{admitted.strikes} owners in a row ended while they took a command for {admitted.workflow_id!r}"
                arrived: Arrived | DeadLetter = set_aside(record, "ends_its_owner", text, now_ms)
            else:
                arrived = self._decoded(record, now_ms)
            self.next_command_offset = record.offset + 1
            if isinstance(arrived, DeadLetter):
                dead_letters.append(arrived)
                continue
            command = arrived.command
            if not is_origin_new(command, self._marks) or applied.get(command.workflow_id, -1) >= record.offset:
                continue
            if type(command.body) in READS:
                self._reads.append(command)
            else:
                inputs.setdefault(command.workflow_id, []).append(arrived)
        for workflow_id, due in admitted.due.items():
            inputs.setdefault(workflow_id, []).extend(due)
        if admitted.strikes >= self._limits.strikes_max:
            inputs.setdefault(admitted.workflow_id, []).append(Park(admitted.strikes))
        return inputs, dead_letters

    def _decoded(self, record: Record, now_ms: int) -> Arrived | DeadLetter:
        try:
            return decode(record, self._topics.partition_count, now_ms, self._parts.tokens)
        except ENDS_A_CLAIM:
            raise
        except Exception as error:
            logger.critical("partition %d: a defect over the command at %d", self._topics.partition, record.offset, exc_info=True)
            return set_aside(record, DEFECT, brief(error), now_ms)

    def _take_due(self, now_ms: int) -> dict[str, list[Input]]:
        self._trying_again, self._taken_over = frozenset(self._taken_over), []
        inputs: dict[str, list[Input]] = {workflow_id: [TakenOver()] for workflow_id in sorted(self._trying_again)}
        for workflow_id, undeliverable in self._take_undeliverable().items():
            inputs.setdefault(workflow_id, []).extend(undeliverable)
        for workflow_id in self._due.take(now_ms):
            inputs.setdefault(workflow_id, []).append(Due())
        return inputs

    def _take_undeliverable(self) -> dict[str, list[Input]]:
        """Also while nothing new is taken: before these are noted, nothing is settled."""
        inputs: dict[str, list[Input]] = {}
        for workflow_id, undeliverable in self._releaser.undeliverable:
            inputs.setdefault(workflow_id, []).append(undeliverable)
        self._releaser.undeliverable.clear()
        return inputs

    def _cut(self, arrived: list[Input]) -> list[tuple[Input, ...]]:
        """Batches of bounded count and size; nearly always one."""
        batches: list[list[Input]] = [[]]
        size_bytes = 0
        for item in arrived:
            size = item.size_bytes if isinstance(item, Arrived) else 0
            full = len(batches[-1]) >= self._limits.activation_inputs_max or size_bytes + size > self._limits.activation_input_bytes_max
            if batches[-1] and full:
                batches.append([])
                size_bytes = 0
            batches[-1].append(item)
            size_bytes += size
        return [tuple(batch) for batch in batches]

    def _decide(self, workflow_id: str, batch: tuple[Input, ...], now_ms: int) -> tuple[Input, ...]:
        """Decide and append; returns what is to be decided in the record that follows."""
        state = self._runs.entry(workflow_id).state
        try:
            decision = decide(state, workflow_id, batch, self._context(now_ms))
            late = self._append(decision, now_ms)
        except ENDS_A_CLAIM:
            raise
        except Exception as error:  # noqa: BLE001 - that is what this is for
            return self._contain(workflow_id, batch, now_ms, error)
        self._remember(decision, batch, late, now_ms)
        return decision.left

    def _append(self, decision: Decision, now_ms: int, dead_letters: tuple[DeadLetter, ...] = ()) -> list[AddressedReply]:
        """Append a decision, or raise with nothing changed. What it closes is told in its record, or by the replies that this returns."""
        closed = self._close_replies(decision)
        fitting = _fitting(closed)
        if decision.is_recorded or dead_letters:
            self._appender.add(decision, now_ms, self._releaser.released, closed[:fitting], dead_letters)
            self._last_append_ms = now_ms
            self._runs.sent(decision.workflow_id)
        return closed[fitting:]

    def _remember(self, decision: Decision, batch: tuple[Input, ...], late: Sequence[AddressedReply], now_ms: int) -> None:
        """Memory follows what was appended, and answers without a record wait for it."""
        workflow_id = decision.workflow_id
        for run in decision.runs:
            self._runs.put(workflow_id, run.state)
            if not run.state.is_open:
                self._drop_waiters_of(workflow_id, run.state.run_id)
            if any(isinstance(note, RunParked) for note in run.notes):
                logger.error("partition %d: %s", self._topics.partition, parking.told(run.state))
            self._tell_refusals(run.notes, workflow_id, run.state.run_id)
        for request in decision.requests:
            self._requests[request.workflow_id, request.request_id] = request
        decided = batch[: len(batch) - len(decision.left)]
        self._resting.extend((self._appender.sequence, item) for item in decided if isinstance(item, TaskUndeliverable))
        self._let_rest()
        later = [Answer(reply.address, reply.request_id, reply.body) for reply in late]
        for answer in (*decision.answers, *self._blocked_answers(decision), *later):
            self._barrier.ask(lambda answer=answer: self._releaser.answer(answer), self._appender.sequence)  # type: ignore[misc]
        for run_id, waiter in decision.waiters:
            self.wait_for_close(workflow_id, run_id, waiter)
        self._look_at(workflow_id, self._runs.entry(workflow_id).state, now_ms if any(isinstance(item, Due) for item in batch) else 0)

    def _contain(self, workflow_id: str, batch: tuple[Input, ...], now_ms: int, error: Exception) -> tuple[Input, ...]:
        """The last line of defence: deciding has failed, and nothing of it is recorded. What came in is recorded and the run blocked.

        Where that fails as well, the inputs are taken one by one, and each that cannot be recorded with its run is set aside.
        """
        self._runs.discard(workflow_id)  # its code may have gone further
        logger.critical(
            "partition %d: a defect over workflow %r, which is blocked; the others go on",
            self._topics.partition,
            workflow_id,
            exc_info=error,
            extra={"partition": self._topics.partition, "workflow_id": workflow_id},
        )
        state = self._runs.entry(workflow_id).state
        try:
            decision = blocked(state, workflow_id, batch, self._context(now_ms), as_failure(error))
            late = self._append(decision, now_ms)
        except ENDS_A_CLAIM:
            raise
        except Exception as problem:  # noqa: BLE001 - as above
            if len(batch) == 1:
                self._set_aside(workflow_id, batch[0], now_ms, problem)
                return ()
            for item in batch:
                left: tuple[Input, ...] = (item,)
                while left:
                    left = self._decide(workflow_id, left, now_ms)
            return ()
        self._remember(decision, batch, late, now_ms)
        return decision.left

    def _tell_refusals(self, added: Sequence[Note], workflow_id: str, run_id: str) -> None:
        """Log what blocks a run without a fault of its code, which its host has told already: a limit, or a type that nobody knows here."""
        for note in added:
            if isinstance(note, ActivationFailed) and note.failure.source == REFUSED_BY:
                logger.warning(
                    "partition %d: a run is blocked and will be tried again: %s",
                    self._topics.partition,
                    note.failure.message,
                    extra={LOG_WORKFLOW_ID: workflow_id, LOG_RUN_ID: run_id},
                )

    def _set_aside(self, workflow_id: str, item: Input, now_ms: int, error: Exception) -> None:
        """An input that cannot be recorded with its run: a command becomes a dead letter, and whoever asked is refused."""
        if not isinstance(item, Arrived):
            logger.critical(
                "partition %d: what is due for workflow %r (%s) cannot be decided, and is looked at again",
                self._topics.partition,
                workflow_id,
                type(item).__name__,
                exc_info=error,
            )
            if isinstance(item, TaskUndeliverable):
                self._resting.append((self._appender.sequence, item))
            self._due.look_again(workflow_id, now_ms + DEFECT_LOOK_MS)
            return
        letter = dead_letter(self._topics.namespace, self._topics.partition, item.offset, item.command, error, now_ms)
        message = f"a command for workflow {workflow_id!r} cannot be decided, and is a dead letter: {brief(error)}. Nothing happened"
        state = self._runs.entry(workflow_id).state
        try:
            decision = refused(state, workflow_id, item, self._context(now_ms), message)
            late = self._append(decision, now_ms, (letter,))
        except ENDS_A_CLAIM:
            raise
        except Exception:
            logger.critical(
                "partition %d: nobody is told of the dead letter of offset %d", self._topics.partition, item.offset, exc_info=True
            )
            decision = nothing(workflow_id, item)
            late = self._append(decision, now_ms, (letter,))
        self._remember(decision, (item,), late, now_ms)

    def _end_turn(self, now_ms: int) -> None:
        watermark = self.next_command_offset - 1
        if self._appender.end_turn(watermark, self._marks_to_record()):
            self._recorded_marks = dict(self._marks)
        self._prepare_reads()
        if not self._reads and self._isolation.wants_record(self._appender.sequence):
            self._position(now_ms)  # what was tried has survived, and nothing else says so
        if self._barrier.turn(now_ms, self.next_command_offset, self._applier.positions.next_offset, self._confirmed_sequence):
            for workflow_id in self._overdue:
                self._due.look_again(workflow_id, now_ms)
            self._overdue.clear()
        self._reader.turn()
        if not self._is_leaving and (self._trimmer.wants_quiet or not self._isolation.is_on):  # a trim half done counts for nothing
            self._trimmer.turn(now_ms, is_settled=self.is_settled, in_flight_bytes=self.confirmer.in_flight_bytes)
        self._write_position_when_idle(now_ms, watermark)

    def _prepare_reads(self) -> None:
        reads, self._reads = self._reads, []
        for at, command in enumerate(reads):
            if self._is_out_of_time:  # queries run code
                self._reads.extend(reads[at:])
                return
            answer = self._reader.prepare(command)
            if answer is not None:
                self._barrier.ask(answer, self._appender.sequence)

    def _write_position_when_idle(self, now_ms: int, watermark: int) -> None:
        if self.confirmer.in_flight or self._trimmer.wants_quiet or now_ms - self._last_append_ms < self._limits.idle_position_ms:
            return
        released = self._releaser.released
        if watermark > self._appender.watermark or self._applier.has_releasable(released):
            self._position(now_ms)

    def _position(self, now_ms: int, *, resigned: bool = False) -> None:
        self._appender.position(self.next_command_offset - 1, self._releaser.released, self._all_marks(), now_ms, resigned=resigned)
        self._recorded_marks = dict(self._marks)
        self._last_append_ms = now_ms

    def _strike(self, workflow_id: str, command_offset: int) -> int:
        now_ms = self._clock.now_ms()
        self._appender.strike(workflow_id, command_offset, self._releaser.released, now_ms)
        self._last_append_ms = now_ms
        return self._appender.sequence

    def _blocked(self, caution: Caution) -> tuple[list[str], bool]:
        """Whose code is blocked and is tried again by this claim, and whether a death has called for it.

        Behind a death, runs beyond the limit of suspects wait until their time comes: one of them may have ended the last owner.
        """
        blocked = [workflow_id for workflow_id, _ in self._tables.failing()]
        is_behind_a_death = last_death_ms(caution) == self._leading_since_ms
        suspects_max = self._limits.suspects_max
        return (blocked[:suspects_max] if is_behind_a_death and suspects_max else blocked), is_behind_a_death

    def _next_due_ms(self, workflow_id: str) -> int:
        state = self._runs.entry(workflow_id).state
        return state.next_due_ms() if state is not None else 0

    # -- effects

    def _release(self, offset: int, append_time_ms: int, sent: Sent) -> None:
        """Not contained: the record is live, and an effect that is skipped is lost; see `containment`."""
        if isinstance(sent.record, CommitRecord):
            lookup = _RecordRuns(sent.runs, self._runs)
            self._releaser.release(offset, effects_of(sent.record, self._topics.partition, offset, lookup))
            spans.emit(sent.record, append_time_ms, lookup)
        else:
            self._releaser.passed(offset)

    def _release_again(self, claim_offset: int) -> None:
        """What the claims before may not have released (design.md 3.6), tasks at rest among it: who gets one early may run it."""
        for offset, record in list(self._tables.unreleased()):
            if offset > self._applier.positions.released:
                self._releaser.release(offset, effects_of(record, self._topics.partition, offset, self._runs))
                spans.emit(record, record.time_ms, self._runs)
        self._releaser.passed(claim_offset)

    def _close_replies(self, decision: Decision) -> list[AddressedReply]:
        """For clients that wait in memory for a run that this decision closes."""
        replies: list[AddressedReply] = []
        waiting = self._waiters.get(decision.workflow_id)
        if not waiting:
            return replies
        for run in decision.runs:
            if not run.state.is_open:
                body = closed_reply(run.state)
                replies.extend(AddressedReply(w.address, w.request_id, body) for run_id, w in waiting if run_id == run.state.run_id)
        return replies

    def _drop_waiters_of(self, workflow_id: str, run_id: str) -> None:
        """Nobody waits any more for a run that is closed; the replies are on their way."""
        waiting = [item for item in self._waiters.pop(workflow_id, []) if item[0] != run_id]
        if waiting:
            self._waiters[workflow_id] = waiting

    def _blocked_answers(self, decision: Decision) -> list[Answer]:
        """Clients that await a run hear what blocks its code as soon as it does; who asks later is told by `query.Reader`."""
        answers: list[Answer] = []
        for run in decision.runs:
            if is_newly_blocked(run.before, run.state):
                body, starter = blocked_reply(run.state), run.state.started.waiter
                waiting = [waiter for run_id, waiter in self._waiters.get(decision.workflow_id, ()) if run_id == run.state.run_id]
                waiting.extend([starter] if starter is not None else [])
                answers.extend(Answer(waiter.address, waiter.request_id, body) for waiter in waiting)
        return answers

    # -- what reads need (query.Partition)

    def wait_for_close(self, workflow_id: str, run_id: str, waiter: ResultWaiter) -> None:
        """Tell the client when the run closes; in memory only, the client asks again."""
        waiting = self._waiters.setdefault(workflow_id, [])
        if (run_id, waiter) not in waiting:
            waiting.append((run_id, waiter))
            del waiting[:-WAITERS_MAX]

    def ask_again(self, command: Command) -> None:
        """Put a read back behind everything decided so far."""
        self._reads.append(command)

    def answer(self, answer: Answer) -> None:
        """Send an answer that the barrier has let through."""
        self._releaser.answer(answer)

    def describe(self) -> PartitionDescribed:
        """Positions and counters for operators."""
        positions = self._applier.positions
        return PartitionDescribed(
            partition=self._topics.partition,
            claim_number=self.claim.claim_number,
            claim_id=self.claim.claim_id,
            owner=self.claim.owner,
            host=self.claim.host,
            sequence=positions.live.sequence,
            live_count=positions.live.live_count,
            watermark=positions.watermark,
            released=self._releaser.released,
            history_offset=positions.next_offset,
            open_runs=self._tables.open_runs(),
            cached_runs=len(self._runs),
            in_flight=len(self.confirmer.in_flight),
            dead=dict(self.confirmer.dead),
        )

    # -- for the node

    @property
    def has_room(self) -> bool:
        """Whether commands may be taken: what is in flight, and what waits to leave, is bounded (design.md 5)."""
        return (
            not self._trimmer.wants_quiet
            and self._isolation.has_room
            and len(self.confirmer.in_flight) < self._limits.in_flight_records_max
            and self.confirmer.in_flight_bytes < self._limits.in_flight_bytes_max
            and self._lanes.waiting < self._limits.unsent_effects_max
            and self._releaser.unreleased_records < self._limits.unreleased_records_max
        )

    @property
    def settled_to(self) -> int:
        """The first command that the log does not say to be settled yet."""
        return self._applier.positions.watermark + 1

    @property
    def is_settled(self) -> bool:
        """Whether nothing is in flight and every effect is acknowledged."""
        return not self.confirmer.in_flight and self._releaser.is_settled and not self._isolation.is_trying

    def resign(self) -> bool:
        """Take nothing more; once everything is settled, record that this owner leaves alive. True when that is done too."""
        if not self._is_leaving:
            self._is_leaving = True
            self._isolation.drop()
        if self.is_settled and not self._has_resigned:
            self._has_resigned = True
            self._position(self._clock.now_ms(), resigned=True)
        return self._has_resigned and self.is_settled

    def wait_ms(self) -> int:
        """How long the loop may sleep if nothing comes."""
        is_reading = self._barrier.is_waiting or bool(self._reads) or self._reader.is_busy
        if is_reading or self._lanes.has_work or self._taken_over or self._trimmer.wants_quiet:
            return 1
        if self._isolation.has_more:
            return ISOLATION_LOOK_MS
        until_due_ms = self._due.next_ms() - self._clock.now_ms() if not self._is_leaving else ASK_AGAIN_MS  # nothing is taken up any more
        is_asking = self._barrier.questions or self._barrier.is_asking_again or self._trimmer.is_deleting
        patience_ms = ASK_AGAIN_MS if is_asking else self._limits.idle_position_ms
        return max(0, min(until_due_ms, patience_ms))

    def close(self) -> None:
        """The claim is over, or the partition was handed over; memory goes."""
        self._isolation.close()
        self._releaser.close()
        self._runs.close()

    # -- small parts

    def _look_at(self, workflow_id: str, state: RunState | None, decided_due_ms: int = 0) -> None:
        """See to it that the run is looked at when it is due; `decided_due_ms` is set where it was looked at just now."""
        due_ms = state.next_due_ms() if state is not None else 0
        if not due_ms:
            return
        if decided_due_ms and due_ms <= decided_due_ms:
            if due_ms > self._barrier.caught_up_ms:
                self._barrier.want_catch_up()
                self._overdue.append(workflow_id)
                return
            self._due.look_again(workflow_id, decided_due_ms + OVERDUE_LOOK_MS)
        else:
            self._due.add(workflow_id, due_ms)

    def _context(self, now_ms: int) -> Context:
        return Context(
            now_ms=now_ms,
            caught_up_ms=self._barrier.caught_up_ms,
            leading_since_ms=self._leading_since_ms,
            run_id_seed=f"{self._topics.history_topic_id}/{self._topics.partition}",
            settled=self._settled,
            activate=self._activate,
            discard=self._runs.discard,
        )

    def _activate(self, run: RunState, activation: Activation) -> tuple[tuple[Action, ...], tuple[int, ...]]:
        """Run the code of a run, unless code has had its time in this turn. Raises ActivationError, ActivationDeferred."""
        if self._is_out_of_time:
            if run.workflow_id in self._trying_again:
                self._taken_over.append(run.workflow_id)
            else:
                self._due.look_again(run.workflow_id, run.activation_due_ms())  # before those that have waited less
            raise ActivationDeferred
        return self._runs.activate(run, activation)

    @property
    def _is_out_of_time(self) -> bool:
        return self._clock.now_ms() - self._turn_began_ms >= self._limits.turn_code_ms_max

    def _settled(self, workflow_id: str, request_id: str) -> SettledRequest | None:
        return self._requests.get((workflow_id, request_id)) or self._tables.request(workflow_id, request_id)

    def _marks_to_record(self) -> dict[str, Mark]:
        return {str(source): Mark(*mark) for source, mark in self._marks.items() if self._recorded_marks.get(source) != mark}

    def _all_marks(self) -> dict[str, Mark]:
        return {str(source): Mark(*mark) for source, mark in self._marks.items()}

    def _decided(self) -> Decided:
        watermark = self.next_command_offset - 1
        applied = tuple(AppliedOffset(name, at) for name, at in sorted(self._applier.applied.items()) if at > watermark)
        caution = self._applier.positions.caution
        return Decided(watermark, self._releaser.released, self._all_marks(), applied, tuple(self._tables.requests()), caution)

    def _send_history(self, key: bytes | None, value: bytes) -> None:
        self._lanes.append_history(history_topic(self._topics.namespace), self._topics.partition, key, value)

    def _request_ends(self) -> EndOffsetsRequest:
        topics = self._topics
        places = [(history_topic(topics.namespace), topics.partition), (commands_topic(topics.namespace), topics.partition)]
        return self._parts.log.request_end_offsets(places)

    def _read_ends(self, request: EndOffsetsRequest) -> tuple[int, int] | None:
        ends = request.result()
        if ends is None:
            return None
        topics = self._topics
        return ends[history_topic(topics.namespace), topics.partition], ends[commands_topic(topics.namespace), topics.partition]


def _fitting(replies: Sequence[AddressedReply]) -> int:
    """How many of `replies` a record takes beside what was decided; the others are sent once it is confirmed."""
    size_bytes = 0
    for at, reply in enumerate(replies):
        size_bytes += REPLY_BYTES + closed_bytes(reply.body)
        if size_bytes > REPLIES_BYTES_MAX:
            return at
    return len(replies)


class _RecordRuns:
    """The runs of a record as they were decided with it: what its effects need is there, without a read."""

    def __init__(self, changes: tuple[RunChange, ...], runs: Runs) -> None:
        self._after = {after.run_id: after for _, after in changes}
        self._runs = runs

    def run(self, workflow_id: str, run_id: str) -> RunState | None:
        return self._after.get(run_id) or self._runs.find(workflow_id, run_id)

    def scheduled(self, workflow_id: str, run_id: str, event_id: int) -> tuple[ActivityTaskScheduled, int] | None:
        after = self._after.get(run_id)
        if after is not None and (activity := after.activities.get(event_id)) is not None:
            return activity.event, activity.scheduled_time_ms
        return self._runs.scheduled(workflow_id, run_id, event_id)
