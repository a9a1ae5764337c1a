"""I1: what was acknowledged is never lost: answers have a live record behind them, and the drivers' own record of what they were told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from perdure_check.avro import KIND, Decoded
from perdure_check.context import Settled
from perdure_check.effects import signature_of
from perdure_check.facts import Arrived, Entry, Fact, Run
from perdure_check.fold import CLOSES, STARTED
from perdure_check.live import COMMIT
from perdure_check.operations import Operation
from perdure_check.payloads import first_value
from perdure_check.rules.base import Rule, Watcher
from perdure_check.verdict import Witness

READS = frozenset({"QueryWorkflow", "AwaitWorkflow", "DescribeWorkflow", "FetchHistory", "ListWorkflows", "DescribePartition"})
_OUTCOMES = frozenset({"WorkflowStarted", "Accepted", "Refused"})
_OUTCOME_UNKNOWN = frozenset({"expired", "partition_stopped"})
"""Codes of refusals that say nothing about what becomes, or became, of the request."""

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
        self._results: dict[str, int] = {}
        self._runs: set[str] = set()
        self._ids: set[str] = set()
        self._forgotten: set[str] = set()
        self._acting: dict[str, str] = {}
        self._replies = self._settled = 0
        self._done: dict[tuple[int, int], Counter[object]] = {}
        """By partition and offset of each record that settles requests: the runs that begin in it, its signals and its terminations."""
        self._wanted = {_key(one) for one in self._operations or () if one.signal}
        self._signals: Counter[_Signal] = Counter()

    def watches(self) -> Mapping[str, Watcher]:
        """See Rule."""
        return {
            STARTED: self._started,
            "WorkflowExecutionSignaled": self._signaled,
            **dict.fromkeys(CLOSES, self._closed),
            "WorkflowExecutionTerminated": self._terminated,
        }

    def _started(self, fact: Fact) -> None:
        self._runs.add(fact.run.run_id)
        self._ids.add(fact.run.workflow_id)
        self._do(fact, fact.run.run_id)
        self._do(fact, (fact.run.run_id, _begin(fact.body)))

    def entry(self, entry: Entry) -> None:
        """See Rule."""
        if entry.cause is None and entry.kind == COMMIT and entry.body["requests"]:
            self._done[entry.partition, entry.offset] = Counter()

    def _do(self, fact: Fact, what: object) -> None:
        done = self._done.get((fact.entry.partition, fact.entry.offset))
        if done is not None:
            done[what] += 1

    def _terminated(self, fact: Fact) -> None:
        self._do(fact, fact.kind)
        self._closed(fact)

    def _signaled(self, fact: Fact) -> None:
        if fact.body["source"] is None:
            self._do(fact, _signal(fact.body))
        if self._wanted:
            key = fact.run.workflow_id, fact.body["name"], repr(first_value(fact.body["input"]))
            if key in self._wanted:
                self._signals[key] += 1

    def _closed(self, fact: Fact) -> None:
        self._closes[fact.run.run_id] = _STATUS[fact.kind]
        if fact.kind == "WorkflowExecutionCompleted":
            self._results[fact.run.run_id] = hash(repr(fact.body["result"]))

    def forgotten(self, run: Run, _entry: object) -> None:
        """See Rule."""
        self._forgotten.add(run.run_id)

    def command(self, arrived: Arrived) -> None:
        """See Rule."""
        command = arrived.body
        if command is None or command["request"] is None or command["body"][KIND] in READS:
            return
        request_id = command["request"]["request_id"]
        if request_id not in self._acting:
            self._acting[request_id] = command["workflow_id"]
            self._look_for(command, request_id)

    def _look_for(self, command: Decoded, request_id: str) -> None:
        """What a request was told to have done is in the very record that settles it."""
        for settled in self.context.settled.get(request_id, ()):
            place = settled.partition, settled.offset
            done = self._done.get(place)
            if (
                settled.workflow_id != command["workflow_id"]
                or settled.outcome == "Refused"
                or done is None
                or place in self.context.half_seen
            ):
                continue
            self._settled += 1
            for what, sentence in _promised(command["body"], settled):
                done[what] -= 1
                if done[what] < 0:
                    whom = f"request {request_id!r} of workflow {settled.workflow_id!r}"
                    self.witness(Witness(f"{whom} is settled as {settled.outcome}, and {sentence}", settled.partition, (settled.offset,)))

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
        if body[KIND] == "Refused" and body["code"] in _OUTCOME_UNKNOWN:
            return
        settled = [one for one in self.context.settled.get(request_id, ()) if one.workflow_id == self._acting[request_id]]
        if any(one.signature == signature_of(body) for one in settled):
            return
        told = f"{arrived.reply} tells request {request_id!r} of workflow {self._acting[request_id]!r} {body[KIND]}"
        if settled:
            self.breaks(f"{told}, and its live record says {settled[0].outcome}", None, None, settled[0].offset)
        elif not self.context.is_trimmed and not self.context.stopped:
            self.breaks(f"{told}, and no live record settles it")

    def _told_closed(self, arrived: Arrived, body: Decoded) -> None:
        self._replies += 1
        status, told = self._closes.get(body["run_id"]), hash(repr(body["result"]))
        if status == body["status"] and self._results.get(body["run_id"], told) != told:
            self.breaks(f"{arrived.reply} tells of another result of run {body['run_id']} than the live record that completes it")
            return
        if status == body["status"] or (status is None and (self.context.is_trimmed or self.context.stopped)):
            return
        known = "is not closed by any live record" if status is None else f"is closed with status {status}"
        self.breaks(f"{arrived.reply} tells that run {body['run_id']} closed with status {body['status']}, and it {known}")

    # -- what drivers were told

    def finish(self) -> None:
        """See Rule."""
        given = "no record of operations was given" if self._operations is None else f"{len(self._operations)} operations of drivers"
        self.detail = (
            f"{self._settled} requests have what they were promised in the log; {self._replies} replies tell what it says; {given}"
        )
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


def _promised(body: Decoded, settled: Settled) -> Iterator[tuple[object, str]]:
    """What must be in a record that accepts a request, and what to say if it is not."""
    if settled.begun_run_id:
        yield settled.begun_run_id, f"its run {settled.begun_run_id} does not begin there"
        if body[KIND] == "StartWorkflow":
            begun = settled.begun_run_id, _begin(body)
            yield begun, f"its run {settled.begun_run_id} does not begin with the type and the input that were asked for"
    signal = body if body[KIND] == "SignalWorkflow" else body.get("signal")
    if signal is not None:
        yield _signal(signal), f"its signal {signal['name']!r} is not there"
    if body[KIND] == "TerminateWorkflow":
        yield "WorkflowExecutionTerminated", "nothing is terminated there"


def _begin(body: Decoded) -> int:
    """A number that a start's command and event share."""
    return hash((body["workflow_type"], repr(body["input"])))


def _signal(body: Decoded) -> int:
    """A number that a signal's command and event share; equal payloads are equal signals."""
    return hash((body["name"], repr(body["input"])))


def _key(one: Operation) -> _Signal:
    return one.workflow_id, one.signal, repr(one.input)
