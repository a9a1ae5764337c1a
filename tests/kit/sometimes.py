"""What must have happened in some of the schedules, told from the log as it grows and from what owners do; else they look in wrong places.

`Sometimes` knows no rule and fails nobody: it counts, under names that faults.md 5 gives.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from kit.slow_medium import SlowMedium
from kit.world import Process
from perdure._log.port import Record
from perdure_schemas import events, notes
from perdure_schemas.commands import Command, CompleteActivity, FailActivity, QueryWorkflow
from perdure_schemas.history import Carried, Checkpoint, Claim, CommitRecord, Forget, HistoryRecord, PositionRecord
from perdure_schemas.live import Verdict
from perdure_schemas.replies import Refused

EVERYWHERE = frozenset(
    {
        "zombie record dead",
        "copy seen",
        "dead behind a hole",
        "unknown outcome was not appended",
        "turn split: its commands skipped",
        "effect released again",
        "duplicate command dropped by its mark",
        "request refused",
        "message refused",
        "query answered",
        "query withheld",
        "rebuild from empty",
        "timer fired after a takeover",
        "activity timed out",
        "late result dropped",
        "poison became a dead letter",
        "isolation entered",
        "stopped in a turn",
        "live Forget",
        "live Carried",
        "live Checkpoint",
    }
)
"""Seen within a few hundred seeds."""

IN_A_CAMPAIGN = EVERYWHERE | {
    "backlog beat a timeout",
    "bomb went off",
    "claim race lost",
    "command to a partition that cannot be reached",
    "copied claim dead",
    "late missing record live after all",
    "reader overtaken by a trim",
    "refused request repeated",
    "start moved back",
    "turn split: its commands redone",
    "unknown outcome was appended",
    "isolation left",
    "delete late",
    "delete refused",
    "delete untold",
    "run carried while commands for it wait",
    "run parked",
    "run parked and resumed",
    "store ahead of the log detected",
    "task parked",
    "task parked and resumed",
    "trim broken off",
    "trim resumed by a successor",
    "zombie naming a trimmed claim",
}
"""Seen within ten thousand. (A run is never carried with records in flight: a trim waits until all is settled.)"""


@dataclass
class _Partition:
    claim_number: int = 0
    watermark: int = -1
    applied: set[int] = field(default_factory=set)
    """Offsets above the watermark that are in live records."""
    redone: set[int] = field(default_factory=set)
    """Offsets of a split turn that the next claim has to serve."""
    holes: dict[str, int] = field(default_factory=dict)
    """By claim id, the lowest sequence that was dead behind a hole."""
    trimming: int = 0
    """The number of the claim that has begun a trim, until it ends."""
    broken_off: bool = False
    duplicates: list[int] = field(default_factory=list)
    results: list[int] = field(default_factory=list)
    commands: dict[int, str] = field(default_factory=dict)


@dataclass
class Sometimes:
    """Is told of each record, behind the one who judges it. `untold`: values of records whose append is reported as failed, and landed."""

    seen: Counter[str]
    medium: SlowMedium
    untold: set[bytes] = field(default_factory=set)
    _partitions: dict[int, _Partition] = field(default_factory=lambda: defaultdict(_Partition))
    _claims: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Number and offset of every claim that counted, by id."""
    _timers: dict[tuple[str, int], int] = field(default_factory=dict)
    _deadlines: dict[tuple[str, int], int] = field(default_factory=dict)
    _outcomes: set[tuple[str, int]] = field(default_factory=set)
    _parked: set[tuple[str, int]] = field(default_factory=set)
    _parked_runs: set[str] = field(default_factory=set)
    _refused: set[str] = field(default_factory=set)
    _origins: set[tuple[int, int, int]] = field(default_factory=set)

    def command(self, record: Record, command: Command) -> None:
        """A command has landed."""
        partition = self._partitions[record.partition]
        partition.commands[record.offset] = command.workflow_id
        if command.request is not None and command.request.request_id in self._refused and not isinstance(command.body, QueryWorkflow):
            self.seen["refused request repeated"] += 1
        if isinstance(command.body, CompleteActivity | FailActivity):
            reference = command.body.activity
            if (reference.run_id, reference.scheduled_event_id) in self._outcomes:
                partition.results.append(record.offset)
        if command.origin is not None:
            origin = (command.origin.partition, command.origin.offset, command.origin.index)
            if origin in self._origins:
                partition.duplicates.append(record.offset)
                if not self.medium.is_copying:
                    self.seen["effect released again"] += 1
            self._origins.add(origin)

    def history(self, record: Record, history: HistoryRecord, verdict: Verdict) -> None:
        """A record of a history has landed."""
        partition = self._partitions[record.partition]
        if verdict is Verdict.LIVE:
            self._live(partition, record, history)
        else:
            self._dead(partition, record, history, verdict)

    def _dead(self, partition: _Partition, record: Record, history: HistoryRecord, verdict: Verdict) -> None:
        named = history.previous_claim_id if isinstance(history, Claim) else history.claim_id
        if self._claims.get(named, (0, record.offset))[1] < self.medium.bounds(record.topic, record.partition)[0]:
            self.seen["zombie naming a trimmed claim"] += 1
        match verdict, history:
            case Verdict.COPY, Claim():
                self.seen["copied claim dead"] += 1
            case Verdict.COPY, _:
                self.seen["copy seen"] += 1
            case Verdict.SUPERSEDED_CLAIM, Claim():
                self.seen["claim race lost" if history.claim_number == partition.claim_number else "late claim dead"] += 1
            case Verdict.SUPERSEDED_CLAIM, _:
                self.seen["zombie record dead"] += 1
            case Verdict.BEHIND_A_HOLE, _ if not isinstance(history, Claim):
                self.seen["dead behind a hole"] += 1
                partition.holes[history.claim_id] = min(history.sequence, partition.holes.get(history.claim_id, history.sequence))

    def _live(self, partition: _Partition, record: Record, history: HistoryRecord) -> None:
        self.seen["unknown outcome was appended"] += record.value in self.untold
        match history:
            case Claim():
                self._claim(partition, record, history)
                return
            case CommitRecord():
                self._commit(partition, history)
            case Forget():
                partition.trimming = history.claim_number
            case Carried():
                partition.trimming = history.claim_number
                if any(offset > partition.watermark and name == history.run.workflow_id for offset, name in partition.commands.items()):
                    self.seen["run carried while commands for it wait"] += 1
            case Checkpoint() if history.start >= 0 and history.part == history.parts:
                self.seen["trim resumed by a successor"] += partition.broken_off
                partition.trimming, partition.broken_off = 0, False
            case _:
                pass
        if partition.holes.get(history.claim_id, 0) > history.sequence:
            self.seen["late missing record live after all"] += 1
            del partition.holes[history.claim_id]
        if isinstance(history, CommitRecord | PositionRecord | Checkpoint) and history.watermark is not None:
            self._settled_up_to(partition, history.watermark)

    def _claim(self, partition: _Partition, record: Record, claim: Claim) -> None:
        partition.claim_number = claim.claim_number
        self._claims[claim.claim_id] = claim.claim_number, record.offset
        if partition.trimming:
            self.seen["trim broken off"] += 1
            partition.trimming, partition.broken_off = 0, True
        if split := {offset for offset in partition.applied if offset > partition.watermark}:
            self.seen["turn split: its commands skipped"] += 1
            partition.redone = {offset for offset in partition.commands if partition.watermark < offset < max(split)} - split

    def _commit(self, partition: _Partition, record: CommitRecord) -> None:
        partition.applied.update(record.command_offsets)
        if partition.redone & set(record.command_offsets):
            self.seen["turn split: its commands redone"] += 1
            partition.redone.clear()
        self.seen["poison became a dead letter"] += bool(record.dead_letters)
        self._refused.update(request.request_id for request in record.requests if isinstance(request.outcome, Refused))
        for one in record.transitions:
            for event_id, event in enumerate((*one.inbound, *one.produced), one.first_event_id):
                self._event((one.run_id, event_id), event, record)
            for note in one.notes:
                self._note(one.run_id, one.workflow_id, note)

    def _event(self, place: tuple[str, int], event: events.Event, record: CommitRecord) -> None:
        match event:
            case events.TimerStarted():
                self._timers[place] = record.claim_number
            case events.TimerFired() if self._timers[place[0], event.started_event_id] < record.claim_number:
                self.seen["timer fired after a takeover"] += 1
            case events.ActivityTaskScheduled():
                self._deadlines[place] = record.time_ms + event.schedule_to_close_timeout_ms
            case (
                events.ActivityTaskCompleted() | events.ActivityTaskFailed() | events.ActivityTaskTimedOut() | events.ActivityTaskCanceled()
            ):
                key = place[0], event.scheduled_event_id
                self._outcomes.add(key)
                if isinstance(event, events.ActivityTaskCompleted) and record.time_ms > self._deadlines[key]:
                    self.seen["backlog beat a timeout"] += 1
            case _:
                pass

    def _note(self, run_id: str, workflow_id: str, note: notes.Note) -> None:
        match note:
            case notes.ActivityTaskParked():
                self.seen["task parked"] += 1
                self._parked.add((run_id, note.scheduled_event_id))
            case notes.ActivityAttemptDispatched() if (run_id, note.scheduled_event_id) in self._parked:
                self.seen["task parked and resumed"] += 1
            case notes.RunParked():
                self._parked_runs.add(workflow_id)
            case notes.RunResumed() if workflow_id in self._parked_runs:
                self.seen["run parked and resumed"] += 1
            case _:
                pass

    def _settled_up_to(self, partition: _Partition, watermark: int) -> None:
        partition.watermark = max(partition.watermark, watermark)
        for what, waiting in (
            ("duplicate command dropped by its mark", partition.duplicates),
            ("late result dropped", partition.results),
        ):
            self.seen[what] += sum(offset <= watermark for offset in waiting)
            waiting[:] = [offset for offset in waiting if offset > watermark]
        partition.applied = {offset for offset in partition.applied if offset > watermark}
        partition.commands = {offset: name for offset, name in partition.commands.items() if offset > watermark}


@contextmanager
def looking_at(process: Process, seen: Counter[str]) -> Iterator[None]:
    """Count what an owner does in a turn without a word in the log."""
    owners = [(assigned, assigned.owner) for assigned in process.node.partitions.values() if assigned.owner is not None]
    asking = [(assigned, owner) for assigned, owner in owners if owner._barrier.questions]
    was_isolating, overtaken = process.isolation.is_on, process.log.overtaken
    yield
    seen["query withheld"] += sum(assigned.owner is not owner for assigned, owner in asking)
    seen["isolation entered"] += process.isolation.is_on and not was_isolating
    seen["isolation left"] += was_isolating and not process.isolation.is_on and all(one.owner is owner for one, owner in owners)
    seen["reader overtaken by a trim"] += process.log.overtaken - overtaken
    if process.began_empty and any(assigned.owner is not None for assigned in process.node.partitions.values()):
        process.began_empty = False
        seen["rebuild from empty"] += 1
