"""Trimming: what retention drops is forgotten, what is still needed is carried forward, and the prefix of the log goes (design.md 3.8).

A checkpoint is written from time to time. Once one is older than the retention, and between two turns with nothing in flight and every
effect acknowledged: Forget for the runs that closed before, Carried for every other run whose records begin before that checkpoint, and
a checkpoint that names it as the log's start. When that is confirmed, the records before the start are deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from perdure._log.errors import LogError
from perdure._log.port import Log
from perdure_platform.config import OwnerLimits
from perdure_platform.partition.append import Appender
from perdure_platform.partition.apply import Applier
from perdure_platform.partition.rebuild import Topics
from perdure_platform.partition.runs import Runs
from perdure_platform.partition.transition.sizes import settled_bytes
from perdure_platform.partition.transition.state import RunState
from perdure_platform.store import keys
from perdure_platform.store.tables import StoredCheckpoint, StoredTransition, Tables
from perdure_schemas.history import AppliedOffset, CarriedTransition, Caution, Mark, SettledRequest
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.topics import commands_topic, history_topic

logger = logging.getLogger("perdure.owner")

T = TypeVar("T")

SETTLE_MAX_MS = 5_000
"""A partition that does not settle for so long takes commands again; trimming waits for another time."""

TRY_AGAIN_MS = 60_000
DELETE_TIMEOUT_MS = 2_000

PART_BYTES = 512 * 1024
"""Size from which a carried run, or the requests of a checkpoint, go on in another part."""

IN_FLIGHT_BYTES_MAX = 8 * 1024 * 1024
"""More is not appended before some of it has come back."""

FORGET_RUNS_MAX = 500
RUNS_AT_ONCE = 200
"""Runs that are looked at in one turn; each is folded from its records, and the turn must end long before the session does."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What belongs to no run, as far as it is decided: what a checkpoint holds."""

    watermark: int
    released: int
    marks: dict[str, Mark]
    applied: tuple[AppliedOffset, ...]
    """Above the watermark, of a turn of which only a part had landed when this claim began."""
    requests: tuple[SettledRequest, ...]
    caution: Caution


class Stage(Enum):
    """What trimming is about to do."""

    IDLE = "idle"
    SETTLING = "settling"
    APPENDING = "appending"
    CONFIRMING = "confirming"


class Trimmer:
    """For one partition under one claim. `limits.retention_ms` 0 keeps everything; a checkpoint is written all the same where the format
    level that owners must read is to be raised."""

    def __init__(
        self,
        topics: Topics,
        log: Log,
        store_tables: Tables,
        runs: Runs,
        applier: Applier,
        appender: Appender,
        limits: OwnerLimits,
        now_ms: int,
        decided: Callable[[], Decided],
        aside: Callable[[Callable[[], None]], Future[None]],
    ) -> None:
        self._topics = topics
        self._log = log
        self._tables = store_tables
        self._runs = runs
        self._applier = applier
        self._appender = appender
        self._limits = limits
        self._decided = decided
        self._aside = aside
        self._stage = Stage.IDLE
        raises_level = limits.format_level > applier.positions.format_level
        self._next_ms = now_ms if raises_level else now_ms + limits.checkpoint_interval_ms
        self._give_up_ms = 0
        self._work: Iterator[None] = iter(())
        self._deleted = 0
        self._deleting: tuple[int, Future[None]] | None = None
        self._delete_at_ms = now_ms

    @property
    def wants_quiet(self) -> bool:
        """Whether the owner shall take nothing new, so that what is under way comes to its end."""
        return self._stage is not Stage.IDLE

    @property
    def is_deleting(self) -> bool:
        """Whether a prefix is being deleted elsewhere, so that the owner should look again soon."""
        return self._deleting is not None

    def turn(self, now_ms: int, *, is_settled: bool, in_flight_bytes: int) -> None:
        """Between two turns: do what is due. `is_settled`: nothing is in flight, and every effect is acknowledged."""
        if self._stage is Stage.IDLE:
            if self._limits.retention_ms:
                self._delete_prefix(now_ms)
            if now_ms >= self._next_ms and self._is_worth_it(now_ms):
                self._stage, self._give_up_ms = Stage.SETTLING, now_ms + SETTLE_MAX_MS
        if self._stage is Stage.SETTLING:
            if is_settled:
                self._work = self._append(now_ms, self._decided())
                self._stage = Stage.APPENDING
            elif now_ms >= self._give_up_ms:
                logger.warning("partition %d does not settle; it is trimmed later", self._topics.partition)
                self._stage, self._next_ms = Stage.IDLE, now_ms + TRY_AGAIN_MS
        if self._stage is Stage.APPENDING and in_flight_bytes < IN_FLIGHT_BYTES_MAX and not self._go_on():
            self._stage = Stage.CONFIRMING
        elif self._stage is Stage.CONFIRMING and not in_flight_bytes:
            self._stage, self._next_ms = Stage.IDLE, now_ms + self._limits.checkpoint_interval_ms

    def _is_worth_it(self, now_ms: int) -> bool:
        """Whether a checkpoint, or a new start, would leave anything behind it, or raise the level; an idle partition is left alone."""
        if self._limits.format_level > self._applier.positions.format_level:
            return True
        if not self._limits.retention_ms:
            return False
        newest = max((checkpoint.offset for checkpoint in self._tables.checkpoints()), default=-1)
        return self._applier.last_droppable_offset > newest or self._start(now_ms) is not None

    def _go_on(self) -> bool:
        for _ in self._work:
            return True
        return False

    def _append(self, now_ms: int, decided: Decided) -> Iterator[None]:
        """Append what trimming takes, a few records at a time."""
        released = decided.released
        start = self._start(now_ms)
        if start is not None:
            before_ms = now_ms - self._limits.retention_ms
            kept: list[tuple[int, RunState]] = []
            forgotten: list[RunState] = []
            for count, (offset, run) in enumerate(self._runs_before(start, before_ms), 1):
                if run.is_open or run.close_time_ms > before_ms:
                    kept.append((offset, run))
                else:
                    forgotten.append(run)
                if len(forgotten) >= FORGET_RUNS_MAX:
                    self._appender.forget(forgotten, released, now_ms)
                    forgotten = []
                if count % RUNS_AT_ONCE == 0:
                    yield
            if forgotten:
                self._appender.forget(forgotten, released, now_ms)
                yield
            for run in _in_order(kept):
                self._appender.carry(run, _carried_in_parts(self._tables.transitions(run.workflow_id, run.run_id)), released, now_ms)
                yield
        parts = _in_parts(decided.requests, settled_bytes)
        names = -1 if start is None else start.offset
        level = max(self._limits.format_level, self._applier.positions.format_level)
        self._appender.checkpoint(decided.watermark, released, decided.marks, decided.applied, now_ms, parts, names, decided.caution, level)

    def _start(self, now_ms: int) -> StoredCheckpoint | None:
        """The newest checkpoint that is older than the retention, if a start there would leave anything behind."""
        if not self._limits.retention_ms:
            return None
        start = self._applier.positions.start
        old = [c for c in self._tables.checkpoints() if c.time_ms <= now_ms - self._limits.retention_ms]
        return old[-1] if old and old[-1].offset > start and self._applier.last_droppable_offset >= start else None

    def _runs_before(self, start: StoredCheckpoint, before_ms: int) -> Iterator[tuple[int, RunState]]:
        """The runs that have rows from before `start`, oldest first, each with the offset at which it began; and of those that began before
        it all that closed before `before_ms`, wherever their rows are.

        So of the runs of one id none is forgotten before an older one, which was carried to behind `start`: whoever begins to read there
        would take that for the id's current run, and could not know better.
        """
        for row in self._tables.summaries_back():
            if row.start_time_ms > start.time_ms:
                return
            rows = self._tables.run_rows(row.workflow_id, row.run_id)
            is_past = row.status is not WorkflowStatus.RUNNING and row.close_time_ms <= before_ms
            if rows and (is_past or keys.offset_of_run_record(rows[0]) < start.offset):
                run = self._runs.load(row.workflow_id, row.run_id)
                assert run is not None
                yield next(self._tables.transitions(row.workflow_id, row.run_id)).offset, run

    def _delete_prefix(self, now_ms: int) -> None:
        """Have what lies before the confirmed start deleted, and the commands that are settled there. Nothing waits for it (K9)."""
        if self._deleting is not None:
            self._look_at_deletion(*self._deleting, now_ms)
        if self._deleting is not None:
            return
        start = self._applier.positions.start
        if start <= self._deleted or now_ms < self._delete_at_ms:
            return
        first = next(self._tables.checkpoints(), None)
        settled = first.watermark + 1 if first is not None and first.offset == start else 0
        self._deleting = start, self._aside(lambda: self._truncate(start, settled))

    def _look_at_deletion(self, start: int, deletion: Future[None], now_ms: int) -> None:
        if not deletion.done():
            return
        self._deleting = None
        try:
            deletion.result()
        except LogError as error:
            logger.warning("partition %d: the records before offset %d stay for now: %s", self._topics.partition, start, error)
            self._delete_at_ms = now_ms + TRY_AGAIN_MS
            return
        self._deleted = start
        logger.info("partition %d: its history begins at offset %d now", self._topics.partition, start)

    def _truncate(self, start: int, settled: int) -> None:
        """Blocks, and is not called on the thread of the loop."""
        self._log.truncate_before(history_topic(self._topics.namespace), self._topics.partition, start, DELETE_TIMEOUT_MS)
        if settled > 0:
            self._log.truncate_before(commands_topic(self._topics.namespace), self._topics.partition, settled, DELETE_TIMEOUT_MS)


def _in_order(runs: list[tuple[int, RunState]]) -> list[RunState]:
    """Runs in the order in which they began; of two that began in one record, one followed from the other."""
    runs.sort(key=lambda one: one[0])
    for at in range(1, len(runs)):
        if runs[at][0] == runs[at - 1][0] and runs[at][1].new_run_id == runs[at - 1][1].run_id:
            runs[at - 1], runs[at] = runs[at], runs[at - 1]
    return [run for _, run in runs]


def _carried_in_parts(stored: Iterable[StoredTransition]) -> list[list[CarriedTransition]]:
    parts = _in_parts(stored, lambda one: one.size_bytes)  # with its notes, which may be most of it
    return [[CarriedTransition(one.sequence, one.offset, one.time_ms, one.transition) for one in part] for part in parts]


def _in_parts(every: Iterable[T], size_of: Callable[[T], int]) -> list[list[T]]:
    """Cut so that each part fits into a record; at least one, and none is empty if there is another."""
    parts: list[list[T]] = [[]]
    part_bytes = 0
    for one in every:
        size_bytes = size_of(one)
        if parts[-1] and part_bytes + size_bytes > PART_BYTES:
            parts.append([])
            part_bytes = 0
        parts[-1].append(one)
        part_bytes += size_bytes
    return parts
