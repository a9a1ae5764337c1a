"""I17: where a part of the log is missing, everybody stops."""

from __future__ import annotations

from perdure_check.rules.base import Rule


class FailStop(Rule):
    """Nothing is appended behind a place at which every reader must stop. The checker itself tells this rule of what is."""

    invariant = "I17"
    title = "fail-stop"

    def finish(self) -> None:
        """See Rule."""
        stopped = self.context.stopped
        self.detail = f"{len(stopped)} partitions have a place where a reader must stop" + ("" if stopped else ": nothing is missing")
