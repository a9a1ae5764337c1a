"""Which records of a history count: written from the text of design.md 3.1 and 3.2 (faults.md R1, R3, R4, R18), one partition at a time.

A claim counts if the claim that it names is in force and its number is that one's plus one. A record under a claim counts if it names the
claim in force, by number and id, and its sequence is that claim's last live one plus one, and what it follows is the last live record: what
`follows` tells (unless it is 0) are the first 8 bytes of that record's SHA-256. What does not count is dead, by a named cause.
A number above the claim in force, or a live count other than the reader's own, shows that a part of the log is missing: a reader stops.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import StrEnum

from perdure_check.avro import KIND, Decoded

CLAIM, COMMIT, POSITION, CHECKPOINT, FORGET, CARRIED = "Claim", "CommitRecord", "PositionRecord", "Checkpoint", "Forget", "Carried"


class Cause(StrEnum):
    """Why a record is dead."""

    LATE_CLAIM = "claim behind one that took the partition before it"
    COPIED_CLAIM = "copy of the claim in force"
    SUPERSEDED = "of a claim that is not in force"
    COPY = "copy"
    BEHIND_A_HOLE = "behind a hole"
    BEHIND_ANOTHER = "behind another record than the one before it"


class Missing(Exception):
    """A part of the log is missing, or a record was forged: no correct writer can have appended this here."""


@dataclass(slots=True)
class LiveRule:
    """The claim in force, its last live sequence, how many live records there were, and the digest of the last (0: not known)."""

    number: int = 0
    claim_id: str = ""
    sequence: int = 0
    live_count: int = 0
    last: int = 0

    @classmethod
    def before(cls, checkpoint: Decoded) -> LiveRule:
        """As it stands just before a checkpoint at which a trimmed log may be begun (design.md 3.8)."""
        return cls(checkpoint["claim_number"], checkpoint["claim_id"], checkpoint["sequence"] - 1, checkpoint["live_count"] - 1)

    def judge(self, record: Decoded, value: bytes) -> Cause | None:
        """Why the next record, which came as `value`, is dead, or None: it is live. Raises Missing."""
        cause = self._claim(record) if record[KIND] == CLAIM else self._under_a_claim(record)
        if cause is None:
            (self.last,) = struct.unpack(">q", hashlib.sha256(value).digest()[:8])
        return cause

    def _claim(self, claim: Decoded) -> Cause | None:
        number = claim["claim_number"]
        if number <= self.number:
            return Cause.COPIED_CLAIM if (number, claim["claim_id"]) == (self.number, self.claim_id) else Cause.LATE_CLAIM
        if number > self.number + 1 or claim["previous_claim_id"] != self.claim_id:
            raise Missing(
                f"claim {number} follows claim {claim['previous_claim_id']!r}, and claim {self.number} ({self.claim_id!r}) is in force"
            )
        self.number, self.claim_id, self.sequence = number, claim["claim_id"], 0
        self.live_count += 1
        return None

    def _under_a_claim(self, record: Decoded) -> Cause | None:
        number, sequence = record["claim_number"], record["sequence"]
        if number > self.number:
            raise Missing(f"a record of claim {number}, and claim {self.number} is in force")
        if (number, record["claim_id"]) != (self.number, self.claim_id):
            return Cause.SUPERSEDED
        if sequence <= self.sequence:
            return Cause.COPY
        if sequence > self.sequence + 1:
            return Cause.BEHIND_A_HOLE
        if (follows := record.get("follows", 0)) and self.last and follows != self.last:
            return Cause.BEHIND_ANOTHER
        told = record.get("live_count")
        if told is not None and told != self.live_count + 1:
            raise Missing(f"its writer counted {told} live records up to here, and this reader {self.live_count + 1}")
        self.sequence, self.live_count = sequence, self.live_count + 1
        return None
