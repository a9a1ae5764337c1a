"""I6: state is the fold of the log, from wherever it may be read; what trimming writes is what the fold would have made."""

from __future__ import annotations

from perdure_check.facts import Entry
from perdure_check.live import CHECKPOINT
from perdure_check.positions import marks_of
from perdure_check.rules.base import Rule


class StateIsFold(Rule):
    """Carried runs are those that their records made, and checkpoints hold what belongs to no run. Exported summaries agree, if given."""

    invariant = "I6"
    title = "state is the fold of the log"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._missing_requests: set[tuple[str, str]] = set()
        self._checkpoints = 0

    def entry(self, entry: Entry) -> None:
        """See Rule."""
        if entry.cause is not None or entry.kind != CHECKPOINT:
            return
        if entry.offset == self.context.begins[entry.partition].offset:
            return  # reading began here: there is nothing to compare it with
        body, known = entry.body, self.context.positions[entry.partition]
        if body["part"] == 1:
            self._checkpoints += 1
            self._missing_requests = set(known.requests)
            self._positions(entry)
        # What expires between two looks may be missing; what is there must stay.
        self._missing_requests -= {(one["workflow_id"], one["request_id"]) for one in body["requests"]}
        if body["part"] == body["parts"]:
            now_ms = max(known.time_ms, entry.time_ms, entry.timestamp_ms)
            lost = sorted(name for name in self._missing_requests if known.requests[name] >= now_ms)
            if lost:
                self.breaks(f"the checkpoint lacks {len(lost)} settled requests, such as {lost[0][1]!r} of workflow {lost[0][0]!r}", entry)

    def _positions(self, entry: Entry) -> None:
        body, known = entry.body, self.context.positions[entry.partition]
        for source, mark in known.marks.items():
            if marks_of(body).get(source, (-1, -1)) < mark:
                self.breaks(f"the checkpoint's mark of partition {source} is below the log's, {mark}", entry)
        applied = {one["workflow_id"]: one["offset"] for one in body["applied"]}
        for workflow_id, offset in known.applied.items():
            if offset > body["watermark"] and applied.get(workflow_id, -1) < offset:
                sentence = f"the checkpoint lacks that the command at offset {offset} was applied to {workflow_id!r}, above the watermark"
                self.breaks(sentence, entry)

    def finish(self) -> None:
        """See Rule."""
        starts = self.context.counts["starts compared"]
        self.detail = f"{self._checkpoints} checkpoints and all carried runs are what the log made; read again from {starts} starts"
        if self.context.options.summaries is None:
            self.detail += "; no exported summaries were given, and owners' stores are compared by `perdure partition verify`"
