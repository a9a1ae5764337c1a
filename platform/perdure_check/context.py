"""What rules may ask beside the facts that they are told: options of this check, bounds of the topics, where reading began."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from perdure_check.avro import Decoded
from perdure_check.effects import Expected
from perdure_check.log import Bounds, Place
from perdure_check.operations import Operation
from perdure_check.positions import Positions

CLOCK_BOUND_MS = 60_000
"""How far an owner's clock may be from the log's; beyond that it does not lead."""


@dataclass(frozen=True, slots=True)
class Bank:
    """Workflows that keep a balance. `moves` are signals between accounts, `deposits` those from outside; the first input is the amount.

    `total` is what all of them must hold together once all is quiet; None if nobody knows.
    """

    account_type: str
    moves: frozenset[str]
    deposits: frozenset[str] = frozenset()
    total: int | None = None
    query: str = ""
    """Name of a query that tells how many movements an account has seen: QUERY, or QUERY.FIELD of the object that it gives."""
    counted: frozenset[str] = frozenset()
    """The signals that it counts; all of the above if empty."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to check. `quiescent`: all faults are over and nothing is under way any more, so what is not finished never will be."""

    quiescent: bool = False
    operations: tuple[Operation, ...] | None = None
    bank: Bank | None = None
    summaries: tuple[Decoded, ...] | None = None
    clock_bound_ms: int = CLOCK_BOUND_MS
    may_stay_open: str = ""
    """A regular expression for workflow ids that do not end by themselves; used where `quiescent`."""

    def at_work(self) -> Options:
        """The same for a namespace that is at work."""
        return replace(self, quiescent=False)


@dataclass(frozen=True, slots=True)
class Settled:
    """A request as a live record settles it."""

    workflow_id: str
    expires_at_ms: int
    signature: int
    outcome: str
    begun_run_id: str
    """The run that a start began; empty for everything else."""
    partition: int
    offset: int


@dataclass(slots=True)
class Begin:
    """Where reading of a history began: 0, or a checkpoint of a trimmed log."""

    offset: int = 0
    checkpoint: Decoded | None = None


@dataclass(slots=True)
class Context:
    """One namespace being checked."""

    namespace: str
    partitions: int
    options: Options
    bounds: dict[Place, Bounds] = field(default_factory=dict)
    begins: dict[int, Begin] = field(default_factory=dict)
    topic_partitions: dict[str, int] = field(default_factory=dict)
    stamps_ms: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """The latest append time of a history so far."""
    set_back_ms: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """By how much append times of a history went back: the log's clock was set back."""
    stopped: dict[int, str] = field(default_factory=dict)
    """Partitions whose history could not be read to its end, and why."""
    first_ends: dict[int, int] = field(default_factory=dict)
    """Where histories ended when they were looked up first, all of them before any was read."""
    unseen: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Offsets of commands that were applied to runs from before the place where reading began, which may never have been carried."""
    half_seen: set[tuple[int, int]] = field(default_factory=set)
    """The records that say so: partition and offset."""
    starts: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Where live records say that a history may begin, behind the place where it was begun here."""
    positions: dict[int, Positions] = field(default_factory=dict)
    """Behind the last record told, before the next."""
    expected: Expected = field(default_factory=Expected)
    forged: set[tuple[int, int]] = field(default_factory=set)
    """Commands that owners would not believe, and so are nobody's: partition and offset."""
    settled: dict[str, list[Settled]] = field(default_factory=dict)
    """By request id, what live records say of it; nearly always one."""
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def is_trimmed(self) -> bool:
        """Whether some history was read from a checkpoint on."""
        return any(begin.checkpoint is not None for begin in self.begins.values())

    def begins_at_zero(self, topic: str) -> bool:
        """Whether every record that a topic ever had is there."""
        return all(self.bounds[topic, partition].start == 0 for partition in range(self.topic_partitions.get(topic, 0)))
