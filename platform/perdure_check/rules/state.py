"""I6: state is the fold of the log, from wherever it may be read; what trimming writes is what the fold would have made."""

from __future__ import annotations

from perdure_check.facts import Entry, Run
from perdure_check.fold import Fold
from perdure_check.live import CHECKPOINT
from perdure_check.positions import marks_of
from perdure_check.rules.base import Rule
from perdure_check.verdict import Witness

_STATUS = {
    "": "running",
    "WorkflowExecutionCompleted": "completed",
    "WorkflowExecutionFailed": "failed",
    "WorkflowExecutionCanceled": "canceled",
    "WorkflowExecutionTerminated": "terminated",
    "WorkflowExecutionContinuedAsNew": "continued_as_new",
    "WorkflowExecutionTimedOut": "timed_out",
}


class StateIsFold(Rule):
    """Carried runs are those that their records made, and checkpoints hold what belongs to no run. Exported summaries agree, if given."""

    invariant = "I6"
    title = "state is the fold of the log"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._missing_requests: set[tuple[str, str]] = set()
        self._checkpoints = self._compared = 0
        self._parts_left: dict[int, list[int]] = {}
        rows = self.context.options.summaries or ()
        self._rows = {(row["workflow_id"], row["run_id"]): row for row in rows}

    def entry(self, entry: Entry) -> None:
        """See Rule."""
        if entry.cause is not None:
            return
        self._begins_whole(entry)
        if entry.kind != CHECKPOINT:
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

    def _begins_whole(self, entry: Entry) -> None:
        left = self._parts_left.setdefault(entry.partition, [])
        if entry.kind == CHECKPOINT and entry.offset == self.context.begins[entry.partition].offset:
            left.extend(range(2, entry.body["parts"] + 1))
        elif left:
            if entry.kind != CHECKPOINT or entry.body["part"] != left[0]:
                self.breaks(f"the log begins at a checkpoint of which part {left[0]} is missing, and with it settled requests", entry)
                left.clear()
            del left[:1]

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

    def forgotten(self, run: Run, _entry: Entry) -> None:
        """See Rule. Summaries are older than the end of the log: what they tell of may have been forgotten since."""
        self._rows.pop((run.workflow_id, run.run_id), None)

    def partition_read(self, fold: Fold) -> None:
        """See Rule."""
        for name, run in fold.runs.items():
            row = self._rows.pop(name, None)
            if row is None:
                if self.context.options.summaries is not None and self.context.options.quiescent:
                    self.breaks("it is not among the exported summaries", None, run)
                continue
            told = str(row["status"]), row["start_time_ms"], row["close_time_ms"], row["history_length"]
            ours = _STATUS[run.close], run.start_ms, run.close_ms, run.next_event_id - 1
            if not run.is_open and told[0] != "running":
                self._compared += 1
                if told != ours:
                    self.breaks(f"the exported summary says {told} (status, start, close, events), and the log {ours}", None, run)
            elif self.context.options.quiescent:
                self._compared += 1
                if told[:2] != ours[:2]:
                    self.breaks(f"the exported summary says {told[:2]} (status, start), and the log {ours[:2]}", None, run)

    def finish(self) -> None:
        """See Rule."""
        if not self.context.is_trimmed and not self.context.stopped and self.context.options.quiescent:
            for workflow_id, run_id in self._rows:
                self.witness(Witness("it is among the exported summaries, and in no history", -1, (), workflow_id, run_id))
        starts = self.context.counts["starts compared"]
        self.detail = f"{self._checkpoints} checkpoints and all carried runs are what the log made; read again from {starts} starts"
        if self.context.options.summaries is not None:
            self.detail += f"; {self._compared} exported summaries agree with it"
        else:
            self.detail += "; no exported summaries were given, and owners' stores are compared by `perdure partition verify`"
