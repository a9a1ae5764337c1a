"""I1: what was acknowledged is never lost: answers have a live record behind them, and the drivers' own record of what they were told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from perdure_check.avro import KIND, Decoded
from perdure_check.effects import signature_of
from perdure_check.facts import Arrived, Fact, Run
from perdure_check.fold import CLOSES, STARTED
from perdure_check.operations import Operation
from perdure_check.payloads import first_value
from perdure_check.rules.base import Rule, Watcher

READS = frozenset({"QueryWorkflow", "AwaitWorkflow", "DescribeWorkflow", "FetchHistory", "ListWorkflows", "DescribePartition"})
_OUTCOMES = frozenset({"WorkflowStarted", "Accepted", "Refused"})
_STATUS = {
    "WorkflowExecutionCompleted": 2,
    "WorkflowExecutionFailed": 3,
    "WorkflowExecutionCanceled": 4,
    "WorkflowExecutionTerminated": 5,
    "WorkflowExecutionContinuedAsNew": 6,
    "WorkflowExecutionTimedOut": 7,
}
_Signal = tuple[str, str, str]


class Acknowledged(Rule):
    """Each `ok` exactly once among the events of live records, each `fail` never, each `unknown` at most once."""

    invariant = "I1"
    title = "what was acknowledged is never lost"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._operations = self.context.options.operations
        self._closes: dict[str, int] = {}
        self._runs: set[str] = set()
        self._ids: set[str] = set()
        self._forgotten: set[str] = set()
        self._acting: dict[str, str] = {}
        self._replies = 0
        self._wanted = {_key(one) for one in self._operations or () if one.signal}
        self._signals: Counter[_Signal] = Counter()

    def watches(self) -> Mapping[str, Watcher]:
        """See Rule."""
        return {STARTED: self._started, "WorkflowExecutionSignaled": self._signaled, **dict.fromkeys(CLOSES, self._closed)}

    def _started(self, fact: Fact) -> None:
        self._runs.add(fact.run.run_id)
        self._ids.add(fact.run.workflow_id)

    def _signaled(self, fact: Fact) -> None:
        if self._wanted:
            key = fact.run.workflow_id, fact.body["name"], repr(first_value(fact.body["input"]))
            if key in self._wanted:
                self._signals[key] += 1

    def _closed(self, fact: Fact) -> None:
        self._closes[fact.run.run_id] = _STATUS[fact.kind]

    def forgotten(self, run: Run, _entry: object) -> None:
        """See Rule."""
        self._forgotten.add(run.run_id)

    def command(self, arrived: Arrived) -> None:
        """See Rule."""
        if arrived.body is not None and arrived.body["request"] is not None and arrived.body["body"][KIND] not in READS:
            self._acting[arrived.body["request"]["request_id"]] = arrived.body["workflow_id"]

    def reply(self, arrived: Arrived) -> None:
        """See Rule."""
        if arrived.body is None or not arrived.was_there_first:
            return
        request_id, body = arrived.body["request_id"], arrived.body["body"]
        if body[KIND] in _OUTCOMES and request_id in self._acting:
            self._outcome(arrived, request_id, body)
        elif body[KIND] == "WorkflowClosed":
            self._told_closed(arrived, body)

    def _outcome(self, arrived: Arrived, request_id: str, body: Decoded) -> None:
        self._replies += 1
        if body[KIND] == "Refused" and body["code"] == "expired":
            return
        settled = [one for one in self.context.settled.get(request_id, ()) if one.workflow_id == self._acting[request_id]]
        if any(one.signature == signature_of(body) for one in settled):
            return
        place = f"the reply at offset {arrived.record.offset} of partition {arrived.record.partition} of the replies"
        told = f"{place} tells request {request_id!r} of workflow {self._acting[request_id]!r} {body[KIND]}"
        if settled:
            self.breaks(f"{told}, and its live record says {settled[0].outcome}", None, None, settled[0].offset)
        elif not self.context.is_trimmed and not self.context.stopped:
            self.breaks(f"{told}, and no live record settles it")

    def _told_closed(self, arrived: Arrived, body: Decoded) -> None:
        self._replies += 1
        status = self._closes.get(body["run_id"])
        if status == body["status"] or (status is None and (self.context.is_trimmed or self.context.stopped)):
            return
        place = f"the reply at offset {arrived.record.offset} of partition {arrived.record.partition} of the replies"
        known = "is not closed by any live record" if status is None else f"is closed with status {status}"
        self.breaks(f"{place} tells that run {body['run_id']} closed with status {body['status']}, and it {known}")

    # -- what drivers were told

    def finish(self) -> None:
        """See Rule."""
        given = "no record of operations was given" if self._operations is None else f"{len(self._operations)} operations of drivers"
        self.detail = f"{self._replies} replies compared with live records; {given}"
        for one in self._operations or ():
            times = self._times(one)
            if times is None:
                continue
            whom = f"{one.operation} {one.operation_id!r} of workflow {one.workflow_id!r}"
            if times > 1:
                self.breaks(f"{whom} is {times} times in the log")
            elif one.kind == "ok" and times == 0 and not self.context.is_trimmed:
                self.breaks(f"{whom} was acknowledged, and is not in the log")
            elif one.kind == "fail" and times:
                self.breaks(f"{whom} was told that nothing happened, and is in the log")

    def _times(self, one: Operation) -> int | None:
        """How often an operation is in the log; None where that cannot be said."""
        if one.request_id:
            settled = self.context.settled.get(one.request_id, ())
            return sum(known.outcome != "Refused" for known in settled if known.workflow_id == one.workflow_id)
        if one.signal:
            return self._signals[_key(one)]
        if one.operation == "start" and one.kind == "ok":
            return int(one.run_id in self._runs) if one.run_id else int(one.workflow_id in self._ids)
        return None


def _key(one: Operation) -> _Signal:
    return one.workflow_id, one.signal, repr(one.input)
