"""Misreadings of when an owner owns, and of when it has to stop (design.md 3.1, 3.3, 3.4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perdure._log.port import Record
from perdure_platform.node.assignment import AssignedPartition
from perdure_platform.partition import apply, confirm
from perdure_platform.partition.apply import Judged
from perdure_platform.partition.claim import Claiming
from perdure_platform.partition.confirm import Confirmer, Retired, decode_record
from perdure_platform.partition.lanes import Lanes
from perdure_platform.partition.transition.positions import advance as original_advance
from perdure_schemas.history import Claim
from perdure_schemas.live import LiveState, Verdict, judge


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


def _dead(self: Any, record: Record, verdict: Verdict) -> Judged:
    self.dead[verdict.value] += 1
    return confirm._judged(record, decode_record(record), verdict, self.live, ())


def goes_on_after_claim(patch: pytest.MonkeyPatch) -> None:
    """An owner takes no notice of a claim that supersedes its own."""
    original = Confirmer._foreign

    def mutant(self: Any, record: Record) -> Judged:
        if decode_record(record).claim_number > self.live.claim_number:
            return _dead(self, record, Verdict.SUPERSEDED_CLAIM)
        return original(self, record)

    patch.setattr(Confirmer, "_foreign", mutant)


def goes_on_after_hole(patch: pytest.MonkeyPatch) -> None:
    """An owner goes on with the same producer and memory when an append has failed, or left a hole."""
    original_turn, original_foreign = Lanes.turn, Confirmer._foreign

    def turn(self: Any) -> None:
        self._history.poll()
        original_turn(self)

    def foreign(self: Any, record: Record) -> Judged:
        if judge(self.live, decode_record(record), 0)[0] is Verdict.BEHIND_A_HOLE:
            return _dead(self, record, Verdict.BEHIND_A_HOLE)
        return original_foreign(self, record)

    patch.setattr(Lanes, "turn", turn)
    patch.setattr(Confirmer, "_foreign", foreign)


def copy_retires(patch: pytest.MonkeyPatch) -> None:
    """An owner leaves when it reads a copy of a record of its own."""
    original = Confirmer._foreign

    def mutant(self: Any, record: Record) -> Judged:
        if judge(self.live, decode_record(record), 0)[0] is Verdict.COPY:
            raise Retired(f"a copy at offset {record.offset}")
        return original(self, record)

    patch.setattr(Confirmer, "_foreign", mutant)
