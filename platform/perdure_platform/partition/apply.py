"""Stage 5: live records -> rows and their offset, in one WriteBatch; the same call live, on rebuild and on a standby.

What belongs here is the translation of a fold's outcome into rows. It decides nothing, and reads back nothing that it wrote: the
states before and after each transition come with the record, made by `transition/fold.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from perdure_platform.partition.transition.effects import has_effects
from perdure_platform.partition.transition.positions import Positions, advance, step_over
from perdure_platform.partition.transition.state import RunState
from perdure_platform.store import keys, tables
from perdure_platform.store.port import StoreDamaged
from perdure_platform.store.tables import Batch, Tables
from perdure_schemas.history import (
    AppliedOffset,
    Carried,
    Checkpoint,
    Claim,
    CommitRecord,
    Forget,
    HistoryRecord,
    PositionRecord,
    SettledRequest,
    Strike,
)
from perdure_schemas.live import LiveState, Verdict
from perdure_schemas.replies import RunSummary

NEVER_MS = 1 << 63

RunChange = tuple[RunState | None, RunState]
"""A run before and behind one transition."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A record as read back, with its verdict and, where it is live, what it does to its runs.

    The last part of a carried run comes with (None, the run); a Forget with each of its runs, unchanged.
    """

    offset: int
    leader_epoch: int
    append_time_ms: int
    value: bytes
    record: HistoryRecord
    verdict: Verdict
    live: LiveState
    runs: tuple[RunChange, ...] = ()


class Applier:
    """Keeps a partition's rows, and the part of the fold that belongs to no run, in step with the log."""

    def __init__(self, store_tables: Tables) -> None:
        self._tables = store_tables
        self.positions: Positions = store_tables.positions()
        self.applied: dict[str, int] = store_tables.applied()
        self._settled_watermark = self.positions.watermark
        first_expiry = next(store_tables.expiries(), None)
        self._next_expiry_ms = NEVER_MS if first_expiry is None else keys.parse_expiry(first_expiry)
        """No settled request expires earlier."""
        self._unreleased: deque[int] = deque(offset for offset, _ in store_tables.unreleased())
        self._began_at = store_tables.began_at()
        self._half_checkpoint = store_tables.half_checkpoint()
        self.last_droppable_offset = self.positions.next_offset
        """Of the newest record that trimming may drop some day: a commit record, or a closed run carried. Of those from before this
        process nothing is known."""

    @property
    def is_partial(self) -> bool:
        """Whether this fold began in a trimmed log and has not yet met the record that names its beginning as the start."""
        return self.positions.start < self._began_at

    def begin(self, offset: int, checkpoint: Checkpoint) -> None:
        """Begin in an empty store with `checkpoint`, which stands at `offset` of a trimmed log. Raises StoreDamaged if it is not empty."""
        if self._tables.store.get(keys.POSITIONS) is not None:
            raise StoreDamaged(f"a fold cannot begin at offset {offset} of the log in a store that is at {self.positions.next_offset}")
        live = LiveState(checkpoint.claim_number, checkpoint.claim_id, checkpoint.sequence - 1, checkpoint.live_count - 1)
        self.positions = Positions(next_offset=offset, live=live)
        self._began_at = offset
        self._tables.store.write({keys.BEGAN: keys.number(offset), keys.POSITIONS: tables.encode_positions(self.positions)})

    def has_releasable(self, released: int) -> bool:
        """Whether the log does not know yet of effects that are acknowledged up to `released`."""
        return bool(self._unreleased) and self._unreleased[0] <= released

    def apply(self, judged: Sequence[Judged]) -> None:
        """Write what `judged` records, in log order, come to."""
        batch: Batch = {}
        for one in judged:
            if one.verdict is not Verdict.LIVE:
                self.positions = step_over(self.positions, one.offset, one.leader_epoch)
                continue
            self.positions = advance(self.positions, one.record, one.live, one.offset, one.leader_epoch, one.append_time_ms)
            match one.record:
                case CommitRecord():
                    self.last_droppable_offset = one.offset
                    self._commit(one, one.record, batch)
                case Checkpoint():
                    self._checkpoint(one.offset, one.record, batch)
                case Carried():
                    self._carry(one, one.record, batch)
                case Forget():
                    for forgotten, _ in one.runs:
                        assert forgotten is not None
                        self._forget(forgotten, batch)
                case Claim() | PositionRecord() | Strike():
                    pass  # positions are all that they are
            self._settle(batch)
        if judged:  # dead ones move the place too: rows that depend on how records were batched could not be compared
            if self._next_expiry_ms < self.positions.time_ms:
                self._expire(batch)
            batch[keys.POSITIONS] = tables.encode_positions(self.positions)
            self._tables.store.write(batch)

    def _commit(self, one: Judged, record: CommitRecord, batch: Batch) -> None:
        self._raise_applied(record.applied, batch)
        for request in record.requests:
            self._remember(request, batch)
        row = tables.encode_run_record(one.append_time_ms, one.value)
        for before, after in one.runs:
            batch[keys.run_record(after.workflow_id, after.run_id, one.offset)] = row
            write_run(before, after, batch)
        if has_effects(record):
            self._unreleased.append(one.offset)
            batch[keys.unreleased(one.offset)] = tables.unreleased_row(record, one.offset, one.value, has_rows=bool(one.runs))

    def _raise_applied(self, applied: Sequence[AppliedOffset], batch: Batch) -> None:
        for one in applied:
            if one.offset > self.applied.get(one.workflow_id, -1):
                self.applied[one.workflow_id] = one.offset
                batch[keys.applied(one.workflow_id)] = keys.number(one.offset)

    def _remember(self, request: SettledRequest, batch: Batch) -> None:
        batch[keys.request(request.workflow_id, request.request_id)] = tables.encode_request(request)
        batch[keys.expiry(request.expires_at_ms, request.workflow_id, request.request_id)] = b""
        self._next_expiry_ms = min(self._next_expiry_ms, request.expires_at_ms)

    def _expire(self, batch: Batch) -> None:
        """Forget the requests whose time the partition's time has passed: those of this batch, and those in the store."""
        time_ms = self.positions.time_ms
        passed = [key for key in batch if key.startswith(keys.EXPIRIES) and keys.parse_expiry(key) < time_ms]
        coming = [keys.parse_expiry(key) for key in batch if key.startswith(keys.EXPIRIES) and keys.parse_expiry(key) >= time_ms]
        with closing(self._tables.expiries(self._next_expiry_ms)) as stored:
            for key in stored:
                if keys.parse_expiry(key) >= time_ms:
                    coming.append(keys.parse_expiry(key))
                    break
                passed.append(key)
        for key in passed:
            batch[key] = None
            request = keys.request_of_expiry(key)
            newer = batch.get(request)
            if newer is None or tables.decode_request(newer).expires_at_ms == keys.parse_expiry(key):
                batch[request] = None
        self._next_expiry_ms = min(coming, default=NEVER_MS)

    # -- trimming (design.md 3.8)

    def _checkpoint(self, offset: int, checkpoint: Checkpoint, batch: Batch) -> None:
        self._raise_applied(checkpoint.applied, batch)
        if self.is_partial:  # who has read from further back knows them
            for request in checkpoint.requests:
                self._remember(request, batch)
        if checkpoint.part == 1:
            self._half_checkpoint = offset
            batch[keys.HALF_CHECKPOINT] = keys.number(offset)
        if checkpoint.part == checkpoint.parts:  # one of which parts were lost with their owner is no place to begin
            batch[keys.checkpoint(self._half_checkpoint)] = tables.encode_checkpoint(self.positions.time_ms, checkpoint.watermark)
            batch[keys.HALF_CHECKPOINT] = None
            self._half_checkpoint = -1
        if checkpoint.start > 0:
            for old in self._tables.checkpoints():
                if old.offset < checkpoint.start:
                    batch[keys.checkpoint(old.offset)] = None

    def _carry(self, one: Judged, carried: Carried, batch: Batch) -> None:
        """With its last part, a carried run replaces the records that it was made of."""
        workflow_id, run_id = carried.run.workflow_id, carried.run.run_id
        if one.runs:
            ((_, run),) = one.runs
            if not run.is_open:
                self.last_droppable_offset = one.offset
            prefix = keys.run_records(workflow_id, run_id)
            rows = sorted({*self._tables.run_rows(workflow_id, run_id), *(key for key in batch if key.startswith(prefix))})
            for key in rows[: len(rows) - (carried.parts - 1)]:
                batch[key] = None
            write_run(None, run, batch, is_current=self._is_current(run, carried.transitions[0].offset))
        batch[keys.run_record(workflow_id, run_id, one.offset)] = tables.encode_run_record(one.append_time_ms, one.value)

    def _is_current(self, run: RunState, first_offset: int) -> bool:
        """Carrying changes nothing about which run of an id is current; but who began in a trimmed log learns it here: the last one that
        began. Runs of one id are carried in the order in which they began, so of two that began in one record the later one is."""
        current = self._tables.current_run(run.workflow_id)
        if not self.is_partial or current == run.run_id:
            return current == run.run_id
        first = None if current is None else next(self._tables.transitions(run.workflow_id, current), None)
        return first is None or first.offset <= first_offset

    def _forget(self, run: RunState, batch: Batch) -> None:
        for key in self._tables.run_rows(run.workflow_id, run.run_id):
            batch[key] = None
        batch[keys.visibility(run.start_time_ms, run.workflow_id, run.run_id)] = None
        if self._tables.current_run(run.workflow_id) == run.run_id:
            batch[keys.current_run(run.workflow_id)] = None

    def _settle(self, batch: Batch) -> None:
        """Drop the rows that the positions have passed."""
        positions = self.positions
        if positions.watermark > self._settled_watermark:
            self._settled_watermark = positions.watermark
            for workflow_id in [w for w, offset in self.applied.items() if offset <= positions.watermark]:
                del self.applied[workflow_id]
                batch[keys.applied(workflow_id)] = None
        while self._unreleased and self._unreleased[0] <= positions.released:
            batch[keys.unreleased(self._unreleased.popleft())] = None


def write_run(before: RunState | None, after: RunState, batch: Batch, *, is_current: bool = True) -> None:
    """The rows of a run that follow from its state; one that begins is its id's current run."""
    workflow_id, run_id = after.workflow_id, after.run_id
    if before is None and is_current:
        batch[keys.current_run(workflow_id)] = run_id.encode()
    if before is None or (before.status, before.is_blocked) != (after.status, after.is_blocked):
        batch[keys.visibility(after.start_time_ms, workflow_id, run_id)] = tables.encode_summary(summary(after))
        batch[keys.open_run(workflow_id, run_id)] = b"" if after.is_open else None
    old_due, new_due = (before.next_due_ms() if before is not None else 0), after.next_due_ms()
    if old_due != new_due:
        if old_due:
            batch[keys.due(old_due, workflow_id, run_id)] = None
        if new_due:
            batch[keys.due(new_due, workflow_id, run_id)] = b""
    was_failing, is_failing = before is not None and before.activation_failure is not None, after.activation_failure is not None
    if was_failing != is_failing:
        batch[keys.failing(workflow_id, run_id)] = b"" if is_failing else None


def summary(run: RunState) -> RunSummary:
    """A run as one row of a list."""
    started = run.started
    return RunSummary(
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        first_execution_run_id=started.first_execution_run_id,
        workflow_type=started.workflow_type,
        task_queue=started.task_queue,
        status=run.status,
        start_time_ms=run.start_time_ms,
        close_time_ms=run.close_time_ms,
        execution_time_ms=run.start_time_ms + started.first_activation_delay_ms,
        history_length=run.next_event_id - 1,
        memo=started.memo,
        search_attributes=started.search_attributes,
        blocked=run.is_blocked,
    )
