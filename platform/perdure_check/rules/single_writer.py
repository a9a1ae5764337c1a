"""I2: one writer at a time. The live rule says which; what is left is that writers knew it."""

from __future__ import annotations

from perdure_check.facts import Entry
from perdure_check.live import CHECKPOINT, CLAIM, POSITION, Cause
from perdure_check.rules.base import Rule


class SingleWriter(Rule):
    """Every record is live or dead by a named cause, and the first live one under a claim is a position record (R2)."""

    invariant = "I2"
    title = "one writer at a time"

    def entry(self, entry: Entry) -> None:
        """See Rule."""
        if entry.cause is not None or entry.kind == CLAIM:
            return
        if entry.body["sequence"] == 1 and entry.kind not in (POSITION, CHECKPOINT):
            self.breaks(f"the first record of claim {entry.body['claim_number']} is a {entry.kind}, not a position record", entry)

    def finish(self) -> None:
        """See Rule."""
        counts = self.context.counts
        dead = [f"{counts[f'dead: {cause}']} dead ({cause})" for cause in Cause if counts[f"dead: {cause}"]]
        self.detail = f"{counts['live Claim']} claims, {counts['live records']} live records, {', '.join(dead) or 'none dead'}"
