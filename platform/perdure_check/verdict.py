"""What is said of an invariant, and the smallest thing that shows it broken."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

WITNESSES_MAX = 5
"""The first few show what is wrong; the rest is a number."""


class State(StrEnum):
    """Whether an invariant holds. NOT_CHECKED is never a pass: the reason stands beside it."""

    HOLDS = "holds"
    BROKEN = "broken"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Witness:
    """One place that shows an invariant broken. `offsets` are of the history where nothing else is said in the sentence."""

    sentence: str
    partition: int = -1
    offsets: tuple[int, ...] = ()
    workflow_id: str = ""
    run_id: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "sentence": self.sentence,
            "partition": self.partition,
            "offsets": list(self.offsets),
            "workflow_id": self.workflow_id,
            "run_id": self.run_id,
        }

    def __str__(self) -> str:
        where = [f"partition {self.partition}"] if self.partition >= 0 else []
        where += [f"offset {', '.join(map(str, self.offsets))}"] if self.offsets else []
        where += [f"workflow {self.workflow_id!r}"] if self.workflow_id else []
        where += [f"run {self.run_id}"] if self.run_id else []
        return f"{', '.join(where)}: {self.sentence}" if where else self.sentence


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one invariant. `detail` says what was looked at, or why nothing could be."""

    invariant: str
    title: str
    state: State
    detail: str
    broken: int = 0
    witnesses: tuple[Witness, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "invariant": self.invariant,
            "title": self.title,
            "state": str(self.state),
            "detail": self.detail,
            "broken": self.broken,
            "witnesses": [witness.as_json() for witness in self.witnesses],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The verdicts of one namespace, and what was read."""

    namespace: str
    partitions: int
    verdicts: tuple[Verdict, ...]
    counts: Counter[str] = field(default_factory=Counter)
    remarks: tuple[str, ...] = ()
    """What a reader of the verdicts should know: a log that was read from a checkpoint on, kinds of records that no rule knows."""

    @property
    def is_broken(self) -> bool:
        """Whether any invariant is."""
        return any(verdict.state is State.BROKEN for verdict in self.verdicts)

    def of(self, invariant: str) -> Verdict:
        """The verdict on one invariant."""
        return next(verdict for verdict in self.verdicts if verdict.invariant == invariant)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "namespace": self.namespace,
            "partitions": self.partitions,
            "broken": self.is_broken,
            "verdicts": [verdict.as_json() for verdict in self.verdicts],
            "counts": dict(sorted(self.counts.items())),
            "remarks": list(self.remarks),
        }
