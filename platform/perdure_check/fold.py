"""The checker's own fold of one partition: live records -> runs, events and notes, one by one.

It never stops: what does not fit is told as a problem of an invariant, and reading goes on. A log that is read from a checkpoint on skips
the transitions of a run until the run has been carried (design.md 3.8).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Protocol

from perdure_check.avro import KIND, Decoded
from perdure_check.facts import Activity, Entry, Fact, Run
from perdure_check.live import CARRIED, CHECKPOINT, COMMIT, FORGET

Name = tuple[str, str]
"""A workflow id and a run id."""

STARTED, CONTINUED = "WorkflowExecutionStarted", "WorkflowExecutionContinuedAsNew"
_BULKY = frozenset({"input", "header", "memo", "search_attributes", "continued_failure"})
"""Fields of a run's first event that are not kept: all runs of a partition are in memory at a time, and their payloads are not."""

CLOSES = frozenset(
    {
        "WorkflowExecutionCompleted",
        "WorkflowExecutionFailed",
        "WorkflowExecutionCanceled",
        "WorkflowExecutionTerminated",
        "WorkflowExecutionTimedOut",
        CONTINUED,
    }
)
ACTIVITY_ENDS = frozenset({"ActivityTaskCompleted", "ActivityTaskFailed", "ActivityTaskTimedOut", "ActivityTaskCanceled"})
EXTERNAL_ENDS = frozenset(
    {
        "ExternalWorkflowExecutionSignaled",
        "SignalExternalWorkflowExecutionFailed",
        "ExternalWorkflowExecutionCancelRequested",
        "RequestCancelExternalWorkflowExecutionFailed",
    }
)
EXTERNAL_STARTS = frozenset({"SignalExternalWorkflowExecutionInitiated", "RequestCancelExternalWorkflowExecutionInitiated"})


class Listener(Protocol):
    """Whoever is told what the fold finds."""

    def event(self, fact: Fact) -> None:
        """An event or a note."""

    def forgotten(self, run: Run, entry: Entry) -> None:
        """A run that no later record may name."""

    def effects(self, entry: Entry, transitions: list[tuple[Run | None, Decoded]]) -> None:
        """A commit record, with its transitions and their runs as they are behind it; None for a run that is skipped."""

    def problem(self, invariant: str, sentence: str, entry: Entry, run: Run | None) -> None:
        """Something that no correct writer does."""


class Fold:
    """One partition's runs. `begun_at`: the checkpoint at which reading began, where that was not the beginning of the log."""

    def __init__(self, partition: int, listener: Listener, begun_at: int = 0) -> None:
        self.partition = partition
        self._listener = listener
        self._begun_at = begun_at
        self._is_partial = begun_at > 0
        self._parts: list[Decoded] = []
        self.runs: dict[Name, Run] = {}
        self.open: dict[str, str] = {}
        self.skipped: set[Name] = set()

    def take(self, entry: Entry) -> None:
        """A live record."""
        match entry.kind:
            case kind if kind == COMMIT:
                self._commit(entry)
            case kind if kind == CARRIED:
                self._carried(entry)
            case kind if kind == FORGET:
                self._forget(entry)
            case kind if kind == CHECKPOINT and self.skipped and entry.body["start"] >= self._begun_at:
                workflow_id, run_id = min(self.skipped)
                sentence = f"the log may begin at {entry.body['start']}, it says, but run {run_id} of {workflow_id!r} was not carried"
                self._listener.problem("I6", sentence, entry, None)
                self.skipped.clear()
        if entry.kind != CARRIED and self._parts:
            self._parts = []  # of an unfinished trim; they count for nothing (R6)

    def _commit(self, entry: Entry) -> None:
        told: list[tuple[Run | None, Decoded]] = []
        for transition in entry.body["transitions"]:
            run = self._run_of(entry, transition)
            if run is not None:
                self._transition(entry, run, transition, entry.time_ms, entry.offset, carried=False)
                _extend_chain(run, entry.offset, entry.body["sequence"], entry.time_ms, transition)
            told.append((run, transition))
        self._listener.effects(entry, told)

    def _run_of(self, entry: Entry, transition: Decoded) -> Run | None:
        """The run of a transition, begun if this is its first; None if it is skipped."""
        name = transition["workflow_id"], transition["run_id"]
        run = self.runs.get(name)
        if transition["first_event_id"] == 1 and (run is None or run.next_event_id == 1):
            other = self.open.get(name[0])
            if other is not None and other != name[1]:
                self._listener.problem("I3", f"run {name[1]} begins while run {other} is open", entry, self.runs.get((name[0], other)))
            return self._begin(entry, transition, entry.offset, entry.time_ms)
        if run is None:
            if self._is_partial:
                self.skipped.add(name)
                return None
            self._listener.problem("I3", f"run {name[1]} of {name[0]!r} goes on, and it has never begun or was forgotten", entry, None)
            return None
        return run

    def _begin(self, entry: Entry, transition: Decoded, began_at: int, time_ms: int) -> Run:
        name = transition["workflow_id"], transition["run_id"]
        first: Decoded = transition["inbound"][0] if transition["inbound"] else {KIND: ""}
        run = Run(*name, self.partition, began_at, time_ms, {field: value for field, value in first.items() if field not in _BULKY})
        if first[KIND] != STARTED:
            self._listener.problem("I3", f"its first event is {first[KIND] or 'none'}, not {STARTED}", entry, run)
            run.started = {KIND: STARTED, "waiter": None, "workflow_type": "", "first_activation_delay_ms": 0, "continued_run_id": ""}
        self.runs[name] = run
        self.open[name[0]] = name[1]
        return run

    def _transition(self, entry: Entry, run: Run, transition: Decoded, time_ms: int, offset: int, *, carried: bool) -> None:
        inbound, produced, notes = transition["inbound"], transition["produced"], transition["notes"]
        if transition["first_event_id"] != run.next_event_id:
            sentence = f"events go on at {transition['first_event_id']}, and {run.next_event_id} is next"
            self._listener.problem("I3", sentence, entry, run)
            run.next_event_id = transition["first_event_id"]
        if not run.is_open:
            self._listener.problem("I3", f"something is added to the run after its {run.close}", entry, run)
        ended: set[int] = set()
        for number, event in enumerate((*inbound, *produced)):
            if not run.is_open and number:
                self._listener.problem("I3", f"{event[KIND]} follows {run.close} in one transition", entry, run)
            if event[KIND] in ACTIVITY_ENDS:
                ended.add(event["scheduled_event_id"])
            self._tell(entry, run, run.next_event_id, event, time_ms, offset, carried, frozenset())
            _apply_event(run, event, time_ms)
            if number < len(inbound):
                run.pending += 1
            if not run.is_open and self.open.get(run.workflow_id) == run.run_id:
                del self.open[run.workflow_id]
        if transition["activated"]:
            if run.parked and not any(note[KIND] == "RunResumed" for note in notes):
                self._listener.problem("I2", "its code is activated while it is parked", entry, run)
            run.pending, run.blocked = 0, False
        closed = frozenset(ended) if run.is_open else None
        for note in notes:
            same = closed if closed is not None else frozenset({note.get("scheduled_event_id", 0)})
            self._tell(entry, run, 0, note, time_ms, offset, carried, same)
            _apply_note(run, note, time_ms)
        run.transitions += 1

    def _tell(
        self,
        entry: Entry,
        run: Run,
        event_id: int,
        body: Decoded,
        time_ms: int,
        offset: int,
        carried: bool,
        same_transition: frozenset[int],
    ) -> None:
        self._listener.event(Fact(entry, run, event_id, body[KIND], body, time_ms, offset, carried, same_transition))

    # -- trimming

    def _forget(self, entry: Entry) -> None:
        for named in entry.body["runs"]:
            name = named["workflow_id"], named["run_id"]
            self.skipped.discard(name)
            run = self.runs.pop(name, None)
            if run is None:
                continue
            if run.is_open:
                self._listener.problem("I6", "it is forgotten while it is open", entry, run)
                self.open.pop(run.workflow_id, None)
            self._listener.forgotten(run, entry)

    def _carried(self, entry: Entry) -> None:
        body = entry.body
        if body["part"] == 1:
            self._parts = []
        if self._parts and self._parts[0]["run"] != body["run"]:
            self._listener.problem("I6", "the parts of two carried runs are mixed", entry, None)
            self._parts = []
        self._parts.append(body)
        if body["part"] != body["parts"]:
            return
        parts, self._parts = self._parts, []
        name = body["run"]["workflow_id"], body["run"]["run_id"]
        if [part["part"] for part in parts] != list(range(1, body["parts"] + 1)):
            if self._is_partial:
                self.skipped.add(name)
            return
        whole = [carried for part in parts for carried in part["transitions"]]
        known = self.runs.get(name)
        if known is not None:
            self._compare(entry, known, whole)
        elif self._is_partial:
            self._take_over(entry, name, whole)
        else:
            self._listener.problem("I6", f"run {name[1]} of {name[0]!r} is carried, and it has never begun or was forgotten", entry, None)

    def _compare(self, entry: Entry, known: Run, whole: list[Decoded]) -> None:
        chain = b""
        for carried in whole:
            chain = _link(chain, carried["offset"], carried["sequence"], carried["time_ms"], carried["transition"])
        if len(whole) != known.transitions:
            sentence = f"it has {known.transitions} transitions, and {len(whole)} are carried"
            self._listener.problem("I6", sentence, entry, known)
        elif chain != known.chain:
            sentence = "what is carried is not what its records were: an event, a boundary, a time or an offset differs"
            self._listener.problem("I6", sentence, entry, known)

    def _take_over(self, entry: Entry, name: Name, whole: list[Decoded]) -> None:
        """A run from before the place where reading began."""
        self.skipped.discard(name)
        first = whole[0]
        if first["transition"]["first_event_id"] != 1:
            self._listener.problem("I6", f"run {name[1]} of {name[0]!r} is carried without its beginning", entry, None)
            return
        open_run = self.open.get(name[0])
        run = self._begin(entry, first["transition"], first["offset"], first["time_ms"])
        for carried in whole:
            self._transition(entry, run, carried["transition"], carried["time_ms"], carried["offset"], carried=True)
            _extend_chain(run, carried["offset"], carried["sequence"], carried["time_ms"], carried["transition"])
        if open_run is not None:  # carrying never changes which run of an id is current
            self.open[name[0]] = open_run


def _link(chain: bytes, offset: int, sequence: int, time_ms: int, transition: Decoded) -> bytes:
    return hashlib.blake2b(chain + repr((offset, sequence, time_ms, transition)).encode(), digest_size=16).digest()


def _extend_chain(run: Run, offset: int, sequence: int, time_ms: int, transition: Decoded) -> None:
    run.chain = _link(run.chain, offset, sequence, time_ms, transition)


# -- events and notes


def _apply_event(run: Run, event: Decoded, time_ms: int) -> None:
    event_id, kind = run.next_event_id, event[KIND]
    run.next_event_id += 1
    change = _CHANGES.get(kind)
    if change is not None:
        change(run, event_id, event, time_ms)
    elif kind in CLOSES:
        run.close, run.close_ms, run.new_run_id = kind, time_ms, event.get("new_run_id", "")
        run.activities, run.timers, run.external, run.pending, run.blocked = {}, {}, {}, 0, False
        run.parked = False


def _scheduled(run: Run, event_id: int, event: Decoded, time_ms: int) -> None:
    run.activities[event_id] = Activity(time_ms, event, dispatched_ms=time_ms)


def _started(run: Run, event_id: int, event: Decoded, _time_ms: int) -> None:
    activity = run.activities.get(event["scheduled_event_id"])
    if activity is not None:
        activity.started_event_id = event_id


def _activity_ended(run: Run, _event_id: int, event: Decoded, _time_ms: int) -> None:
    run.activities.pop(event["scheduled_event_id"], None)


def _timer_started(run: Run, event_id: int, event: Decoded, time_ms: int) -> None:
    run.timers[event_id] = time_ms + event["delay_ms"]


def _timer_ended(run: Run, _event_id: int, event: Decoded, _time_ms: int) -> None:
    run.timers.pop(event["started_event_id"], None)


def _asked(run: Run, event_id: int, event: Decoded, _time_ms: int) -> None:
    run.external[event_id] = (event[KIND], event["workflow_id"])


def _answered(run: Run, _event_id: int, event: Decoded, _time_ms: int) -> None:
    run.external.pop(event["initiated_event_id"], None)


def _cancel_requested(run: Run, _event_id: int, _event: Decoded, _time_ms: int) -> None:
    run.cancel_requested = True


def _nothing(_run: Run, _event_id: int, _event: Decoded, _time_ms: int) -> None:
    """Nothing to remember."""


_CHANGES: dict[str, Callable[[Run, int, Decoded, int], None]] = {
    STARTED: _nothing,
    "WorkflowExecutionSignaled": _nothing,
    "WorkflowExecutionCancelRequested": _cancel_requested,
    "ActivityTaskScheduled": _scheduled,
    "ActivityTaskStarted": _started,
    "ActivityTaskCancelRequested": _nothing,
    "TimerStarted": _timer_started,
    "TimerFired": _timer_ended,
    "TimerCanceled": _timer_ended,
    "MarkerRecorded": _nothing,
    **dict.fromkeys(ACTIVITY_ENDS, _activity_ended),
    **dict.fromkeys(EXTERNAL_STARTS, _asked),
    **dict.fromkeys(EXTERNAL_ENDS, _answered),
}

KNOWN_EVENTS = frozenset(_CHANGES) | CLOSES
KNOWN_NOTES = frozenset(
    {
        "ActivationFailed",
        "ActivityAttemptStarted",
        "ActivityAttemptFailed",
        "ActivityAttemptDispatched",
        "ActivityHeartbeatRecorded",
        "ActivityTaskParked",
        "RunParked",
        "RunResumed",
    }
)
"""A test compares both with the schemas, so that a new kind is not passed over in silence."""


def _apply_note(run: Run, note: Decoded, time_ms: int) -> None:
    kind = note[KIND]
    match kind:
        case "ActivationFailed":
            run.blocked = run.is_open
            return
        case "RunParked":
            run.parked = run.is_open
            return
        case "RunResumed":
            run.parked, run.pending = False, run.pending - len(note["skipped_event_ids"])
            run.blocked = run.blocked and run.pending > 0
            return
        case _:
            pass
    activity: Activity | None = run.activities.get(note.get("scheduled_event_id", 0))
    if activity is None:
        return
    match kind:
        case "ActivityAttemptFailed":
            activity.attempt, activity.retry_at_ms = note["attempt"] + 1, max(1, note["retry_at_ms"])
            activity.heartbeat_counter = activity.start_ms = 0
            activity.rests = False
        case "ActivityAttemptDispatched":
            if activity.retry_at_ms and not activity.rests:  # else the same task goes out once more
                activity.dispatched_ms = time_ms
            activity.retry_at_ms, activity.start_ms, activity.rests = 0, 0, False
        case "ActivityTaskParked":
            activity.retry_at_ms, activity.start_ms, activity.rests = max(1, note["retry_at_ms"]), 0, True
        case "ActivityAttemptStarted":
            activity.start_ms, activity.retry_at_ms, activity.rests = time_ms, 0, False
        case "ActivityHeartbeatRecorded":
            activity.heartbeat_counter, activity.start_ms = note["counter"], activity.start_ms or time_ms
            activity.retry_at_ms, activity.rests = 0, False
        case _:
            pass


def digest_of(runs: dict[Name, Run]) -> dict[Name, Any]:
    """What two readers of one log must agree on, run by run."""
    return {
        name: (run.next_event_id, run.chain, run.close, run.pending, sorted(run.activities), sorted(run.timers), sorted(run.external))
        for name, run in runs.items()
    }
