"""The Log port: all that Perdure needs from Kafka, SQLite or memory. No rule of the commit protocol lives here.

An adapter
- must keep the records of a partition in one order, the same for every reader, and give each an offset that rises and is never used
  twice, not even after `truncate_before` and a restart;
- must have a record durable, by the medium's own standard, before a reader sees it or its append is acknowledged;
- must stamp each record with the time of its append by one clock per log, in milliseconds since 1970;
- must map every foreign exception to a class of `perdure._log.errors`, once, here at the border;
- must not retry behind the caller's back in a way that reorders a producer's records within a partition and then acknowledges both
  orders: after a failed append of an ORDERED producer nothing more of it lands;
- must not block longer than the given timeout, nor burn a core while it waits;
- must not call back: what is to be known is asked for with `poll`.

Every object belongs to the thread that made it, `Log` itself may be shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from perdure_schemas.topics import Replication, TopicSpec

Headers = tuple[tuple[str, bytes], ...]
TopicPartition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read. `leader_epoch` is -1 where the medium has none."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    headers: Headers = ()
    leader_epoch: int = -1


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic as it is: `topic_id` differs between a topic and another one made later under its name.

    `allowed`: what whoever asked may do to it, as Kafka calls it (READ, WRITE, …); None where nobody says.
    `replicas`: how many copies its partitions have, the fewest of all; 0 where the medium has no copies.
    """

    name: str
    topic_id: str
    partitions: int
    settings: dict[str, str]
    allowed: frozenset[str] | None = None
    replicas: int = 0

    @property
    def replication(self) -> Replication:
        """How well it is kept, for topics that are to be kept as well as it is."""
        in_sync_min = self.settings.get("min.insync.replicas", "") if self.replicas else ""
        return Replication(self.replicas, int(in_sync_min) if in_sync_min.isdigit() else 0)


@dataclass(frozen=True, slots=True)
class FailedAppend:
    """An append that was not acknowledged; whether it landed only the log can tell. `token` is the caller's."""

    token: object
    topic: str
    partition: int
    error: Exception


@dataclass(frozen=True, slots=True)
class DescribedMember:
    """A member of a group, as the medium knows it. `host` is empty where the medium does not know it.

    `silent_ms`: how long ago the member was heard of; None where the medium does not say.
    """

    name: str
    host: str
    partitions: tuple[int, ...]
    silent_ms: int | None = None


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """The members of a group, and per partition the offset that it has committed; a partition without one is missing."""

    members: tuple[DescribedMember, ...]
    committed: dict[int, int]


class Delivery(Enum):
    """What a producer does when an append fails."""

    PIPELINED = "pipelined"
    """Many batches in flight; one that fails is reported and later ones may land. For history (its readers judge), tasks and replies."""
    ORDERED = "ordered"
    """One batch in flight per partition, and after a failed append nothing more is sent: every later one fails too.
    For commands, whose receivers take a gap for the end of a sender's order (R8). Make a new producer to go on."""


class Producer(Protocol):
    """Appends without waiting; what became of it is asked with `poll`."""

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers = (), token: object = None) -> None:
        """Queue one record. A `token` that is not None comes back from `poll` once this append, and so every earlier one of this
        producer to the same partition, is acknowledged; without a token only a failure is reported.

        Raises LogBusy if the queue is full (poll and try again), RecordTooLarge, LogClosed.
        """

    def poll(self, timeout_ms: int = 0) -> tuple[list[object], list[FailedAppend]]:
        """Acknowledged tokens and failed appends since the last call; waits at most `timeout_ms` for the first of them."""

    def flush(self, timeout_ms: int) -> bool:
        """Wait until nothing is in flight; False if that took longer. Reports stay for `poll`."""

    def outstanding(self) -> int:
        """How many appends are neither acknowledged nor failed."""

    def drop(self) -> None:
        """Forget the queue and everything in flight, at once. What had left may still land."""

    def close(self) -> None:
        """Release the producer; like `drop`, it waits for nothing."""


class Consumer(Protocol):
    """Reads partitions that were assigned by hand, from offsets given by hand; it belongs to no group."""

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Replace the assignment: read each partition from its offset. Records of a former assignment are never returned."""

    def poll(self, records_max: int, timeout_ms: int) -> list[Record]:
        """What is there, at most `records_max` records, in offset order per partition.

        Waits at most `timeout_ms` for the first, never to fill up.

        Raises OffsetOutOfRange if a position is below the start or above the end of its partition, PartitionDamaged for what cannot be
        read there; no record behind it is given. After any error records may have
        been taken that nobody saw: assign again.
        """

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Deliver nothing from these partitions until `resume`; positions are kept."""

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Undo `pause`."""

    def close(self) -> None:
        """Release the consumer."""


class EndOffsetsRequest(Protocol):
    """End offsets on their way: those that the partitions have at some moment after the request was made."""

    def result(self) -> dict[TopicPartition, int] | None:
        """None while they are not there yet. Raises LogUnavailable if they could not be had, be it for want of the topic: ask again."""


class Membership(Protocol):
    """Who should lead which partition, as far as this process can tell: a hint, on which no safety rests (design.md 4)."""

    def poll(self) -> frozenset[int]:
        """The partitions that this member should lead now.

        Must be called at least once a second or so: a member that does not call loses them. Raises LogUnavailable while nobody can say.
        """

    def show(self, positions: Mapping[int, int]) -> None:
        """Let ordinary tools see how far what this member leads has come (and so its lag), where the medium has such tools.

        Nothing reads it back, and nothing is awaited; partitions no longer held are ignored.
        """

    def leave(self) -> None:
        """Give everything up at once, so that others take over without waiting for a timeout."""


class GroupConsumer(Protocol):
    """One member of a group that shares a topic: each record goes to one member, and again after its death unless committed."""

    def poll(self, records_max: int, timeout_ms: int) -> list[Record]:
        """Like Consumer.poll, over the partitions that the group gave to this member."""

    def backlog_end(self, partition: int) -> int:
        """End offset of the partition when it was given to this member: what lies below may have been delivered to another one before.
        Raises KeyError where the partition is not this member's."""

    @property
    def begins(self) -> dict[int, int]:
        """Per partition of this member, the offset from which on it is given records. One of which that could not be learned is missing."""

    def positions(self) -> dict[int, int]:
        """Per partition of this member, the offset from which on it has been given nothing; the backlog's end where that is not known."""

    def commit(self, positions: Mapping[int, int]) -> None:
        """Record, per partition, the offset after the last record that never need be delivered again; not awaited.

        Partitions no longer held are ignored.
        """

    def commit_now(self, positions: Mapping[int, int]) -> bool:
        """The same, awaited; False if it could not be recorded (the partition is another member's now, or the log is away)."""

    def pause(self) -> None:
        """Deliver nothing until `resume`; stay a member."""

    def resume(self) -> None:
        """Undo `pause`."""

    def close(self) -> None:
        """Leave the group."""


class Log(Protocol):
    """A connection to one medium."""

    url: str
    """The address without secrets, for messages."""

    creates_namespaces: bool
    """Whether whoever connects to a namespace that is not there may make it (the embedded logs), or an operator must (Kafka)."""

    default_partitions: int
    """How many partitions a namespace gets that is made in this way."""

    def producer(self, delivery: Delivery) -> Producer:
        """A new producer."""

    def consumer(self) -> Consumer:
        """A new consumer with no assignment."""

    def membership(self, group: str, topic: str, session_timeout_ms: int) -> Membership:
        """Join `group`, whose members share out the partitions of `topic` evenly among themselves."""

    def group_consumer(self, group: str, topic: str, session_timeout_ms: int) -> GroupConsumer:
        """Join `group` and read `topic` with it, from its first record where the group has committed nothing."""

    def request_end_offsets(self, partitions: Sequence[TopicPartition]) -> EndOffsetsRequest:
        """Ask for end offsets without waiting: the offset that the next record of each partition will get, or a later one."""

    def end_offsets(self, partitions: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """The same, awaited. Raises LogUnavailable after `timeout_ms`, TopicNotFound."""

    def start_offsets(self, partitions: Sequence[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """The offset of the first record that is kept, or the end where none is."""

    def describe_topics(self, names: Sequence[str], timeout_ms: int) -> dict[str, TopicDescription]:
        """The topics among `names` that exist. Raises LogUnavailable, LogUnauthorized."""

    def nodes(self, timeout_ms: int) -> int:
        """How many machines keep the log; 0 for a medium that has no copies. Raises LogUnavailable, LogUnauthorized."""

    def create_topics(self, specs: Sequence[TopicSpec], timeout_ms: int) -> None:
        """Create those that do not exist; an existing one is left as it is. Raises LogUnavailable, LogUnauthorized."""

    def list_topics(self, prefix: str, timeout_ms: int) -> list[str]:
        """Names of the topics that begin with `prefix`, sorted."""

    def describe_group(self, group: str, topic: str, timeout_ms: int) -> GroupDescription:
        """Who is in `group`, which reads `topic`, and how far it has come: for people who look, not for the path of a record.

        - A member must be there from when it holds partitions until it leaves. One that is silent for its session must hold none any
          more; it may be there as long as the medium takes it for a member.
        - Each partition must be given to one member at most; while the group shares out, it may be given to none.
        - A committed offset must be the one that the next member begins at, unless the partition now begins behind it.
        - A group of which nothing is known must have no members and no offsets; that is no error.
        - To ask must not change anything: it joins no group and renews nobody's lease.

        Raises LogUnavailable after `timeout_ms`, LogUnauthorized, TopicNotFound.
        """

    def truncate_before(self, topic: str, partition: int, offset: int, timeout_ms: int) -> None:
        """Delete the records below `offset`; offsets of the others stay."""

    def now_ms(self) -> int:
        """This machine's wall clock, milliseconds since 1970 (a simulated log has its own)."""

    def close(self) -> None:
        """Release what the Log itself holds; its producers and consumers are closed by their makers."""
