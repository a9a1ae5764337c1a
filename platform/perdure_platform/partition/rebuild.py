"""history from the store's offset -> states and rows, through the same fold and the same `apply` as live. Cannot append or release.

Also what a standby runs, and `perdure partition verify`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perdure._log.port import Record
from perdure_platform.partition.apply import Applier, Judged, RunChange
from perdure_platform.partition.confirm import decode_record
from perdure_platform.partition.runs import Runs
from perdure_platform.partition.transition.fold import fold_transition
from perdure_schemas.errors import LogCorrupt
from perdure_schemas.history import Claim, CommitRecord, Transition
from perdure_schemas.live import Verdict, judge


@dataclass(frozen=True, slots=True)
class Topics:
    """The partition as its topics show it, to be compared with what claims say (R17)."""

    namespace: str
    partition: int
    partition_count: int
    commands_topic_id: str
    history_topic_id: str


class Rebuild:
    """Folds one partition's history into its store."""

    def __init__(self, topics: Topics, runs: Runs, applier: Applier) -> None:
        self._topics = topics
        self._runs = runs
        self._applier = applier
        self.claims: list[int] = []
        self.events = 0

    @property
    def next_offset(self) -> int:
        """Where reading goes on."""
        return self._applier.positions.next_offset

    def fold(self, records: Sequence[Record]) -> list[Judged]:
        """Take records in offset order. Raises LogCorrupt, with nothing of the batch applied."""
        live = self._applier.positions.live
        judged: list[Judged] = []
        for record in records:
            history = decode_record(record)
            verdict, live = judge(live, history)
            changes: tuple[RunChange, ...] = ()
            if verdict is Verdict.LIVE:
                if isinstance(history, Claim):
                    check_claim(self._topics, history, record.offset)
                    self.claims.append(record.timestamp_ms)
                elif isinstance(history, CommitRecord):
                    changes = tuple(self._fold(transition, history.time_ms) for transition in history.transitions)
            judged.append(Judged(record.offset, record.leader_epoch, record.timestamp_ms, record.value, history, verdict, live, changes))
        self._applier.apply(judged)
        self._runs.trim()
        return judged

    def _fold(self, transition: Transition, time_ms: int) -> RunChange:
        begins = transition.first_event_id == 1
        before = None if begins else self._runs.entry(transition.workflow_id).state
        if before is not None and before.run_id != transition.run_id:
            raise LogCorrupt(
                f"a record carries on run {transition.run_id} of workflow {transition.workflow_id!r}, whose current run is {before.run_id}"
            )
        after = fold_transition(before, transition, time_ms)
        self._runs.put(transition.workflow_id, after)
        self.events += len(transition.inbound) + len(transition.produced)
        return before, after


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
