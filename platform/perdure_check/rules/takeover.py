"""I16: takeovers are orderly."""

from __future__ import annotations

from collections import defaultdict

from perdure_check.facts import Entry
from perdure_check.live import CLAIM
from perdure_check.rules.base import Rule

_BARREN_MAX = 3
"""Claims in a row without a live record behind them: a claimant may die right after its claim, and the next one too."""


class TakeoverHygiene(Rule):
    """Claims do not alternate without anything live between them, and all are made for the same topics and number of partitions (R17)."""

    invariant = "I16"
    title = "takeover hygiene"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._barren: dict[int, list[Entry]] = defaultdict(list)
        self._longest = 0

    def entry(self, entry: Entry) -> None:
        """See Rule."""
        if entry.cause is not None:
            return
        barren = self._barren[entry.partition]
        if entry.kind != CLAIM:
            barren.clear()
            return
        barren.append(entry)
        self._longest = max(self._longest, len(barren))
        owners = {one.body["owner"] for one in barren}
        if len(barren) == _BARREN_MAX + 1 and len(owners) > 1:
            offsets = [one.offset for one in barren[:-1]]
            self.breaks(f"{len(barren)} claims of {len(owners)} owners in a row, and nothing live between them", entry, None, *offsets)
        if entry.body["partition_count"] != self.context.partitions:
            sentence = f"the claim is for {entry.body['partition_count']} partitions, and there are {self.context.partitions}"
            self.breaks(sentence, entry)

    def finish(self) -> None:
        """See Rule."""
        self.detail = f"at most {self._longest} claims in a row without a live record behind them; exit codes are not in the log"
