"""What rules are told: records as judged, the events and notes of live ones, and the records of the other topics."""

from __future__ import annotations

from dataclasses import dataclass, field

from perdure_check.avro import Decoded, Undecodable
from perdure_check.live import Cause
from perdure_check.log import Record


@dataclass(slots=True)
class Activity:
    """An activity that has not closed. `attempt` is the one that is out, or waits until `retry_at_ms` (0: it is out).

    `dispatched_ms` is when it went out first, `start_ms` when it was announced; 0 if it was not. `rests`: its task could not be written,
    and an earlier copy may be out.
    """

    scheduled_ms: int
    options: Decoded
    attempt: int = 1
    retry_at_ms: int = 0
    started_event_id: int = 0
    heartbeat_counter: int = 0
    dispatched_ms: int = 0
    start_ms: int = 0
    rests: bool = False


@dataclass(slots=True)
class Run:
    """A run, folded from its events. `started` is its first one, without payloads.

    `chain` is a digest of all its transitions with their times, in order.
    """

    workflow_id: str
    run_id: str
    partition: int
    began_at: int
    start_ms: int
    started: Decoded
    next_event_id: int = 1
    transitions: int = 0
    chain: bytes = b""
    close: str = ""
    close_ms: int = 0
    new_run_id: str = ""
    cancel_requested: bool = False
    activities: dict[int, Activity] = field(default_factory=dict)
    timers: dict[int, int] = field(default_factory=dict)
    external: dict[int, tuple[str, str]] = field(default_factory=dict)
    """What other workflows were asked and have not answered: event id to (kind of event, workflow id)."""
    pending: int = 0
    """Inbound events that the run's code has not seen."""
    blocked: bool = False
    """Whether its last activation failed."""
    parked: bool = False
    """Whether its code is not activated until an operator resumes it."""

    @property
    def is_open(self) -> bool:
        """Whether no event has closed it."""
        return not self.close


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of a history. `cause` is None where it is live."""

    partition: int
    offset: int
    timestamp_ms: int
    kind: str
    body: Decoded
    cause: Cause | None

    @property
    def time_ms(self) -> int:
        """The recorded time."""
        time_ms: int = self.body["time_ms"]
        return time_ms


@dataclass(frozen=True, slots=True)
class Fact:
    """An event of a live record, or a note (its `event_id` is 0); `run` is as it was before.

    `carried`: it comes from a Carried record, because its run began before the place where reading did; `time_ms` and `offset` are those of
    the record that first held it.
    """

    entry: Entry
    run: Run
    event_id: int
    kind: str
    body: Decoded
    time_ms: int
    offset: int
    carried: bool
    same_transition: frozenset[int]
    """For notes: activities that events of the same transition closed, before or after the note."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A record of another topic; one that is no record of its schema has an error in place of a body."""

    record: Record
    body: Decoded | None
    error: Undecodable | None
    was_there_first: bool
    """Whether it was there before the histories were read: only then must its cause be in what was read of them."""

    @property
    def reply(self) -> str:
        """Which reply it is, in a sentence."""
        return f"the reply at offset {self.record.offset} of partition {self.record.partition} of the replies"
