"""The live rule: which records of a history partition count (design.md 3.1, 3.2; faults.md R1, R3, R4, R18).

This is the one copy; owners, stores, replay tools and downstream readers all call `judge` for each record in
offset order. It belongs here because it needs nothing but the records; it knows no state of any run.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from perdure_schemas.errors import LogCorrupt
from perdure_schemas.history import Checkpoint, Claim, HistoryRecord, PositionRecord
from perdure_schemas.identifiers import NO_CLAIM


class Verdict(StrEnum):
    """Whether a record counts and, where it does not, why."""

    LIVE = "live"
    SUPERSEDED_CLAIM = "superseded_claim"
    COPY = "copy"
    BEHIND_A_HOLE = "behind_a_hole"


@dataclass(frozen=True, slots=True)
class LiveState:
    """What the rule remembers between records: the claim in force, its last live sequence, live records so far.

    `link` is that of the last live record; 0 where it is not known, because reading begins here.
    """

    claim_number: int = 0
    claim_id: str = NO_CLAIM
    sequence: int = 0
    live_count: int = 0
    link: int = 0


def link_of(value: bytes) -> int:
    """What the record that follows says of a record, by the bytes of its value: the first 8 of their SHA-256, as a signed number."""
    return int.from_bytes(hashlib.sha256(value).digest()[:8], "big", signed=True)


def judge(state: LiveState, record: HistoryRecord, link: int) -> tuple[Verdict, LiveState]:
    """Say whether `record`, read next after the records that made `state`, is live, and the state behind it. `link` is its own.

    Claim and sequence alone do not tell a process from its clone (a snapshot that was restored, a checkpoint of a process): both go on
    with the same numbers, and what one has sent ahead would count behind what the other has sent. A record counts only behind the very
    record behind which it was decided.

    Raises LogCorrupt for a record that no correct writer can have appended here: a claim number above those that
    the log has shown, or a live count that differs from the reader's own (a part of the log is missing).
    """
    if isinstance(record, Claim):
        return _judge_claim(state, record, link)
    if record.claim_number > state.claim_number:
        raise LogCorrupt(
            f"a record names claim {record.claim_number}, but the log shows claims only up to {state.claim_number}: "
            "a part of the history topic is missing"
        )
    if record.claim_id != state.claim_id:
        return Verdict.SUPERSEDED_CLAIM, state
    if record.sequence <= state.sequence:
        return Verdict.COPY, state
    if record.sequence != state.sequence + 1 or (record.follows and state.link and record.follows != state.link):
        return Verdict.BEHIND_A_HOLE, state
    live_count = state.live_count + 1
    if isinstance(record, PositionRecord | Checkpoint) and record.live_count != live_count:
        raise LogCorrupt(
            f"record {record.sequence} of claim {record.claim_number} is the {record.live_count}th live record for its "
            f"writer and the {live_count}th for this reader: a part of the history topic is missing"
        )
    return Verdict.LIVE, LiveState(state.claim_number, state.claim_id, record.sequence, live_count, link)


def _judge_claim(state: LiveState, claim: Claim, link: int) -> tuple[Verdict, LiveState]:
    if claim.claim_number <= state.claim_number:
        return (Verdict.COPY if claim.claim_id == state.claim_id else Verdict.SUPERSEDED_CLAIM), state
    if claim.claim_number == state.claim_number + 1 and claim.previous_claim_id == state.claim_id:
        return Verdict.LIVE, LiveState(claim.claim_number, claim.claim_id, 0, state.live_count + 1, link)
    raise LogCorrupt(
        f"claim {claim.claim_number} follows claim {claim.previous_claim_id!r}, but claim {state.claim_number} "
        f"({state.claim_id!r}) is in force: a part of the history topic is missing"
    )
