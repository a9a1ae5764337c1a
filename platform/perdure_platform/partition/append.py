"""Stage 3: decisions -> commit records -> appended without waiting (design.md 3.3).

Only the last record that a turn appends carries the turn's watermark, and the marks that belong to it (design.md 3.5, R7): each
record is held back until the next one, or the end of the turn, shows whether it is the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from perdure_platform.partition.apply import RunChange
from perdure_platform.partition.confirm import Confirmer, Sent
from perdure_platform.partition.transition.draft import Decision
from perdure_platform.partition.transition.state import RunState
from perdure_schemas.codec import encode_history
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.errors import PerdureError
from perdure_schemas.history import (
    AddressedReply,
    AppliedOffset,
    Carried,
    CarriedTransition,
    Caution,
    Checkpoint,
    Claim,
    ClaimedRecord,
    CommitRecord,
    Forget,
    Mark,
    PositionRecord,
    RunName,
    SettledRequest,
    Strike,
)
from perdure_schemas.live import LiveState, link_of
from perdure_schemas.topics import RECORD_BYTES_MAX

APPENDED_BYTES_MAX = RECORD_BYTES_MAX - 16 * 1024
"""What a decision may take as it is encoded. Its parts have limits by which it is smaller; texts that have none must not end the claim."""

DEAD_LETTER_BYTES = 1024 * 1024
"""A record with so much takes no further dead letter."""


class DecisionTooLarge(PerdureError):
    """A decision is larger than a record may be, although each of its parts has been found small enough."""


class Appender:
    """Numbers and sends the records of one claim. `send` queues bytes on the history topic under a key."""

    def __init__(self, claim: Claim, live: LiveState, confirmer: Confirmer, send: Callable[[bytes | None, bytes], None]) -> None:
        self._claim = claim
        self._confirmer = confirmer
        self._send = send
        self._held: tuple[CommitRecord, str, tuple[RunChange, ...]] | None = None
        self._encoded: tuple[ClaimedRecord, bytes] | None = None
        """What is held, as bytes. They are sent, unless it was wrong to expect that the record is the last of its turn, or not to."""
        self._turn_end: tuple[int, dict[str, Mark]] | None = None
        self.sequence = 0
        self._link = live.link
        self.live_count = live.live_count
        self.watermark = -1
        self.released = -1

    def add(
        self,
        decision: Decision,
        now_ms: int,
        released: int,
        extra_replies: Sequence[AddressedReply] = (),
        dead_letters: tuple[DeadLetter, ...] = (),
    ) -> None:
        """Append what a decision comes to. Raises CodecError or DecisionTooLarge, with nothing changed, for one that no log takes."""
        offset = decision.applied_offset
        record = CommitRecord(
            claim_number=self._claim.claim_number,
            claim_id=self._claim.claim_id,
            sequence=self.sequence + 1,
            time_ms=now_ms,
            released=released,
            command_offsets=decision.command_offsets,
            applied=() if offset is None else (AppliedOffset(decision.workflow_id, offset),),
            requests=decision.requests,
            transitions=tuple(run.transition() for run in decision.runs),
            replies=(*decision.replies, *extra_replies),
            commands=decision.commands,
            dead_letters=dead_letters,
        )
        self._hold(record, decision.workflow_id, tuple((run.before, run.state) for run in decision.runs))

    def add_dead_letters(self, dead_letters: Sequence[DeadLetter], now_ms: int, released: int) -> None:
        """Append records whose effect is that these go to the dead letters."""
        some: list[DeadLetter] = []
        for at, letter in enumerate(dead_letters, 1):
            some.append(letter)
            if at == len(dead_letters) or sum(len(one.value) for one in some) > DEAD_LETTER_BYTES:
                record = CommitRecord(
                    claim_number=self._claim.claim_number,
                    claim_id=self._claim.claim_id,
                    sequence=self.sequence + 1,
                    time_ms=now_ms,
                    released=released,
                    command_offsets=tuple(one.source_offset for one in some),
                    dead_letters=tuple(some),
                )
                self._hold(record, "", ())
                some = []

    def expect_end(self, watermark: int, marks: dict[str, Mark]) -> None:
        """What is added next is probably the last of its turn: it is encoded with the turn's watermark and marks, once and not twice."""
        self._turn_end = watermark, marks

    def end_turn(self, watermark: int, marks: dict[str, Mark]) -> bool:
        """Send what is held, with the turn's watermark and marks; whether there was anything."""
        self._turn_end = None
        if self._held is None:
            return False
        record, workflow_id, runs = self._held
        self._held = None
        if (record.watermark, record.marks) != (watermark, marks):
            record = replace(record, watermark=watermark, marks=marks)
        self._append(record, workflow_id, runs)
        self.watermark = watermark
        return True

    def position(self, watermark: int, released: int, marks: dict[str, Mark], now_ms: int, *, resigned: bool = False) -> None:
        """Append a position record; only between two turns."""
        assert self._held is None, "a position record stands between turns"
        record = PositionRecord(
            claim_number=self._claim.claim_number,
            claim_id=self._claim.claim_id,
            sequence=self._next(),
            time_ms=now_ms,
            watermark=watermark,
            released=released,
            marks=marks,
            live_count=self.live_count,
            resigned=resigned,
        )
        self.watermark = watermark
        self._append(record, "", ())

    def strike(self, workflow_id: str, command_offset: int, released: int, now_ms: int) -> None:
        """Append that an input is about to be tried; only between two turns."""
        assert self._held is None, "a strike stands between turns"
        record = Strike(self._claim.claim_number, self._claim.claim_id, self._next(), now_ms, released, workflow_id, command_offset)
        self._append(record, "", ())

    def forget(self, runs: Sequence[RunState], released: int, now_ms: int) -> None:
        """Append that closed runs are past their retention."""
        names = tuple(RunName(run.workflow_id, run.run_id) for run in runs)
        record = Forget(self._claim.claim_number, self._claim.claim_id, self._next(), now_ms, released, names)
        self._append(record, "", tuple((run, run) for run in runs))

    def carry(self, run: RunState, parts: Sequence[Sequence[CarriedTransition]], released: int, now_ms: int) -> None:
        """Append a run as a whole, in as many parts as it takes."""
        name = RunName(run.workflow_id, run.run_id)
        for part, transitions in enumerate(parts, 1):
            record = Carried(
                self._claim.claim_number,
                self._claim.claim_id,
                self._next(),
                now_ms,
                released,
                name,
                part,
                len(parts),
                tuple(transitions),
            )
            self._append(record, "", ((None, run),) if part == len(parts) else (), run.workflow_id)

    def checkpoint(
        self,
        watermark: int,
        released: int,
        marks: dict[str, Mark],
        applied: tuple[AppliedOffset, ...],
        now_ms: int,
        requests: Sequence[Sequence[SettledRequest]],
        start: int,
        caution: Caution,
        format_level: int,
    ) -> None:
        """Append a checkpoint, in as many parts as its requests take; only between two turns. `start` is -1 or an earlier checkpoint."""
        assert self._held is None, "a checkpoint stands between turns"
        for part, some in enumerate(requests, 1):
            record = Checkpoint(
                claim_number=self._claim.claim_number,
                claim_id=self._claim.claim_id,
                sequence=self._next(),
                time_ms=now_ms,
                watermark=watermark,
                released=released,
                marks=marks,
                live_count=self.live_count,
                part=part,
                parts=len(requests),
                start=start if part == len(requests) else -1,
                applied=applied if part == 1 else (),
                requests=tuple(some),
                caution=caution,
                format_level=format_level,
            )
            self._append(record, "", ())
        self.watermark = watermark

    def _next(self) -> int:
        self.sequence += 1
        self.live_count += 1
        return self.sequence

    def _hold(self, record: CommitRecord, workflow_id: str, runs: tuple[RunChange, ...]) -> None:
        self._take_end_back()
        record = replace(record, follows=self._link if self._encoded is None else link_of(self._encoded[1]))
        if self._turn_end is not None:
            watermark, marks = self._turn_end
            record = replace(record, watermark=watermark, marks=marks)
        value = encode_history(record)
        if len(value) > APPENDED_BYTES_MAX:
            raise DecisionTooLarge(f"a record of {len(value):,} bytes for workflow {workflow_id!r}; at most {APPENDED_BYTES_MAX:,} fit")
        self._next()
        if self._held is not None:
            self._append(*self._held)
        self._held, self._encoded = (record, workflow_id, runs), (record, value)

    def _take_end_back(self) -> None:
        """Another record follows in this turn, so what is held carries neither watermark nor marks."""
        if self._held is not None and self._held[0].watermark is not None:
            record, workflow_id, runs = self._held
            record = replace(record, watermark=None, marks={})
            self._held, self._encoded = (record, workflow_id, runs), (record, encode_history(record))

    def _append(self, record: ClaimedRecord, workflow_id: str, runs: tuple[RunChange, ...], key: str = "") -> None:
        if self._encoded is not None and self._encoded[0] is record and record.follows == self._link:
            value = self._encoded[1]
        else:
            record = replace(record, follows=self._link)
            value = encode_history(record)
        self._encoded = None
        self._link = link_of(value)
        self._confirmer.sent(Sent(value, self._link, record, workflow_id, runs))
        self._send((workflow_id or key).encode() or None, value)
        self.released = record.released
