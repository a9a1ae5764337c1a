"""Where to begin in a log whose first records were deleted (design.md 3.8, R5).

Only at a checkpoint that a later one names as the start, and that proves itself: read from there, the naming record is live and every run
that was skipped has been carried. Which those are is collected here; the proof is the fold itself, and the next one is tried if it fails.
"""

from __future__ import annotations

from collections.abc import Sequence

from perdure._log.port import Record
from perdure_platform.partition.confirm import decode_record
from perdure_schemas.errors import LogCorrupt
from perdure_schemas.history import Checkpoint


class StartSearch:
    """Reads a history from the first offset that is left, `begins_at`, to an end, and knows the places where it may begin."""

    def __init__(self, begins_at: int) -> None:
        self.begins_at = begins_at
        self.next_offset = begins_at
        self._named: set[int] = set()

    def take(self, records: Sequence[Record]) -> None:
        """Read on. Raises LogCorrupt for what is not a record."""
        for record in records:
            history = decode_record(record)
            if isinstance(history, Checkpoint) and history.start >= self.begins_at:
                self._named.add(history.start)
            self.next_offset = record.offset + 1

    def next_candidate(self) -> int:
        """The newest place that was not tried before. Raises LogCorrupt if there is none left."""
        if not self._named:
            raise LogCorrupt(
                f"the history begins at offset {self.begins_at}, and no checkpoint from there on is one at which it may begin: "
                "records were deleted otherwise than by trimming. See the runbook"
            )
        latest = max(self._named)
        self._named.remove(latest)
        return latest
