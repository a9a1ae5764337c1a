"""The records of `ns.history`: claims, and what is appended under a claim (design.md 3).

Every record but a claim carries the claim it was appended under and its sequence there; `live.py` decides from
these alone which records count. All numbers named `offset`, `watermark` and `released` are Kafka offsets; -1 is "none yet".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from perdure_schemas.commands import CommandBody, ReplyAddress
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.events import Event
from perdure_schemas.notes import Note
from perdure_schemas.replies import Outcome, ReplyBody


@dataclass(frozen=True, slots=True)
class Claim:
    """A process takes the partition. It counts only if `previous_claim_id` is in force where it lands (R1).

    `format_level` is the highest level this owner reads; topic ids and the partition count guard against a topic
    that was deleted, recreated or resized (R17). `instance_id` is new with each start of a process.
    """

    claim_number: int
    claim_id: str
    previous_claim_id: str
    owner: str
    host: str
    process_id: int
    build: str
    format_level: int
    commands_topic_id: str
    history_topic_id: str
    partition_count: int
    time_ms: int
    instance_id: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """The highest origin, from one source partition, among the commands at or below the watermark (R7)."""

    offset: int
    index: int


@dataclass(frozen=True, slots=True)
class Transition:
    """What one activation of one run adds: inbound events, then the events its code produced, plus notes.

    `activated` is false where nothing ran: notes only, an input that needs no activation, or a failed activation
    (its inputs wait, recorded, for the next). Record boundaries are activation boundaries: a rebuild activates the code once per
    activated transition, with every inbound event since the activation before.
    `flags` are the behaviour flags of the workflow runtime first used here (semantics 4.3).
    """

    workflow_id: str
    run_id: str
    first_event_id: int
    inbound: tuple[Event, ...] = ()
    produced: tuple[Event, ...] = ()
    notes: tuple[Note, ...] = ()
    activated: bool = False
    flags: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AppliedOffset:
    """The last command offset applied for a workflow id, which outlives its runs (design.md 3.5)."""

    workflow_id: str
    offset: int


@dataclass(frozen=True, slots=True)
class SettledRequest:
    """A client's request and what it came to; every retry until `expires_at_ms` gets this answer (R11)."""

    workflow_id: str
    request_id: str
    expires_at_ms: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class AddressedReply:
    """A reply that leaves once this record is live."""

    address: ReplyAddress
    request_id: str
    body: ReplyBody


@dataclass(frozen=True, slots=True)
class OutboundCommand:
    """A command to a run, perhaps of another partition, that leaves once this record is live."""

    workflow_id: str
    body: CommandBody


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """One transition (two at continue-as-new, retry and terminate-existing): the unit of atomicity.

    `watermark` and `marks` are set only on the last record of a turn. Everything that the effects need is in the record, or in an
    earlier event of the same run.
    """

    claim_number: int
    claim_id: str
    sequence: int
    time_ms: int
    released: int
    watermark: int | None = None
    marks: dict[str, Mark] = field(default_factory=dict)
    command_offsets: tuple[int, ...] = ()
    applied: tuple[AppliedOffset, ...] = ()
    requests: tuple[SettledRequest, ...] = ()
    transitions: tuple[Transition, ...] = ()
    replies: tuple[AddressedReply, ...] = ()
    commands: tuple[OutboundCommand, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    follows: int = 0


@dataclass(frozen=True, slots=True)
class PositionRecord:
    """Stands between two turns: where the partition is, and how many live records there are so far, this one included (R4).

    `resigned`: its owner is about to leave, having settled everything; a claim that follows was not called for by a death.
    """

    claim_number: int
    claim_id: str
    sequence: int
    time_ms: int
    watermark: int
    released: int
    marks: dict[str, Mark]
    live_count: int
    resigned: bool = False
    follows: int = 0


@dataclass(frozen=True, slots=True)
class Strike:
    """One input is about to be decoded and given to code by an owner that has reason to think that an input kills its owners (R14).

    The next live record of the claim clears it. A claim of another process on top of it makes it count. `command_offset` is -1 for what
    the clock brings.
    """

    claim_number: int
    claim_id: str
    sequence: int
    time_ms: int
    released: int
    workflow_id: str
    command_offset: int
    follows: int = 0


@dataclass(frozen=True, slots=True)
class Caution:
    """What is known of deaths of the partition's owners: the part of the fold that strikes and claims make (design.md 5, R14).

    `deaths`: when owners that had not resigned were followed by another process, by instance id, oldest first; who claims again has not
    died. `strikes`: strikes that count, by workflow id. `struck` and `is_struck`: the input that is being tried. `instance_id` and
    `resigned` are those of the owner in force.
    """

    deaths: dict[str, int] = field(default_factory=dict)
    strikes: dict[str, int] = field(default_factory=dict)
    struck: str = ""
    is_struck: bool = False
    instance_id: str = ""
    resigned: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A position record that also holds the rest of the fold that belongs to no run: where a trimmed log may begin (design.md 3.8).

    Part `part` of `parts`. `start` names an earlier checkpoint as the log's start; -1 where it names none.
    """

    claim_number: int
    claim_id: str
    sequence: int
    time_ms: int
    watermark: int
    released: int
    marks: dict[str, Mark]
    live_count: int
    part: int = 1
    parts: int = 1
    start: int = -1
    applied: tuple[AppliedOffset, ...] = ()
    requests: tuple[SettledRequest, ...] = ()
    format_level: int = 1
    caution: Caution = field(default_factory=Caution)
    follows: int = 0


@dataclass(frozen=True, slots=True)
class RunName:
    """A run by its workflow id and run id."""

    workflow_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Runs past their retention; the fold deletes them (design.md 3.8)."""

    claim_number: int
    claim_id: str
    sequence: int
    time_ms: int
    released: int
    runs: tuple[RunName, ...]
    follows: int = 0


@dataclass(frozen=True, slots=True)
class CarriedTransition:
    """One transition of a carried run, with the boundary and the time of the record that first held it."""

    sequence: int
    offset: int
    time_ms: int
    transition: Transition


@dataclass(frozen=True, slots=True)
class Carried:
    """Part `part` of `parts` of a run whose records lie before the log's new start (R6). Consumers skip it."""

    claim_number: int
    claim_id: str
    sequence: int
    time_ms: int
    released: int
    run: RunName
    part: int
    parts: int
    transitions: tuple[CarriedTransition, ...]
    follows: int = 0


ClaimedRecord = CommitRecord | PositionRecord | Checkpoint | Forget | Carried | Strike
"""The records that are appended under a claim and numbered by its sequence. `follows` is the link of the record that its writer has sent
before it (`perdure_schemas.live.link_of`); 0 where it does not say."""

HistoryRecord = Claim | ClaimedRecord
