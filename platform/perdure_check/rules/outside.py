"""I7 and I14: what no topic shows. They are named so that nobody takes their absence for a pass."""

from __future__ import annotations

from perdure_check.rules.base import Rule


class ReplayedAlike(Rule):
    """Replay makes the original decisions."""

    invariant = "I7"
    title = "replay makes the same decisions"

    def finish(self) -> None:
        """See Rule."""
        self.not_checked = "it takes the workflows' code: replay the histories with it (`perdure partition verify` folds them without)"


class Bounded(Rule):
    """Memory, descriptors, queues and disk stay flat."""

    invariant = "I14"
    title = "bounds"

    def finish(self) -> None:
        """See Rule."""
        self.not_checked = "memory, descriptors and disk of the processes are not in the log: they take measurements during the run"
