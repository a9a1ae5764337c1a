"""Misreadings of what may run ahead of the log, and what may not (design.md 3.3, 3.4, 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from perdure_platform.partition.apply import Applier, Judged
from perdure_platform.partition.owner import PartitionOwner
from perdure_platform.partition.runs import Runs
from perdure_platform.store import keys
from perdure_platform.store.tables import Tables
from perdure_schemas.live import Verdict


def written_on_append(patch: pytest.MonkeyPatch) -> None:
    """The store is written when a record is appended."""
    original_apply, original_end = Applier.apply, PartitionOwner._end_turn

    def apply(self: Any, judged: Sequence[Judged]) -> None:
        original_apply(self, [one for one in judged if one.offset >= self.positions.next_offset])

    def end_turn(self: Any, now_ms: int) -> None:
        original_end(self, now_ms)
        applier = self._applier
        for sent in self.confirmer.in_flight:
            live = applier.positions.live
            if sent.record.claim_id == live.claim_id and sent.record.sequence > live.sequence:
                live = replace(live, sequence=sent.record.sequence, live_count=live.live_count + 1)
                place = applier.positions.next_offset, -1, self._parts.log.now_ms()
                original_apply(applier, [Judged(*place, sent.value, sent.record, Verdict.LIVE, live, sent.runs)])

    patch.setattr(Applier, "apply", apply)
    patch.setattr(PartitionOwner, "_end_turn", end_turn)


class _TwoBatches:
    """A store that takes positions behind the rows that they stand for."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def write(self, batch: Mapping[bytes, bytes | None]) -> None:
        rows = {key: value for key, value in batch.items() if key != keys.POSITIONS}
        if rows:
            self._store.write(rows)
        if keys.POSITIONS in batch:
            self._store.write({keys.POSITIONS: batch[keys.POSITIONS]})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def offset_in_second_batch(patch: pytest.MonkeyPatch) -> None:
    """The store takes the offset in a second batch."""
    original = Applier.__init__

    def mutant(self: Any, store_tables: Tables) -> None:
        apart: Any = _TwoBatches(store_tables.store)
        original(self, Tables(apart))

    patch.setattr(Applier, "__init__", mutant)


def evicted_in_flight(patch: pytest.MonkeyPatch) -> None:
    """Runs with records in flight are dropped from memory like any others."""

    def confirmed(self: Any, workflow_id: str) -> None:
        entry = self._known(workflow_id)
        if entry is not None:
            entry.in_flight -= 1

    def trim(self: Any) -> None:
        for entries in (self._open_runs, self._closed_runs):
            for workflow_id in list(entries)[: max(0, len(entries) - self._open_max)]:
                self._drop_instance(entries.pop(workflow_id))

    patch.setattr(Runs, "confirmed", confirmed)
    patch.setattr(Runs, "trim", trim)
