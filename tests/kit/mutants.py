"""Tempting misreadings of the protocol, as patches of the real code. Names are those of the flags of the protocol's executable model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from perdure._log.port import Delivery
from perdure_platform.node.assignment import AssignedPartition, Stage
from perdure_platform.partition import apply, confirm, owner, rebuild
from perdure_platform.partition.append import Appender
from perdure_platform.partition.apply import Applier
from perdure_platform.partition.barrier import Barrier, Question
from perdure_platform.partition.claim import Claiming
from perdure_platform.partition.confirm import decode_record
from perdure_platform.partition.lanes import EffectToken, Lanes
from perdure_platform.partition.owner import PartitionOwner
from perdure_platform.partition.rebuild import Rebuild
from perdure_platform.partition.release import Releaser
from perdure_platform.partition.start import StartSearch
from perdure_platform.partition.transition import activity, deadlines
from perdure_platform.partition.transition.draft import Decision, Draft
from perdure_platform.partition.transition.effects import SendCommand, effects_of
from perdure_platform.partition.transition.positions import advance as original_advance
from perdure_platform.partition.trim import Decided, Trimmer
from perdure_platform.store import keys
from perdure_schemas.commands import ResolveExternalSignal
from perdure_schemas.history import AppliedOffset, Checkpoint, Claim, CommitRecord, Mark, OutboundCommand
from perdure_schemas.live import LiveState, Verdict, judge
from perdure_schemas.replies import Refused
from perdure_schemas.topics import history_topic

Patch = Callable[[pytest.MonkeyPatch], None]
Judge = Callable[[LiveState, Any], tuple[Verdict, LiveState]]


def _set_judge(patch: pytest.MonkeyPatch, mutant: Judge) -> None:
    """For owners and rebuilds; the reader that checks them keeps the real one."""
    for module in (confirm, rebuild):
        patch.setattr(module, "judge", mutant)


# -- which records are live (design.md 3.1, 3.2)


def no_seq(patch: pytest.MonkeyPatch) -> None:
    """No sequence in the live rule."""

    def mutant(state: LiveState, record: Any) -> tuple[Verdict, LiveState]:
        if isinstance(record, Claim) or record.claim_id != state.claim_id:
            return judge(state, record)
        return Verdict.LIVE, replace(state, sequence=record.sequence, live_count=state.live_count + 1)

    _set_judge(patch, mutant)


def claim_latest(patch: pytest.MonkeyPatch) -> None:
    """The latest claim is in force, whatever it names, and goes on with its sequence."""
    sequences: dict[str, int] = {}

    def mutant(state: LiveState, record: Any) -> tuple[Verdict, LiveState]:
        sequences[state.claim_id] = max(sequences.get(state.claim_id, 0), state.sequence)
        if isinstance(record, Claim):
            sequence = sequences.get(record.claim_id, 0)
            return Verdict.LIVE, LiveState(record.claim_number, record.claim_id, sequence, state.live_count + 1)
        return judge(state, record)

    _set_judge(patch, mutant)


def claim_latest_reset(patch: pytest.MonkeyPatch) -> None:
    """The latest claim is in force, and starts a sequence."""

    def mutant(state: LiveState, record: Any) -> tuple[Verdict, LiveState]:
        if isinstance(record, Claim):
            return Verdict.LIVE, LiveState(record.claim_number, record.claim_id, 0, state.live_count + 1)
        return judge(state, record)

    _set_judge(patch, mutant)


def claim_first(patch: pytest.MonkeyPatch) -> None:
    """A claim counts where its id is seen first, whatever it names."""
    seen: dict[str, tuple[int, str]] = {}

    def mutant(state: LiveState, record: Any) -> tuple[Verdict, LiveState]:
        if not isinstance(record, Claim):
            return judge(state, record)
        place = seen.setdefault(record.claim_id, (state.live_count, state.claim_id))
        if place != (state.live_count, state.claim_id):
            return Verdict.SUPERSEDED_CLAIM, state
        return Verdict.LIVE, LiveState(record.claim_number, record.claim_id, 0, state.live_count + 1)

    _set_judge(patch, mutant)


def claim_by_owner(patch: pytest.MonkeyPatch) -> None:
    """Records belong to the claim in force if they are its owner's, not if they name it."""
    owners: dict[str, str] = {}

    def mutant(state: LiveState, record: Any) -> tuple[Verdict, LiveState]:
        if isinstance(record, Claim):
            owners[record.claim_id] = record.owner
        elif owners.get(record.claim_id) == owners.get(state.claim_id):
            record = replace(record, claim_id=state.claim_id)
        return judge(state, record)

    _set_judge(patch, mutant)


def alarm(patch: pytest.MonkeyPatch) -> None:
    """A record of a claim that is not in force stops the reader."""

    def mutant(state: LiveState, record: Any) -> tuple[Verdict, LiveState]:
        verdict, after = judge(state, record)
        assert verdict is not Verdict.SUPERSEDED_CLAIM, "alarm: a record of a claim that is not in force"
        return verdict, after

    _set_judge(patch, mutant)


def claim_trusting(patch: pytest.MonkeyPatch) -> None:
    """Leads as soon as its claim is sent."""
    original = AssignedPartition._claim_at_end

    def mutant(self: Any) -> None:
        original(self)
        if self._claiming is not None:
            claim = self._claiming.claim
            positions = self._applier.positions
            live = LiveState(claim.claim_number, claim.claim_id, 0, positions.live.live_count + 1)
            self._applier.positions = replace(positions, live=live)
            self._lead(positions.next_offset)

    patch.setattr(AssignedPartition, "_claim_at_end", mutant)


def claim_sets(patch: pytest.MonkeyPatch) -> None:
    """The positions that a claim's writer had folded replace those of the log where the claim lands."""
    original_init = Claiming.__init__
    folded: dict[str, Any] = {}
    known: dict[str, Any] = {}

    def init(self: Any, topics: Any, identity: Any, claim_id: str, live: LiveState, *rest: Any) -> None:
        folded[claim_id] = known.get(live.claim_id, {}).get(live)
        original_init(self, topics, identity, claim_id, live, *rest)

    def advance(before: Any, record: Any, *rest: Any) -> Any:
        after = original_advance(before, record, *rest)
        if isinstance(record, Claim) and folded.get(record.claim_id) is not None:
            old = folded[record.claim_id]
            after = replace(after, watermark=old.watermark, released=old.released, marks=old.marks)
        known.setdefault(after.live.claim_id, {})[after.live] = after
        return after

    patch.setattr(Claiming, "__init__", init)
    patch.setattr(apply, "advance", advance)


# -- inputs: watermark, applied offsets, marks (design.md 3.5, 3.6)


def _on_every_record(patch: pytest.MonkeyPatch, changes: Callable[[Any], dict[str, Any]]) -> None:
    original_decide, original_append = PartitionOwner._decide, Appender._append

    def decide(self: Any, *arguments: Any) -> None:
        self._appender.changes = changes(self)
        original_decide(self, *arguments)

    def append(self: Any, record: Any, *rest: Any) -> None:
        if isinstance(record, CommitRecord) and record.watermark is None:
            record = replace(record, **self.changes)
        original_append(self, record, *rest)

    patch.setattr(PartitionOwner, "_decide", decide)
    patch.setattr(Appender, "_append", append)


def wm_every(patch: pytest.MonkeyPatch) -> None:
    """The turn's watermark in each of its records."""
    _on_every_record(patch, lambda self: {"watermark": self.next_command_offset - 1})


def marks_every(patch: pytest.MonkeyPatch) -> None:
    """The turn's marks in each of its records."""
    _on_every_record(patch, lambda self: {"marks": {str(source): Mark(*mark) for source, mark in self._marks.items()}})


def applied_off(patch: pytest.MonkeyPatch) -> None:
    """No applied offsets."""
    original = PartitionOwner._decode

    def mutant(self: Any, *arguments: Any) -> Any:
        kept, self._applier.applied = self._applier.applied, {}
        try:
            return original(self, *arguments)
        finally:
            self._applier.applied = kept

    patch.setattr(PartitionOwner, "_decode", mutant)


def applied_per_run(patch: pytest.MonkeyPatch) -> None:
    """A new run of a workflow id forgets what was applied before it."""
    original = Applier._commit

    def mutant(self: Any, one: Any, record: Any, batch: Any) -> None:
        original(self, one, record, batch)
        for before, after in one.runs:
            if before is None and self.applied.pop(after.workflow_id, None) is not None:
                batch[keys.applied(after.workflow_id)] = None

    patch.setattr(Applier, "_commit", mutant)


def marks_off(patch: pytest.MonkeyPatch) -> None:
    """No marks."""
    patch.setattr(owner, "is_origin_new", lambda command, marks: True)


# -- refusals (R10)


def refusal_no_record(patch: pytest.MonkeyPatch) -> None:
    """A refusal is told, and not recorded."""
    original = Draft.settle

    def mutant(self: Draft, outcome: Any) -> None:
        if isinstance(outcome, Refused):
            self.answer_request(outcome)
        else:
            original(self, outcome)

    patch.setattr(Draft, "settle", mutant)


def refusal_unordered(patch: pytest.MonkeyPatch) -> None:
    """A refusal is recorded without its place in the order of its workflow id."""
    original_settle, original_send = Draft.settle, Draft.send

    def unplaced(original: Any) -> Any:
        def mutant(self: Draft, *arguments: Any) -> None:
            offset = self._applied_offset
            original(self, *arguments)
            if isinstance(arguments[-1], Refused | ResolveExternalSignal):
                self._applied_offset = offset

        return mutant

    patch.setattr(Draft, "settle", unplaced(original_settle))
    patch.setattr(Draft, "send", unplaced(original_send))


def _refusals_in_one_record(patch: pytest.MonkeyPatch, *, first: bool) -> None:
    original_add, original_end = Appender.add, Appender.end_turn

    def add(self: Any, decision: Decision, now_ms: int, released: int, extra: Any = ()) -> None:
        if not hasattr(self, "decisions"):
            self.decisions = []
        self.decisions.append((decision, now_ms, released, extra))

    def without_refusals(decision: Decision) -> Decision:
        refused = {request.request_id for request in decision.requests if isinstance(request.outcome, Refused)}
        return replace(
            decision,
            requests=tuple(request for request in decision.requests if request.request_id not in refused),
            replies=tuple(reply for reply in decision.replies if reply.request_id not in refused),
            commands=tuple(command for command in decision.commands if not _is_refusal(command)),
        )

    def add_refusals(self: Any, decisions: list[Any]) -> None:
        refusing = [decision for decision, *_ in decisions if without_refusals(decision) != decision]
        if not refusing:
            return
        _, now_ms, released, _ = decisions[0]
        together = Decision(
            "",
            (),
            None,
            (),
            tuple(request for decision in refusing for request in decision.requests if isinstance(request.outcome, Refused)),
            tuple(r for decision in refusing for r in decision.replies if r not in without_refusals(decision).replies),
            tuple(command for decision in refusing for command in decision.commands if _is_refusal(command)),
            (),
            (),
        )
        original_add(self, together, now_ms, released)
        record, workflow_id, runs = self._held
        applied = tuple(AppliedOffset(decision.workflow_id, decision.applied_offset) for decision in refusing)
        self._held = (replace(record, applied=applied), workflow_id, runs)

    def end_turn(self: Any, *arguments: Any) -> bool:
        decisions, self.decisions = getattr(self, "decisions", []), []
        if decisions and first:
            add_refusals(self, decisions)
        for decision, *rest in decisions:
            original_add(self, without_refusals(decision), *rest)
        if decisions and not first:
            add_refusals(self, decisions)
        return original_end(self, *arguments)

    patch.setattr(Appender, "add", add)
    patch.setattr(Appender, "end_turn", end_turn)


def _is_refusal(command: OutboundCommand) -> bool:
    return isinstance(command.body, ResolveExternalSignal) and command.body.failure is not None


def refusals_one_last(patch: pytest.MonkeyPatch) -> None:
    """All refusals of a turn in one record behind those of its runs."""
    _refusals_in_one_record(patch, first=False)


def refusals_one_first(patch: pytest.MonkeyPatch) -> None:
    """All refusals of a turn in one record before those of its runs."""
    _refusals_in_one_record(patch, first=True)


# -- outputs (design.md 3.6, R8, R9)


def released_on_send(patch: pytest.MonkeyPatch) -> None:
    """`released` moves when effects are sent."""
    patch.setattr(Releaser, "released", property(lambda self: self._last_offset))


def release_early(patch: pytest.MonkeyPatch) -> None:
    """Effects leave when their record is appended."""
    original = PartitionOwner._end_turn

    def mutant(self: Any, now_ms: int, admitted: Any) -> None:
        original(self, now_ms, admitted)
        for ahead, sent in enumerate(self.confirmer.in_flight):
            offset = self._applier.positions.next_offset + ahead
            if isinstance(sent.record, CommitRecord):
                lookup = owner._RecordRuns(sent.runs, self._runs)
                for index, effect in enumerate(effects_of(sent.record, self._topics.partition, offset, lookup)):
                    self._releaser._send(offset, index, effect)

    patch.setattr(PartitionOwner, "_end_turn", mutant)


def effects_no_fifo(patch: pytest.MonkeyPatch) -> None:
    """Commands leave through a producer that keeps no order."""
    original = Lanes.__init__

    def mutant(self: Any, log: Any, monotonic_ms: Any) -> None:
        original(self, log, monotonic_ms)
        self._commands = log.producer(Delivery.PIPELINED)

    patch.setattr(Lanes, "__init__", mutant)


def effects_gaps(patch: pytest.MonkeyPatch) -> None:
    """A command that failed is sent again by itself, behind those that followed it."""
    effects_no_fifo(patch)

    def turn(self: Any) -> None:
        for producer in (self._history, self._commands, self._others):
            acknowledged, failures = producer.poll()
            self._acknowledge(acknowledged)
            for failure in failures:
                if isinstance(failure.token, EffectToken):
                    failure.token.owner.failed(failure.token.offset, failure.token.index, failure.error)

    patch.setattr(Lanes, "turn", turn)


def park_reissue(patch: pytest.MonkeyPatch) -> None:
    """A command whose delivery failed counts as released, and is issued again by a new record."""
    original = PartitionOwner._end_turn

    def resend(self: Any, error: Exception) -> None:
        self.parked = getattr(self, "parked", [])
        for record in list(self._open):
            for index, effect in sorted(record.effects.items()):
                if isinstance(effect, SendCommand):
                    self.parked.append(OutboundCommand(effect.command.workflow_id, effect.command.body))
                    self.acknowledged(record.offset, index)

    def end_turn(self: Any, now_ms: int, admitted: Any) -> None:
        parked, self._releaser.parked = getattr(self._releaser, "parked", []), []
        if parked:
            again = Decision("", (), None, (), (), (), tuple(parked), (), ())
            self._appender.add(again, now_ms, self._releaser.released)
        original(self, now_ms, admitted)

    patch.setattr(Releaser, "_resend_commands", resend)
    patch.setattr(PartitionOwner, "_end_turn", end_turn)


# -- answers and time (design.md 3.7, 3.9, R12)


def no_barrier(patch: pytest.MonkeyPatch) -> None:
    """Reads are answered at once."""
    patch.setattr(Barrier, "ask", lambda self, answer, sequence: answer())


def barrier_before_turn(patch: pytest.MonkeyPatch) -> None:
    """Reads do not wait for the records of their own turn."""

    def mutant(self: Any, answer: Any, sequence: int) -> None:
        self._questions.append(Question(answer, 0, self._numbers_made + 1))

    patch.setattr(Barrier, "ask", mutant)


def no_drain(patch: pytest.MonkeyPatch) -> None:
    """Timeouts fire by the clock alone."""
    original = deadlines.fire

    def mutant(draft: Draft) -> None:
        draft.context = replace(draft.context, caught_up_ms=draft.context.now_ms)
        original(draft)

    patch.setattr(deadlines, "fire", mutant)


def any_result(patch: pytest.MonkeyPatch) -> None:
    """A result counts whatever its attempt."""

    def mutant(draft: Draft, reference: Any) -> Any:
        run = draft.open_run
        return None if run is None else run.activities.get(reference.scheduled_event_id)

    patch.setattr(activity, "find", mutant)


# -- trimming (design.md 3.8)


def carry_noop(patch: pytest.MonkeyPatch) -> None:
    """A carried run is skipped, as a downstream consumer would."""
    patch.setattr(Applier, "_carry", lambda self, one, carried, batch: None)


def carried_current(patch: pytest.MonkeyPatch) -> None:
    """A carried run becomes its id's current run."""
    patch.setattr(Applier, "_is_current", lambda self, run, first_offset: True)


def ckpt_no_reqs(patch: pytest.MonkeyPatch) -> None:
    """A checkpoint holds no request ids."""
    original = Appender.checkpoint

    def mutant(self: Any, watermark: int, released: int, marks: Any, applied: Any, now_ms: int, requests: Any, *rest: Any) -> None:
        original(self, watermark, released, marks, applied, now_ms, [()], *rest)

    patch.setattr(Appender, "checkpoint", mutant)


def ckpt_no_applied(patch: pytest.MonkeyPatch) -> None:
    """A checkpoint holds no applied offsets."""
    original = Appender.checkpoint

    def mutant(self: Any, watermark: int, released: int, marks: Any, applied: Any, *rest: Any) -> None:
        original(self, watermark, released, marks, (), *rest)

    patch.setattr(Appender, "checkpoint", mutant)


def trim_unreleased(patch: pytest.MonkeyPatch) -> None:
    """Trims while effects are not acknowledged, and takes them for released."""
    original = Trimmer.turn

    def mutant(self: Any, now_ms: int, *, is_settled: bool, in_flight_bytes: int) -> None:
        original(self, now_ms, is_settled=is_settled or not in_flight_bytes, in_flight_bytes=in_flight_bytes)

    def decided(self: Any) -> Decided:
        return replace(original_decided(self), released=self._applier.positions.next_offset - 1)

    original_decided = PartitionOwner._decided
    patch.setattr(PartitionOwner, "_decided", decided)
    patch.setattr(Trimmer, "turn", mutant)


def delete_unconfirmed(patch: pytest.MonkeyPatch) -> None:
    """Deletes the prefix as soon as the record that names the new start is sent."""
    original = Appender.checkpoint

    def mutant(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        self.named = arguments[6]

    def turn(self: Any, now_ms: int, *, is_settled: bool, in_flight_bytes: int) -> None:
        original_turn(self, now_ms, is_settled=is_settled, in_flight_bytes=in_flight_bytes)
        named = getattr(self._appender, "named", -1)
        if named > 0:
            self._log.truncate_before(history_topic(self._topics.namespace), self._topics.partition, named, 0)

    original_turn = Trimmer.turn
    patch.setattr(Appender, "checkpoint", mutant)
    patch.setattr(Trimmer, "turn", turn)


def late_reader_jumps(patch: pytest.MonkeyPatch) -> None:
    """A reader behind the log's start goes on at the start."""

    def mutant(self: Any, start: int) -> None:
        assert self._applier is not None
        self._applier.positions = replace(self._applier.positions, next_offset=start)
        self._moved = True

    patch.setattr(AssignedPartition, "_begin_search", mutant)


def claim_waits(patch: pytest.MonkeyPatch) -> None:
    """Who waits for its claim goes on waiting when a trim has deleted the place."""
    original = AssignedPartition._begin_search

    def mutant(self: Any, start: int) -> None:
        if self.stage is not Stage.CLAIMING:
            original(self, start)
            return
        self._rebuild.fold = lambda records: []
        self._applier.positions = replace(self._applier.positions, next_offset=start)
        self._moved = True

    patch.setattr(AssignedPartition, "_begin_search", mutant)


def start_anywhere(patch: pytest.MonkeyPatch) -> None:
    """Any checkpoint is a start, whatever is missing."""

    def take(self: Any, records: Any) -> None:
        for record in records:
            if isinstance(decode_record(record), Checkpoint):
                self._named.add(record.offset)
            self.next_offset = record.offset + 1

    patch.setattr(StartSearch, "take", take)
    patch.setattr(Rebuild, "_check_start", lambda self, checkpoint, offset: None)
    patch.setattr(Rebuild, "check_complete", lambda self: None)
