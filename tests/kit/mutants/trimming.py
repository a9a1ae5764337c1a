"""Misreadings of trimming: what is carried, what a checkpoint holds, where a log may begin (design.md 3.8, R5, R6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from perdure_platform.node.assignment import AssignedPartition, Stage
from perdure_platform.partition import trim
from perdure_platform.partition.append import Appender
from perdure_platform.partition.apply import Applier, RunChange
from perdure_platform.partition.confirm import decode_record
from perdure_platform.partition.owner import PartitionOwner
from perdure_platform.partition.rebuild import Rebuild
from perdure_platform.partition.start import StartSearch
from perdure_platform.partition.transition.positions import Positions
from perdure_platform.partition.transition.state import RunState
from perdure_platform.partition.trim import Decided, Trimmer
from perdure_platform.store.tables import StoredTransition
from perdure_schemas.history import Carried, CarriedTransition, Checkpoint, Claim, Forget, PositionRecord
from perdure_schemas.live import LiveState
from perdure_schemas.topics import history_topic


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
    _begin_without_proof(patch)


def _begin_without_proof(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Rebuild, "_check_start", lambda self, checkpoint, offset: None)
    patch.setattr(Rebuild, "check_complete", lambda self: None)


def start_first(patch: pytest.MonkeyPatch) -> None:
    """A log begins at the first checkpoint in sight."""

    def take(self: Any, records: Any) -> None:
        for record in records:
            if not self._named and isinstance(decode_record(record), Checkpoint):
                self._named.add(record.offset)
            self.next_offset = record.offset + 1

    patch.setattr(StartSearch, "take", take)
    _begin_without_proof(patch)


def start_at_claim(patch: pytest.MonkeyPatch) -> None:
    """A log may begin at a claim: the position record behind it says how far everything has come."""
    counts: dict[str, int] = {}

    def take(self: Any, records: Any) -> None:
        for record in records:
            history = decode_record(record)
            if isinstance(history, Claim):
                self._named.add(record.offset)
            elif isinstance(history, PositionRecord) and history.sequence == 1:
                counts[history.claim_id] = history.live_count - 2
            self.next_offset = record.offset + 1

    def begin(self: Any, record: Any) -> None:
        claim = decode_record(record)
        assert isinstance(claim, Claim)
        live = LiveState(claim.claim_number - 1, claim.previous_claim_id, 0, counts[claim.claim_id])
        self._applier.positions = Positions(next_offset=record.offset, live=live)

    patch.setattr(StartSearch, "take", take)
    patch.setattr(Rebuild, "_begin", begin)
    _begin_without_proof(patch)


def ckpt_no_marks(patch: pytest.MonkeyPatch) -> None:
    """A checkpoint holds no marks."""
    original = Appender.checkpoint

    def mutant(self: Any, watermark: int, released: int, marks: Any, *rest: Any) -> None:
        original(self, watermark, released, {}, *rest)

    patch.setattr(Appender, "checkpoint", mutant)


def carried_confirmed(patch: pytest.MonkeyPatch) -> None:
    """Runs are carried as they are confirmed, while more of them is in flight."""
    original = Trimmer.turn

    def mutant(self: Any, now_ms: int, *, is_settled: bool, in_flight_bytes: int) -> None:
        original(self, now_ms, is_settled=True, in_flight_bytes=in_flight_bytes)

    def decided(self: Any) -> Decided:
        """What belongs to no run is right."""
        before = original_decided(self)
        return replace(before, requests=(*before.requests, *self._requests.values()))

    original_decided = PartitionOwner._decided
    patch.setattr(PartitionOwner, "_decided", decided)
    patch.setattr(Trimmer, "turn", mutant)


def _carry_changed(patch: pytest.MonkeyPatch, change: Callable[[list[StoredTransition]], list[StoredTransition]]) -> None:
    original = trim._carried_in_parts

    def mutant(stored: Iterable[StoredTransition]) -> list[list[CarriedTransition]]:
        return original(change(list(stored)))

    patch.setattr(trim, "_carried_in_parts", mutant)


def carried_as_one(patch: pytest.MonkeyPatch) -> None:
    """A carried run is one transition: where one ended and the next began is lost."""

    def change(stored: list[StoredTransition]) -> list[StoredTransition]:
        transitions = [one.transition for one in stored]
        last = transitions[-1]
        before = [event for transition in transitions[:-1] for event in (*transition.inbound, *transition.produced)]
        notes = tuple(note for transition in transitions for note in transition.notes)
        return [replace(stored[0], transition=replace(last, first_event_id=1, inbound=(*before, *last.inbound), notes=notes))]

    _carry_changed(patch, change)


def carried_timeless(patch: pytest.MonkeyPatch) -> None:
    """A carried run has the time of its newest transition throughout."""
    _carry_changed(patch, lambda stored: [replace(one, time_ms=stored[-1].time_ms) for one in stored])


def forgets_open(patch: pytest.MonkeyPatch) -> None:
    """Open runs whose records begin before the new start are forgotten instead of carried."""
    original = Appender.carry

    def mutant(self: Any, run: RunState, parts: Any, released: int, now_ms: int) -> None:
        if run.is_open:
            self.forget([run], released, now_ms)
        else:
            original(self, run, parts, released, now_ms)

    patch.setattr(Appender, "carry", mutant)


def forget_unchecked(patch: pytest.MonkeyPatch) -> None:
    """A reader forgets whatever run a record names."""
    original = Rebuild._trimmed

    def mutant(self: Any, record: Forget | Carried) -> tuple[RunChange, ...]:
        if isinstance(record, Carried):
            return original(self, record)
        self._skipped.difference_update(record.runs)
        found = [run for name in record.runs if (run := self._runs.load(name.workflow_id, name.run_id)) is not None]
        for name in record.runs:
            self._runs.forget(name.workflow_id)
        return tuple((run, run) for run in found)

    patch.setattr(Rebuild, "_trimmed", mutant)
