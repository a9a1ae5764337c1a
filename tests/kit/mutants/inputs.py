"""Misreadings of which inputs are settled: watermark, applied offsets, marks (design.md 3.5, 3.6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from perdure._log.port import Record
from perdure_platform.partition import owner
from perdure_platform.partition.append import Appender
from perdure_platform.partition.apply import Applier
from perdure_platform.partition.decode import is_origin_new
from perdure_platform.partition.owner import PartitionOwner
from perdure_platform.partition.transition.draft import Arrived
from perdure_platform.store import keys
from perdure_schemas.history import CommitRecord, Mark


def _on_every_record(patch: pytest.MonkeyPatch, changes: Callable[[Any], dict[str, Any]]) -> None:
    original_decide, original_append = PartitionOwner._decide, Appender._append

    def decide(self: Any, *arguments: Any) -> Any:
        self._appender.changes = changes(self)
        return original_decide(self, *arguments)

    def append(self: Any, record: Any, *rest: Any) -> None:
        if isinstance(record, CommitRecord) and record.watermark is None:
            record = replace(record, **self.changes)
        original_append(self, record, *rest)

    patch.setattr(PartitionOwner, "_decide", decide)
    patch.setattr(Appender, "_append", append)


def wm_every(patch: pytest.MonkeyPatch) -> None:
    """The turn's watermark in each of its records."""
    _on_every_record(patch, lambda self: {"watermark": self.next_command_offset - 1})


def marks_every(patch: pytest.MonkeyPatch) -> None:
    """The turn's marks in each of its records."""
    _on_every_record(patch, lambda self: {"marks": {str(source): Mark(*mark) for source, mark in self._marks.items()}})


def applied_off(patch: pytest.MonkeyPatch) -> None:
    """No applied offsets."""
    original = PartitionOwner._decode

    def mutant(self: Any, *arguments: Any) -> Any:
        kept, self._applier.applied = self._applier.applied, {}
        try:
            return original(self, *arguments)
        finally:
            self._applier.applied = kept

    patch.setattr(PartitionOwner, "_decode", mutant)


def applied_per_run(patch: pytest.MonkeyPatch) -> None:
    """A new run of a workflow id forgets what was applied before it."""
    original = Applier._commit

    def mutant(self: Any, one: Any, record: Any, batch: Any) -> None:
        original(self, one, record, batch)
        for before, after in one.runs:
            if before is None and self.applied.pop(after.workflow_id, None) is not None:
                batch[keys.applied(after.workflow_id)] = None

    patch.setattr(Applier, "_commit", mutant)


def marks_off(patch: pytest.MonkeyPatch) -> None:
    """No marks."""
    patch.setattr(owner, "is_origin_new", lambda command, marks: True)


def marks_not_skipped(patch: pytest.MonkeyPatch) -> None:
    """Commands that a half-appended turn has applied, and that are skipped, move no mark."""
    original = PartitionOwner._decode

    def mutant(self: Any, *arguments: Any) -> Any:
        before = dict(self._marks)
        inputs, dead_letters = original(self, *arguments)
        self._marks.clear()
        self._marks.update(before)
        for arrived in (item for some in inputs.values() for item in some if isinstance(item, Arrived)):
            is_origin_new(arrived.command, self._marks)
        return inputs, dead_letters

    patch.setattr(PartitionOwner, "_decode", mutant)


def group_offsets(patch: pytest.MonkeyPatch) -> None:
    """A takeover reads commands from where its predecessor had got to in reading, as a consumer group would keep it."""
    original_init, original_turn = PartitionOwner.__init__, PartitionOwner.turn

    def committed(self: Any) -> dict[str, int]:
        medium = self._parts.log.medium
        if not hasattr(medium, "committed"):
            medium.committed = {}
        offsets: dict[str, int] = medium.committed
        return offsets

    def init(self: Any, *arguments: Any) -> None:
        original_init(self, *arguments)
        self.next_command_offset = committed(self).get(self._topics.partition, 0)

    def turn(self: Any, history: Sequence[Record], commands: Sequence[Record]) -> None:
        original_turn(self, history, commands)
        committed(self)[self._topics.partition] = self.next_command_offset

    patch.setattr(PartitionOwner, "__init__", init)
    patch.setattr(PartitionOwner, "turn", turn)
