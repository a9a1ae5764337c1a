"""Misreadings of which records are live, and of what stops a reader (design.md 3.1, 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from perdure._log.port import Record
from perdure_platform.partition import confirm, rebuild, start
from perdure_platform.partition.apply import Applier, Judged
from perdure_platform.partition.confirm import decode_record
from perdure_schemas.errors import LogCorrupt
from perdure_schemas.history import Checkpoint, Claim, HistoryRecord, PositionRecord
from perdure_schemas.live import LiveState, Verdict, judge

Judge = Callable[[LiveState, Any, int], tuple[Verdict, LiveState]]


def _set_judge(patch: pytest.MonkeyPatch, mutant: Judge) -> None:
    """For owners and rebuilds; the reader that checks them keeps the real one."""
    for module in (confirm, rebuild):
        patch.setattr(module, "judge", mutant)


def claim_ignored(patch: pytest.MonkeyPatch) -> None:
    """A record that follows in sequence is live, whichever claim it names."""

    def mutant(state: LiveState, record: Any, link: int) -> tuple[Verdict, LiveState]:
        if not isinstance(record, Claim):
            record = replace(record, claim_number=state.claim_number, claim_id=state.claim_id, follows=0)
        return judge(state, record, link)

    _set_judge(patch, mutant)


def seq_rises(patch: pytest.MonkeyPatch) -> None:
    """The sequence of a claim need only rise."""

    def mutant(state: LiveState, record: Any, link: int) -> tuple[Verdict, LiveState]:
        if isinstance(record, Claim) or record.claim_id != state.claim_id or record.sequence <= state.sequence:
            return judge(state, record, link)
        return Verdict.LIVE, replace(state, sequence=record.sequence, live_count=state.live_count + 1)

    _set_judge(patch, mutant)


def no_seq(patch: pytest.MonkeyPatch) -> None:
    """No sequence in the live rule."""

    def mutant(state: LiveState, record: Any, link: int) -> tuple[Verdict, LiveState]:
        if isinstance(record, Claim) or record.claim_id != state.claim_id:
            return judge(state, record, link)
        return Verdict.LIVE, replace(state, sequence=record.sequence, live_count=state.live_count + 1)

    _set_judge(patch, mutant)


def link_ignored(patch: pytest.MonkeyPatch) -> None:
    """A record counts whatever its writer has sent before it."""

    def mutant(state: LiveState, record: Any, link: int) -> tuple[Verdict, LiveState]:
        return judge(state, record if isinstance(record, Claim) else replace(record, follows=0), link)

    _set_judge(patch, mutant)


def claim_latest(patch: pytest.MonkeyPatch) -> None:
    """The latest claim is in force, whatever it names, and goes on with its sequence."""
    sequences: dict[str, int] = {}

    def mutant(state: LiveState, record: Any, link: int) -> tuple[Verdict, LiveState]:
        sequences[state.claim_id] = max(sequences.get(state.claim_id, 0), state.sequence)
        if isinstance(record, Claim):
            sequence = sequences.get(record.claim_id, 0)
            return Verdict.LIVE, LiveState(record.claim_number, record.claim_id, sequence, state.live_count + 1)
        return judge(state, record, link)

    _set_judge(patch, mutant)


def claim_latest_reset(patch: pytest.MonkeyPatch) -> None:
    """The latest claim is in force, and starts a sequence."""

    def mutant(state: LiveState, record: Any, link: int) -> tuple[Verdict, LiveState]:
        if isinstance(record, Claim):
            return Verdict.LIVE, LiveState(record.claim_number, record.claim_id, 0, state.live_count + 1)
        return judge(state, record, link)

    _set_judge(patch, mutant)


def claim_first(patch: pytest.MonkeyPatch) -> None:
    """A claim counts where its id is seen first, whatever it names."""
    seen: dict[str, tuple[int, str]] = {}

    def mutant(state: LiveState, record: Any, link: int) -> tuple[Verdict, LiveState]:
        if not isinstance(record, Claim):
            return judge(state, record, link)
        place = seen.setdefault(record.claim_id, (state.live_count, state.claim_id))
        if place != (state.live_count, state.claim_id):
            return Verdict.SUPERSEDED_CLAIM, state
        return Verdict.LIVE, LiveState(record.claim_number, record.claim_id, 0, state.live_count + 1)

    _set_judge(patch, mutant)


def claim_by_owner(patch: pytest.MonkeyPatch) -> None:
    """Records belong to the claim in force if they are its owner's, not if they name it."""
    owners: dict[str, str] = {}

    def mutant(state: LiveState, record: Any, link: int) -> tuple[Verdict, LiveState]:
        if isinstance(record, Claim):
            owners[record.claim_id] = record.owner
        elif owners.get(record.claim_id) == owners.get(state.claim_id):
            record = replace(record, claim_id=state.claim_id, follows=0)
        return judge(state, record, link)

    _set_judge(patch, mutant)


def alarm(patch: pytest.MonkeyPatch) -> None:
    """A record of a claim that is not in force stops the reader."""

    def mutant(state: LiveState, record: Any, link: int) -> tuple[Verdict, LiveState]:
        verdict, after = judge(state, record, link)
        assert verdict is not Verdict.SUPERSEDED_CLAIM, "alarm: a record of a claim that is not in force"
        return verdict, after

    _set_judge(patch, mutant)


def trimmed_claim_stops(patch: pytest.MonkeyPatch) -> None:
    """A record of a claim that was trimmed away before this reader began stops it."""
    original_begin, original_apply = Applier.begin, Applier.apply

    def begin(self: Any, offset: int, checkpoint: Checkpoint) -> None:
        self.claims = {checkpoint.claim_id}
        original_begin(self, offset, checkpoint)

    def apply(self: Any, judged: Sequence[Judged]) -> None:
        for one in judged if hasattr(self, "claims") else ():
            if isinstance(one.record, Claim):
                self.claims.add(one.record.claim_id)
            elif one.record.claim_id not in self.claims:
                raise LogCorrupt(f"a record names claim {one.record.claim_id}, which the log does not show")
        original_apply(self, judged)

    patch.setattr(Applier, "begin", begin)
    patch.setattr(Applier, "apply", apply)


def count_ignored(patch: pytest.MonkeyPatch) -> None:
    """A reader does not compare its count of live records with its writer's."""

    def mutant(state: LiveState, record: Any, link: int) -> tuple[Verdict, LiveState]:
        if isinstance(record, PositionRecord | Checkpoint):
            record = replace(record, live_count=state.live_count + 1)
        return judge(state, record, link)

    _set_judge(patch, mutant)


def unknown_skipped(patch: pytest.MonkeyPatch) -> None:
    """A reader steps over what it cannot read."""

    def mutant(record: Record) -> HistoryRecord:
        try:
            return decode_record(record)
        except LogCorrupt:
            return PositionRecord(0, "unreadable", 0, 0, -1, -1, {}, 0)  # nobody's, and so dead

    for module in (confirm, rebuild, start):
        patch.setattr(module, "decode_record", mutant)
