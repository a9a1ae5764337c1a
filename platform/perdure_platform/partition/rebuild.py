"""history from the store's offset -> states and rows, through the same fold and the same `apply` as live. Cannot append or release.

Also what a standby runs, and `perdure partition verify`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from perdure._log.port import Record
from perdure_platform.partition.apply import Applier, Judged, RunChange
from perdure_platform.partition.confirm import decode_record
from perdure_platform.partition.runs import Runs
from perdure_platform.partition.transition.fold import fold_transition
from perdure_platform.partition.transition.state import RunState
from perdure_platform.store import keys
from perdure_platform.store.tables import Tables
from perdure_schemas.errors import LogCorrupt, PerdureError
from perdure_schemas.history import Carried, Checkpoint, Claim, CommitRecord, Forget, PositionRecord, RunName, Strike, Transition
from perdure_schemas.live import Verdict, judge, link_of


@dataclass(frozen=True, slots=True)
class Topics:
    """The partition as its topics show it, to be compared with what claims say (R17)."""

    namespace: str
    partition: int
    partition_count: int
    commands_topic_id: str
    history_topic_id: str


class NotAStart(LogCorrupt):
    """A trimmed log may not begin where this fold began; another place may do."""


class HistoryGap(PerdureError):
    """Offsets are missing where reading went on: the reader has skipped records, or the log has lost them (A8)."""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(
            f"the history goes on at offset {found} where {expected} was expected: a part of the history topic is missing. See the runbook"
        )
        self.expected = expected


class Rebuild:
    """Folds one partition's history into its store; where the log was trimmed, an empty one from the checkpoint at `begin_at`."""

    def __init__(self, topics: Topics, store_tables: Tables, runs: Runs, applier: Applier, begin_at: int = 0) -> None:
        self._topics = topics
        self._tables = store_tables
        self._runs = runs
        self._applier = applier
        self._begin_at = begin_at
        self._skipped: set[RunName] = set()
        self.events = 0

    @property
    def next_offset(self) -> int:
        """Where reading goes on."""
        return max(self._begin_at, self._applier.positions.next_offset)

    def fold(self, records: Sequence[Record]) -> list[Judged]:
        """Take records in offset order. Raises LogCorrupt, and HistoryGap, with nothing behind the offending record applied.

        Sequences alone do not show that a part is missing: what lies behind it looks like what lies behind a lost append, and is dead.
        But a lost append leaves no offset out.
        """
        if records and self._begin_at > self._applier.positions.next_offset:
            self._begin(records[0])
        try:
            return self._fold_all(records)
        except LogCorrupt as error:
            if self._applier.is_partial and not isinstance(error, NotAStart):
                raise NotAStart(f"read from offset {self._begin_at}: {error}") from error
            raise

    def _fold_all(self, records: Sequence[Record]) -> list[Judged]:
        live = self._applier.positions.live
        done: list[Judged] = []
        judged: list[Judged] = []
        expected = self.next_offset
        for record in records:
            if record.offset > expected:
                raise HistoryGap(expected, record.offset)
            expected = record.offset + 1
            history = decode_record(record)
            verdict, live = judge(live, history, link_of(record.value))
            one = Judged(record.offset, record.leader_epoch, record.timestamp_ms, record.value, history, verdict, live)
            if verdict is Verdict.LIVE:
                match history:
                    case Claim():
                        check_claim(self._topics, history, record.offset)
                    case CommitRecord():
                        folded = [self._fold(transition, history.time_ms) for transition in history.transitions]
                        one = replace(one, runs=tuple(change for change in folded if change is not None))
                    case Forget() | Carried():
                        self._applier.apply(judged)  # what it changes is read from the store, and what follows reads what it changed
                        one = replace(one, runs=self._trimmed(history))
                        self._applier.apply([one])
                        done += [*judged, one]
                        judged = []
                        continue
                    case Checkpoint():
                        if self._applier.is_partial:
                            self._applier.apply(judged)
                            done, judged = done + judged, []
                            self._check_start(history, record.offset)
                    case PositionRecord() | Strike():
                        pass
            judged.append(one)
        self._applier.apply(judged)
        self._runs.trim()
        return done + judged

    def check_complete(self) -> None:
        """At the end of the log: raise NotAStart unless this fold began at its start, or where a live checkpoint says that it may."""
        if self._applier.is_partial:
            raise NotAStart(f"no record says that the log may begin at offset {self._begin_at}")

    def _begin(self, record: Record) -> None:
        checkpoint = decode_record(record)
        if record.offset != self._begin_at or not isinstance(checkpoint, Checkpoint) or checkpoint.part != 1:
            raise NotAStart(f"the log may not begin at offset {self._begin_at}: there is no checkpoint")
        self._applier.begin(record.offset, checkpoint)

    def _trimmed(self, record: Forget | Carried) -> tuple[RunChange, ...]:
        """The runs that are forgotten, or the run that has been carried as a whole with this record."""
        names = record.runs if isinstance(record, Forget) else (record.run,)
        self._skipped.difference_update(names)
        if isinstance(record, Carried):
            self._runs.forget(record.run.workflow_id)
            run = carried_run(self._tables, record)
            if run is None:
                self._skipped.update({record.run} if self._applier.is_partial else ())
                return ()
            known = self._runs.load(record.run.workflow_id, record.run.run_id)
            if known is not None and known != run:
                raise LogCorrupt(f"workflow {run.workflow_id!r}, run {run.run_id}, was carried, and is not what its records made of it")
            return ((None, run),)
        found = [run for name in names if (run := self._runs.load(name.workflow_id, name.run_id)) is not None]
        if opened := [run for run in found if run.is_open]:
            raise LogCorrupt(f"workflow {opened[0].workflow_id!r}, run {opened[0].run_id}, is forgotten while it is open")
        for name in names:
            self._runs.forget(name.workflow_id)
        return tuple((run, run) for run in found)

    def _check_start(self, checkpoint: Checkpoint, offset: int) -> None:
        """Where a checkpoint names the log's start, that one must be whole, and every run from before it must have been carried (R5)."""
        if checkpoint.start < self._begin_at:
            return
        named = f"the checkpoint at offset {offset} says that the log may begin at {checkpoint.start}, but"
        if self._tables.store.get(keys.checkpoint(self._tables.began_at())) is None:
            raise NotAStart(
                f"{named} parts of the one at {self._begin_at} are missing, and with them settled requests: this is no place to begin"
            )
        if self._skipped:
            name = min(self._skipped, key=str)
            raise NotAStart(
                f"{named} workflow {name.workflow_id!r}, run {name.run_id}, which began before, was not carried: this is no place to begin"
            )

    def _fold(self, transition: Transition, time_ms: int) -> RunChange | None:
        begins = transition.first_event_id == 1
        before = None if begins else self._runs.entry(transition.workflow_id).state
        if not begins and self._applier.is_partial and (before is None or before.run_id != transition.run_id):
            self._skipped.add(RunName(transition.workflow_id, transition.run_id))
            return None
        if before is not None and before.run_id != transition.run_id:
            raise LogCorrupt(
                f"a record carries on run {transition.run_id} of workflow {transition.workflow_id!r}, whose current run is {before.run_id}"
            )
        after = fold_transition(before, transition, time_ms)
        self._runs.put(transition.workflow_id, after)
        self.events += len(transition.inbound) + len(transition.produced)
        return before, after


def carried_run(store_tables: Tables, last: Carried) -> RunState | None:
    """The run that `last` completes, folded from its parts, those before it read from the store; None if it completes none."""
    if last.part != last.parts:
        return None
    parts = store_tables.carried_parts(last.run.workflow_id, last.run.run_id) if last.parts > 1 else []
    if [part.part for part in parts] != list(range(1, last.parts)):
        return None  # of an unfinished trim; they count for nothing
    state: RunState | None = None
    for part in (*parts, last):
        for carried in part.transitions:
            state = fold_transition(state, carried.transition, carried.time_ms)
    return state


def check_claim(topics: Topics, claim: Claim, offset: int) -> None:
    """Raise LogCorrupt unless `claim` was made for these very topics and this number of partitions (R17)."""
    if claim.partition_count != topics.partition_count:
        raise LogCorrupt(
            f"namespace {topics.namespace!r} was made with {claim.partition_count} partitions (claim at offset {offset}), "
            f"but its topics have {topics.partition_count}: partitions cannot be added to a namespace; "
            "restore the topics, or make a new namespace"
        )
    for what, claimed, actual in (
        ("history", claim.history_topic_id, topics.history_topic_id),
        ("commands", claim.commands_topic_id, topics.commands_topic_id),
    ):
        if claimed != actual:
            raise LogCorrupt(
                f"the {what} topic of namespace {topics.namespace!r} is not the one that its claims name ({claimed}, now {actual}): "
                "it was deleted and made anew, or restored from elsewhere. See the runbook before you go on"
            )
