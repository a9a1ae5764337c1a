"""I4: each command is applied once. What is at or below the watermark is in a live record, or there is a reason why it changed nothing."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from perdure_check.avro import KIND, Decoded
from perdure_check.effects import Attempt
from perdure_check.facts import Arrived, Entry, Fact, Run
from perdure_check.fold import ACTIVITY_ENDS, CLOSES, Fold
from perdure_check.live import COMMIT
from perdure_check.log import Record
from perdure_check.positions import Mark, marks_of
from perdure_check.rules.acknowledged import READS
from perdure_check.rules.base import Rule, Watcher
from perdure_check.rules.timers import REPORTS
from perdure_check.verdict import Witness

_SIGNAL_ENDS = ("ExternalWorkflowExecutionSignaled", "SignalExternalWorkflowExecutionFailed")
_NEVER = 1 << 62


class _Seen(NamedTuple):
    """Where an event about a message is."""

    partition: int
    offset: int
    workflow_id: str
    run_id: str
    kind: str


def _seen(fact: Fact) -> _Seen:
    return _Seen(fact.entry.partition, fact.entry.offset, fact.run.workflow_id, fact.run.run_id, fact.kind)


class AppliedOnce(Rule):
    """Offsets, request ids, origins and messages occur once among live records, and nothing below a watermark is left out."""

    invariant = "I4"
    title = "each command applied once"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._settled: dict[int, set[int]] = defaultdict(set)
        self._watermarks: dict[int, array[int]] = defaultdict(lambda: array("q"))
        self._passed_at: dict[int, array[int]] = defaultdict(lambda: array("q"))
        self._passed_ms: dict[int, array[int]] = defaultdict(lambda: array("q"))
        self._folds: dict[int, Fold] = {}
        self._sent: dict[tuple[str, int], str] = {}
        self._received: dict[tuple[str, int], _Seen] = {}
        self._cancels_received: set[tuple[str, int]] = set()
        self._answers_sent: set[tuple[str, int]] = set()
        """Messages that a live record answers by a command of its own: they were refused, or changed nothing."""
        self._answers: dict[tuple[str, int], _Seen] = {}
        self._attempts_ended: dict[Attempt, int] = {}
        self._runs_closed: dict[str, int] = {}
        self._forgotten: set[str] = set()
        self._marks: dict[int, dict[int, Mark]] = {}
        self._applied_at_begin: dict[int, dict[str, int]] = {}
        self._judged = self._duplicates = 0

    def watches(self) -> Mapping[str, Watcher]:
        """See Rule."""
        return {
            "SignalExternalWorkflowExecutionInitiated": self._initiated,
            "WorkflowExecutionSignaled": self._signaled,
            "WorkflowExecutionCancelRequested": self._cancel_requested,
            **dict.fromkeys(_SIGNAL_ENDS, self._answered),
            **dict.fromkeys(ACTIVITY_ENDS, self._attempt_ended),
            "ActivityAttemptFailed": self._attempt_ended,
            **dict.fromkeys(CLOSES, self._run_closed),
        }

    # -- what live records say

    def entry(self, entry: Entry) -> None:
        """See Rule."""
        if entry.cause is not None:
            return
        if (watermark := entry.body.get("watermark")) is not None:
            passed = self._watermarks[entry.partition]
            if not passed or watermark > passed[-1]:
                passed.append(watermark)
                self._passed_at[entry.partition].append(entry.offset)
                self._passed_ms[entry.partition].append(max(entry.time_ms, entry.timestamp_ms))
        if entry.kind != COMMIT:
            return
        settled = self._settled[entry.partition]
        for offset in entry.body["command_offsets"]:
            if offset in settled:
                self.breaks(f"it applies the command at offset {offset}, which another live record has applied", entry)
            settled.add(offset)
        for sent in entry.body["commands"]:
            if sent["body"][KIND].startswith("ResolveExternal"):
                self._answers_sent.add((sent["body"]["run_id"], sent["body"]["initiated_event_id"]))
        for request in entry.body["requests"]:
            for known in self.context.settled.get(request["request_id"], ()):
                if known.workflow_id == request["workflow_id"] and known.expires_at_ms >= entry.time_ms:
                    sentence = f"it settles request {request['request_id']!r}, which the record at {known.offset} has settled"
                    self.breaks(sentence, entry, None, known.offset)

    def _initiated(self, fact: Fact) -> None:
        self._sent[fact.run.run_id, fact.event_id] = fact.body["workflow_id"]

    def _signaled(self, fact: Fact) -> None:
        if (source := fact.body["source"]) is None:
            return
        message = source["run_id"], source["initiated_event_id"]
        if message in self._received:
            self.breaks(f"the signal of event {message[1]} of run {message[0]} is there a second time", fact.entry, fact.run)
        self._received[message] = _seen(fact)

    def _cancel_requested(self, fact: Fact) -> None:
        if (source := fact.body["source"]) is not None:
            self._cancels_received.add((source["run_id"], source["initiated_event_id"]))

    def _answered(self, fact: Fact) -> None:
        message = fact.run.run_id, fact.body["initiated_event_id"]
        if message[1] not in fact.run.external:
            self.breaks(
                f"the answer to its signal of event {message[1]} is there a second time, or was never asked for", fact.entry, fact.run
            )
        self._answers[message] = _seen(fact)

    def _attempt_ended(self, fact: Fact) -> None:
        scheduled = fact.body["scheduled_event_id"]
        activity = fact.run.activities.get(scheduled)
        if activity is not None:
            self._attempts_ended[fact.run.run_id, scheduled, fact.body.get("attempt", activity.attempt)] = fact.offset

    def _run_closed(self, fact: Fact) -> None:
        self._runs_closed[fact.run.run_id] = fact.offset

    def forgotten(self, run: Run, _entry: Entry) -> None:
        """See Rule."""
        self._forgotten.add(run.run_id)

    def partition_read(self, fold: Fold) -> None:
        """See Rule."""
        partition = fold.partition
        self._folds[partition] = fold
        begin = self.context.begins[partition].checkpoint
        self._marks[partition] = {} if begin is None else marks_of(begin)
        self._applied_at_begin[partition] = {} if begin is None else {one["workflow_id"]: one["offset"] for one in begin["applied"]}

    # -- what the commands say

    def command(self, arrived: Arrived) -> None:
        """See Rule."""
        record, partition = arrived.record, arrived.record.partition
        begin = self.context.begins[partition].checkpoint
        if partition in self.context.stopped or (begin is not None and record.offset <= begin["watermark"]):
            return
        if record.offset > self.context.positions[partition].watermark:
            self._pending(arrived)
            return
        self._judged += 1
        is_settled = record.offset in self._settled[partition]
        command = arrived.body
        if command is None:
            return  # I13 looks for its dead letter
        if (origin := command["origin"]) is not None and not self._is_new(partition, origin):
            self._duplicates += 1
            if is_settled:
                self._of(arrived, f"is a copy (origin {_name(origin)}), and was applied all the same")
            return
        if is_settled:
            why = self._why_empty(arrived, command)
        elif self._applied_at_begin[partition].get(command["workflow_id"], -1) < record.offset:
            why = self._why_lost(arrived, command)
        else:
            why = ""  # a part of a turn applied it, before the place where reading began
        if why:
            self._of(arrived, why)

    def _pending(self, arrived: Arrived) -> None:
        """Above the watermark: it may be applied already, by a part of a turn."""
        if arrived.body is not None and (origin := arrived.body["origin"]) is not None:
            self._is_new(arrived.record.partition, origin)

    def _is_new(self, partition: int, origin: Decoded) -> bool:
        """Whether an origin is above its mark; raises the mark."""
        marks, mark = self._marks[partition], (origin["offset"], origin["index"])
        source = origin["partition"]
        if mark <= marks.get(source, (-1, -1)):
            return False
        marks[source] = mark
        expected = self.context.expected.commands.get((source, *mark))
        if expected is not None:
            expected.taken = True
        return True

    def _why_empty(self, arrived: Arrived, command: Decoded) -> str:
        """Why what a live record says that it applied is not in any; empty if it is."""
        body, request = command["body"], command["request"]
        if self._letter(arrived) or arrived.record.offset in self.context.unseen[arrived.record.partition]:
            return ""
        if request is not None and not self._is_known(command):
            return f"(request {request['request_id']!r}) is said to be applied, and no live record says what came of it"
        if (source := body.get("source")) is not None:
            message = source["run_id"], source["initiated_event_id"]
            received = self._received if body[KIND] == "SignalWorkflow" else self._cancels_received
            if message not in received and message not in self._answers_sent:
                return f"(event {message[1]} of run {message[0]}) is said to be applied, and is neither in a history nor answered"
        if body[KIND] in REPORTS:
            reference = body["activity"]
            attempt = reference["run_id"], reference["scheduled_event_id"], reference["attempt"]
            if all(attempt) and request is None and attempt not in self._attempts_ended and attempt[0] not in self._forgotten:
                return f"is said to be applied, and attempt {attempt[2]} of event {attempt[1]} of run {attempt[0]} has not ended"
        return ""

    def _is_known(self, command: Decoded) -> bool:
        """Whether a live record settles the command's request."""
        settled = self.context.settled.get(command["request"]["request_id"], ())
        return any(one.workflow_id == command["workflow_id"] for one in settled)

    def _why_lost(self, arrived: Arrived, command: Decoded) -> str:
        """Why it should have left a trace; empty if it need not have."""
        body, request = command["body"], command["request"]
        if body[KIND] in READS:
            return ""
        at, passed_ms = self._passed(arrived.record.partition, arrived.record.offset)
        if request is not None:
            if self._is_known(command) or request["expires_at_ms"] < passed_ms or self._letter(arrived):
                return ""
            return f"(request {request['request_id']!r}) is below the watermark, and no live record settles it"
        if body[KIND] in REPORTS:
            return self._why_report_lost(arrived.record.partition, command["workflow_id"], body, at)
        if body[KIND] in ("SignalWorkflow", "CancelWorkflow", "StartWorkflow", "TerminateWorkflow"):
            is_lost = command["origin"] is not None or self._was_open(arrived.record, command["workflow_id"])
            return "is below the watermark, and no live record applies it" if is_lost and not self._letter(arrived) else ""
        if body[KIND].startswith("ResolveExternal"):
            run = self._folds[arrived.record.partition].runs.get((command["workflow_id"], body["run_id"]))
            if run is not None and run.is_open and body["initiated_event_id"] in run.external:
                return f"answers event {body['initiated_event_id']}, which still waits for it"
        return ""

    def _was_open(self, record: Record, workflow_id: str) -> bool:
        """Whether a run was open all the while in which a command can have been decided. To nobody, and with nobody to be told, it may
        be passed over."""
        at = bisect_left(self._watermarks[record.partition], record.offset)
        passed_at = self._passed_at[record.partition]
        before, behind = (passed_at[at - 1] if at else -1), (passed_at[at] if at < len(passed_at) else _NEVER)
        runs = (run for run in self._folds[record.partition].runs.values() if run.workflow_id == workflow_id)
        return any(run.began_at <= before and self._runs_closed.get(run.run_id, _NEVER) > behind for run in runs)

    def _why_report_lost(self, partition: int, workflow_id: str, body: Decoded, passed_at: int) -> str:
        """A report without a trace is late, doubled, or about nothing: its attempt had ended when the watermark passed it."""
        reference = body["activity"]
        attempt = reference["run_id"], reference["scheduled_event_id"], reference["attempt"]
        if not all(attempt) or attempt in self.context.expected.parked or attempt not in self.context.expected.tasks:
            return ""
        run = self._folds[partition].runs.get((workflow_id, attempt[0]))
        if run is None:
            return ""
        ended_at = min(self._attempts_ended.get(attempt, _NEVER), self._runs_closed.get(attempt[0], _NEVER))
        if ended_at <= passed_at:
            return ""
        when = f"ended later, at offset {ended_at}" if ended_at < _NEVER else "is still out"
        return f"reports on attempt {attempt[2]} of event {attempt[1]} of run {attempt[0]}, which {when}, and left no trace"

    def _passed(self, partition: int, offset: int) -> tuple[int, int]:
        """The offset and the time of the record whose watermark passed a command."""
        at = bisect_left(self._watermarks[partition], offset)
        if at == len(self._watermarks[partition]):
            return _NEVER, _NEVER
        return self._passed_at[partition][at], self._passed_ms[partition][at]

    def _letter(self, arrived: Arrived) -> bool:
        return (arrived.record.topic, arrived.record.partition, arrived.record.offset) in self.context.expected.dead_letters

    def _of(self, arrived: Arrived, sentence: str) -> None:
        body = arrived.body["body"] if arrived.body is not None else {KIND: "command"}
        whom = "" if arrived.body is None else f" to workflow {arrived.body['workflow_id']!r}"
        self.breaks(
            f"the {body[KIND]}{whom} at offset {arrived.record.offset} of partition {arrived.record.partition} of the commands {sentence}"
        )

    # -- at the end

    def finish(self) -> None:
        """See Rule."""
        for origin, expected in self.context.expected.commands.items():
            if expected.arrived and not expected.taken and not self.context.is_trimmed and not self.context.stopped:
                sentence = (
                    f"the command to workflow {expected.workflow_id!r} from index {origin[2]} was overtaken by a later one, and is lost"
                )
                self.breaks(sentence, None, None, origin[1])
        if not self.context.is_trimmed and not self.context.stopped:
            self._messages()
        self.detail = (
            f"{self._judged} commands at or below the watermarks, {self._duplicates} copies among those between workflows, "
            f"{len(self._received)} signals between workflows"
        )

    def _messages(self) -> None:
        for message, seen in self._received.items():
            signal = f"it got the signal of event {message[1]} of run {message[0]}"
            if self._sent.get(message) != seen.workflow_id:
                self._message(seen, f"{signal}, which did not send it that")
            answer = self._answers.get(message)
            if answer is not None and answer.kind != _SIGNAL_ENDS[0]:
                self._message(seen, f"{signal}, which was told that it did not")
        for message, seen in self._answers.items():
            if seen.kind == _SIGNAL_ENDS[0] and message not in self._received:
                self._message(seen, f"it was told that its signal of event {message[1]} was received, and nobody has it")

    def _message(self, seen: _Seen, sentence: str) -> None:
        """A message that does not fit, if what it rests on was read."""
        if seen.offset < self.context.first_ends[seen.partition]:
            self.witness(Witness(sentence, seen.partition, (seen.offset,), seen.workflow_id, seen.run_id))


def _name(origin: Decoded) -> str:
    return f"{origin['partition']}:{origin['offset']}:{origin['index']}"
