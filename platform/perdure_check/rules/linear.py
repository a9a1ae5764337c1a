"""I3: histories are linear, without gaps, and change by whole transitions. The fold looks; here is what concerns whole records."""

from __future__ import annotations

from collections.abc import Mapping

from perdure_check.facts import Fact
from perdure_check.fold import CLOSES, STARTED, Fold
from perdure_check.placement import partition_of
from perdure_check.rules.base import Rule, Watcher


class Linear(Rule):
    """Event ids 1 to n, one open run per workflow id, nothing behind a close; a run that follows begins in its record."""

    invariant = "I3"
    title = "linear, gap-free, atomic histories"

    def watches(self) -> Mapping[str, Watcher]:
        """See Rule."""
        return {STARTED: self._started, **dict.fromkeys(CLOSES, self._closed)}

    def _started(self, fact: Fact) -> None:
        if fact.event_id != 1:
            self.breaks(f"{STARTED} is its event {fact.event_id}", fact.entry, fact.run)
        right = partition_of(fact.run.workflow_id, self.context.partitions)
        if right != fact.run.partition:
            self.breaks(f"it belongs to partition {right}", fact.entry, fact.run)

    def _closed(self, fact: Fact) -> None:
        following = fact.body.get("new_run_id")
        if not following or fact.carried:
            return
        named = [one for one in fact.entry.body["transitions"] if one["run_id"] == following and one["first_event_id"] == 1]
        if not named:
            self.breaks(f"run {following} that follows it does not begin in the same record", fact.entry, fact.run)
        elif named[0]["inbound"][0].get("continued_run_id") != fact.run.run_id:
            self.breaks(f"run {following} that follows it names another one before it", fact.entry, fact.run)

    def partition_read(self, fold: Fold) -> None:
        """See Rule."""
        for name in sorted(fold.skipped):
            self.breaks(f"run {name[1]} of {name[0]!r} goes on behind the place where the log begins, and was never carried")

    def finish(self) -> None:
        """See Rule."""
        counts = self.context.counts
        self.detail = f"{counts['events']} events of {counts['runs']} runs; the live counts of position records agree"
