"""One partition in this process, from the moment membership gives it to the moment it is taken away:

    open -> rebuild -> claim -> own -> (retired -> open …) -> handed over, or stopped

Each step is an object of `partition/`; here is only the order, and what happens when a step ends badly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum

from perdure._log.errors import LogUnavailable, OffsetOutOfRange, PartitionDamaged, TopicNotFound
from perdure._log.port import EndOffsetsRequest, Log, Record, TopicPartition
from perdure._log.progress import GapReadings
from perdure._replay.host import WorkflowHost
from perdure_platform.config import OwnerLimits
from perdure_platform.node.claim_backoff import ClaimBackoff
from perdure_platform.node.meter import PartitionMeter
from perdure_platform.node.stopped import StoppedPartition
from perdure_platform.node.topics import NamespaceNotFound, TaskTopics, TopicsUnsafe
from perdure_platform.partition.apply import Applier
from perdure_platform.partition.claim import Claiming, Identity
from perdure_platform.partition.clock import PartitionClock
from perdure_platform.partition.confirm import Retired
from perdure_platform.partition.decode import BuildTooOld
from perdure_platform.partition.isolation import ProcessIsolation
from perdure_platform.partition.lanes import Lanes
from perdure_platform.partition.owner import PartitionOwner, Parts
from perdure_platform.partition.rebuild import HistoryGap, NotAStart, Rebuild, Topics
from perdure_platform.partition.release import Releaser
from perdure_platform.partition.runs import Runs
from perdure_platform.partition.start import StartSearch
from perdure_platform.partition.tokens import Tokens
from perdure_platform.store import keys, tables
from perdure_platform.store.port import Store, StoreDamaged, StoreProvider
from perdure_platform.store.tables import LAYOUT, Tables
from perdure_schemas.errors import LogCorrupt, PerdureError
from perdure_schemas.topics import commands_topic, history_topic

logger = logging.getLogger("perdure.owner")

BOUNDS_TIMEOUT_MS = 2_000
"""Twice this is waited in the loop: less than a session."""

CLOCK_BELIEVED_MS = 60_000
"""Who knows its clock to be out of bounds claims again after so long at the earliest: it may be the broker's that was wrong and was set."""

END_READINGS = 9
"""So often a log must say that it ends before what it has given. With the waits between two claims that is some 25 s: a leader of the
partition that was replaced, and that is cut off, has noticed by then (R22)."""


class Stage(Enum):
    """Where a partition is on its way."""

    WAITING = "waiting"
    SEARCHING = "searching"
    REBUILDING = "rebuilding"
    CLAIMING = "claiming"
    LEADING = "leading"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the partitions of a process share. `new_id` makes claim ids; `jitter` gives a number from 0 to 1.

    `audit` looks at the topics' settings, and fails with TopicsUnsafe, LogCorrupt or LogUnavailable. `aside` makes a call that blocks
    somewhere else.
    """

    log: Log
    lanes: Lanes
    host: WorkflowHost
    stores: StoreProvider
    task_topics: TaskTopics
    audit: Callable[[], Future[None]]
    aside: Callable[[Callable[[], None]], Future[None]]
    identity: Identity
    isolation: ProcessIsolation
    tokens: Tokens
    limits: OwnerLimits
    monotonic_ms: Callable[[], float]
    new_id: Callable[[], str]
    jitter: Callable[[], float]


class AssignedPartition:
    """Takes its partition's records each turn and goes from step to step."""

    def __init__(self, topics: Topics, around: Surroundings, backoff: ClaimBackoff) -> None:
        self.topics = topics
        self._around = around
        self._backoff = backoff
        self._history = history_topic(topics.namespace)
        self._commands = commands_topic(topics.namespace)
        self.stage = Stage.WAITING
        self.may_claim = True
        """Set by the node: False while nobody can say whether this process is to lead. A claim in force stays so until the log says."""
        self._leading_since_ms = 0.0
        self._store: Store | None = None
        self._runs: Runs | None = None
        self._applier: Applier | None = None
        self._rebuild: Rebuild | None = None
        self._clock: PartitionClock | None = None
        self._end_request: EndOffsetsRequest | None = None
        self._settled_when_asked = -1
        self._audit: Future[None] | None = None
        self._opened_at = 0
        self._search: StartSearch | None = None
        self._commands_missing_at = -1
        self._history_gap = GapReadings()
        self._short_ends = GapReadings(END_READINGS)
        self._clock_seen: tuple[float, float] | None = None
        """At a claim that was given up because of this machine's clock: by how much the log's was ahead of monotonic time, and when."""
        self._claiming: Claiming | None = None
        self._moved = True
        self._meter: PartitionMeter | None = None
        self.owner: PartitionOwner | None = None
        self._stopped: StoppedPartition | None = None
        self.failure: Exception | None = None
        around.lanes.on_history_failed.append(self._history_failed)

    # -- for the node

    def positions(self) -> dict[TopicPartition, int]:
        """What to read, and from where."""
        partition = self.topics.partition
        if self._stopped is not None:
            return self._stopped.positions()
        if self.stage is Stage.SEARCHING and self._search is not None:
            return {(self._history, partition): self._search.next_offset}
        if self._rebuild is None:
            return {}
        positions = {(self._history, partition): self._rebuild.next_offset}
        if self.owner is not None:
            positions[(self._commands, partition)] = self.owner.next_command_offset
        return positions

    def take_moved(self) -> bool:
        """Whether `positions` changed otherwise than by reading, since the last call."""
        moved, self._moved = self._moved, False
        return moved

    @property
    def wants_commands(self) -> bool:
        """Whether commands may be delivered."""
        return self.owner is not None and self.owner.has_room

    def wait_ms(self) -> int:
        """How long the loop may sleep if nothing comes."""
        match self.stage:
            case Stage.LEADING if self.owner is not None:
                return self.owner.wait_ms()
            case Stage.WAITING if self.may_claim:
                return int(min(self._backoff.wait_ms(), 1000))
            case Stage.SEARCHING:
                return 2
            case Stage.REBUILDING if self._end_request is not None:
                return 2
            case Stage.REBUILDING:
                return 10
            case Stage.STOPPED if self._stopped is not None:
                return self._stopped.wait_ms
            case _:
                return 1000

    def turn(self, history: Sequence[Record], commands: Sequence[Record]) -> None:
        """One step; whatever goes wrong stays in this partition (P9)."""
        try:
            self._step(history, commands)
        except Retired as retired:
            logger.warning("partition %d: claim given up: %s", self.topics.partition, retired, extra=self._extra())
            self._retire()
        except HistoryGap as gap:
            self._read_again(self._history_gap, gap.expected, gap)
        except NotAStart as error:
            search = self._search
            self._set_store_aside(str(error))
            self._search = search  # the next place is tried
        except StoreDamaged as damage:
            self._set_store_aside(str(damage))
        except (LogUnavailable, TopicsUnsafe, NamespaceNotFound) as error:  # a broker that starts may lack a topic for a moment
            logger.warning("partition %d: %s; trying again", self.topics.partition, error, extra=self._extra())
            self._retire()
        except PerdureError as error:
            self._stop(error)
        except Exception as error:
            logger.critical("partition %d: a defect; the others go on", self.topics.partition, exc_info=True, extra=self._extra())
            self._stop(error)

    def hand_over(self) -> bool:
        """Whether the partition may be closed: nothing of it is in flight, and the log knows that its owner leaves alive."""
        if self.stage is Stage.CLAIMING:
            return False  # to go without a word behind a claim would look like a death, and make suspects of what waits
        return self.owner is None or self.owner.resign()

    def close(self) -> None:
        """Give the partition up."""
        self._around.lanes.on_history_failed.remove(self._history_failed)
        self._drop()
        self._stopped = None
        self.stage = Stage.STOPPED

    def out_of_range(self, error: OffsetOutOfRange) -> None:
        """Reading failed: what should be there is not.

        Where history was trimmed, the fold begins anew at a start that the log has now. Records that are gone otherwise stop the
        partition: below its position (B1), and at the end, where a store or an owner has seen more than there is (B4).
        """
        if self._stopped is not None:
            self._stopped.read_anew()
            return
        place = (error.topic, self.topics.partition)
        try:
            start = self._around.log.start_offsets([place], BOUNDS_TIMEOUT_MS)[place]
            end = self._around.log.end_offsets([place], BOUNDS_TIMEOUT_MS)[place]
        except (LogUnavailable, TopicNotFound) as unavailable:  # a broker that starts may lack a topic for a moment
            logger.warning("partition %d: %s; trying again", self.topics.partition, unavailable, extra=self._extra())
            self._retire()
            return
        position = self.positions().get(place)
        if position is None or start <= position <= end:
            return  # it was about a place where this partition does not read any more
        if error.topic == self._history and position < start:
            self._begin_search(start)
        elif error.topic == self._history and self.stage is Stage.REBUILDING and self._opened_at > end:
            self._ends_short(self._opened_at, _ahead(self._opened_at, end))
        elif error.topic == self._commands and position < start and position != self._commands_missing_at:
            # Somebody else may have led meanwhile and have settled and deleted them; history tells.
            self._commands_missing_at = position
            self._retire()
        else:
            gone = LogCorrupt(f"{error}. Records that this partition needs are gone: nothing is skipped. See the runbook")
            if position > end:
                self._ends_short(position, gone)
            else:
                self._stop(gone)

    def _ends_short(self, position: int, error: LogCorrupt) -> None:
        """The log is said to end before what it has given."""
        self._read_again(self._short_ends, position, error)

    def _read_again(self, readings: GapReadings, position: int, error: Exception) -> None:
        """A reader may skip, and a leader be out of date: reading begins anew, and nothing is claimed. What is missing at `position` each
        time is missing in the log."""
        if readings.is_believed(position):
            self._stop(error)
            return
        logger.warning("partition %d: %s; reading again", self.topics.partition, error, extra=self._extra())
        self._retire()

    def damaged(self, error: PartitionDamaged) -> None:
        """The medium cannot give what it was given: nothing is skipped (B7)."""
        if self._stopped is not None:
            self._stopped.damaged()
            return
        self._stop(error)

    def _begin_search(self, start: int) -> None:
        position = 0 if self._rebuild is None else self._rebuild.next_offset
        if position:  # once it has waited like anybody who lost a claim, it will look for 0, and come here again
            self._set_store_aside(f"it is at offset {position}, and the log begins at {start} now")
            return
        self._drop()
        self._search = StartSearch(start)
        self._end_request = self._around.log.request_end_offsets([(self._history, self.topics.partition)])
        self.stage = Stage.SEARCHING

    # -- the steps

    def _step(self, history: Sequence[Record], commands: Sequence[Record]) -> None:
        match self.stage:
            case Stage.WAITING:
                if self.may_claim and not self._backoff.wait_ms():
                    self._open(self._search.next_candidate() if self._search is not None else 0)
            case Stage.SEARCHING:
                self._search_start(history)
            case Stage.REBUILDING:
                assert self._rebuild is not None
                self._rebuild.fold(history)
                self._claim_at_end()
            case Stage.CLAIMING:
                self._read_claim(history)
            case Stage.LEADING:
                assert self.owner is not None
                self.owner.turn(history, commands)
                if self.owner.skipped_commands:
                    self.owner.skipped_commands = False
                    self._moved = True  # what was skipped is fetched again
                    logger.warning(
                        "partition %d: the commands from offset %d on were skipped by the reader; they are read again",
                        self.topics.partition,
                        self.owner.next_command_offset,
                        extra=self._extra(),
                    )
                if self._meter is not None:
                    self._meter.turned(commands)
            case Stage.STOPPED:
                if self._stopped is not None and self._stopped.turn(commands):
                    self._moved = True

    def _search_start(self, history: Sequence[Record]) -> None:
        assert self._search is not None
        assert self._end_request is not None
        self._search.take(history)
        ends = self._end_request.result()
        if ends is not None and self._search.next_offset >= ends[self._history, self.topics.partition]:
            self._open(self._search.next_candidate())

    def _open(self, begin_at: int = 0) -> None:
        around, topics = self._around, self.topics
        self._store = around.stores.open(topics.partition)
        store_tables = Tables(self._store)
        self._check_identity(store_tables)
        self._applier = Applier(store_tables)
        self._runs = Runs(store_tables, around.host, topics.namespace, around.limits.cached_runs_max)
        if self._applier.is_partial:
            raise StoreDamaged("its rebuilding from a trimmed log was not finished")
        self._rebuild = Rebuild(topics, store_tables, self._runs, self._applier, begin_at)
        self._clock = PartitionClock(around.monotonic_ms, self._applier.positions.time_ms)
        self._opened_at = self._rebuild.next_offset
        self._audit = around.audit()
        self._ask_for_ends()
        self.stage = Stage.REBUILDING
        self._moved = True

    def _ask_for_ends(self) -> None:
        assert self._applier is not None
        places = [(self._history, self.topics.partition), (self._commands, self.topics.partition)]
        self._settled_when_asked = self._applier.positions.watermark
        self._end_request = self._around.log.request_end_offsets(places)

    def _check_identity(self, store_tables: Tables) -> None:
        topics = self.topics
        identity = tables.Identity(
            LAYOUT, topics.namespace, topics.partition, topics.partition_count, topics.commands_topic_id, topics.history_topic_id
        )
        found = store_tables.identity()
        if found is None:
            store_tables.store.write({keys.IDENTITY: tables.encode_identity(identity)})
        elif found != identity:
            raise StoreDamaged(f"it belongs to {found}, and this is {identity}")

    def _claim_at_end(self) -> None:
        assert self._rebuild is not None
        assert self._applier is not None
        assert self._end_request is not None
        ends = self._end_request.result()
        if ends is None:
            return
        topics, around = self.topics, self._around
        end = ends[self._history, topics.partition]
        if self._opened_at > end:  # reading from there fails as well, and either may be noticed first
            self._ends_short(self._opened_at, _ahead(self._opened_at, end))
            return
        if self._rebuild.next_offset < end:
            return
        self._rebuild.check_complete()
        commands_end = ends[self._commands, topics.partition]
        if commands_end <= self._settled_when_asked:
            lost = LogCorrupt(
                f"the commands end at offset {commands_end}, and those up to {self._settled_when_asked} are settled: the log has lost its "
                "newest commands, and new ones in their place would be taken for settled. See the runbook"
            )
            self._ends_short(self._settled_when_asked, lost)
            return
        if commands_end <= self._applier.positions.watermark:
            self._ask_for_ends()  # somebody leads still, and has settled what came since the ends were asked for; or they are lost
            return
        needed, read = self._applier.positions.format_level, around.identity.reads_format_level
        if needed > read:
            raise BuildTooOld(
                f"owners of this partition must read format level {needed}, and this build ({around.identity.build}) reads {read}: "
                "run a newer build"
            )
        assert self._audit is not None
        if not self._audit.done() or not self.may_claim:
            return
        self._audit.result()
        self._check_clock()
        self._end_request = self._audit = None  # a request holds its client of the log, which may be replaced while this process leads
        assert self._clock is not None
        self._clock.observe(self._applier.positions.time_ms)
        self._claiming = Claiming(
            topics, around.identity, around.new_id(), self._applier.positions.live, self._clock.now_ms(), self._send_history
        )
        self.stage = Stage.CLAIMING

    def _read_claim(self, history: Sequence[Record]) -> None:
        assert self._claiming is not None
        assert self._rebuild is not None
        assert self._applier is not None
        assert self._clock is not None
        applier, around = self._applier, self._around
        own = self._claiming.take(history, self._rebuild, lambda: applier.positions.live)
        if own is None:
            return
        self._clock.observe(own.timestamp_ms)
        apart_ms = abs(around.log.now_ms() - own.timestamp_ms)
        if apart_ms > around.limits.clock_bound_ms:
            now_ms = around.monotonic_ms()
            self._clock_seen = own.timestamp_ms - now_ms, now_ms
            raise Retired(
                f"this machine's clock is {apart_ms} ms from the log's, and {around.limits.clock_bound_ms} are allowed; set the clock"
            )
        self._clock_seen = None
        self._lead(own.offset)

    def _check_clock(self) -> None:
        """Raises Retired before another claim is made, which would fence whoever leads, for as long as this machine's clock stands where a
        claim has shown it to be out of bounds. Only a claim shows the log's clock, so now and then one is made all the same."""
        if self._clock_seen is None:
            return
        around = self._around
        ahead_ms, seen_ms = self._clock_seen
        now_ms = around.monotonic_ms()
        apart_ms = round(abs(around.log.now_ms() - (ahead_ms + now_ms)))
        if apart_ms > around.limits.clock_bound_ms and now_ms - seen_ms < CLOCK_BELIEVED_MS:
            raise Retired(f"this machine's clock is still {apart_ms} ms from the log's; nothing is claimed before it is set")

    def _lead(self, claim_offset: int) -> None:
        assert self._store is not None
        assert self._runs is not None
        assert self._applier is not None
        assert self._clock is not None
        assert self._claiming is not None
        around = self._around
        releaser = Releaser(
            around.tokens,
            self.topics.partition_count,
            around.lanes,
            around.task_topics.partitions,
            around.task_topics.forget,
            self._applier.positions.released,
        )
        parts = Parts(
            self.topics,
            around.log,
            around.lanes,
            Tables(self._store),
            self._runs,
            self._applier,
            releaser,
            self._clock,
            around.isolation,
            around.tokens,
            around.limits,
            around.aside,
        )
        try:
            self.owner = PartitionOwner(parts, self._claiming.claim, claim_offset)
        except BaseException:
            releaser.close()  # the lanes outlive it
            raise
        applier = self._applier
        self._meter = PartitionMeter(
            self.owner, self.topics, self._runs, around.log, self._clock.now_ms, lambda: applier.positions.watermark
        )
        self._claiming = None
        self._leading_since_ms = around.monotonic_ms()
        self.stage = Stage.LEADING
        self._moved = True
        logger.info(
            "partition %d: leading with claim %d from offset %d",
            self.topics.partition,
            self.owner.claim.claim_number,
            claim_offset,
            extra=self._extra(),
        )

    # -- ends

    def _history_failed(self, place: TopicPartition | None, error: Exception) -> None:
        """The producer of history failed: what was in flight may or may not be in the log, which will tell (design.md 3.4)."""
        if place not in (None, (self._history, self.topics.partition)):
            return
        if self.stage in (Stage.LEADING, Stage.CLAIMING):
            logger.warning("partition %d: an append failed: %s", self.topics.partition, error, extra=self._extra())
            self._retire()

    def _retire(self) -> None:
        """Drop memory, keep the store, and start over after a growing, jittered while."""
        self._drop()
        self._backoff.lost()
        self.stage = Stage.WAITING

    def _set_store_aside(self, why: str) -> None:
        """Start over without it; stop where it cannot be moved."""
        self._drop()
        try:
            kept = self._around.stores.set_aside(self.topics.partition, why)
        except PerdureError as error:
            self._stop(error)
            return
        logger.warning(
            "partition %d: its store cannot be used (%s); it is kept in %s, and the partition is rebuilt from the log",
            self.topics.partition,
            why,
            kept,
            extra=self._extra(),
        )
        self._retire()  # not at once: what is written next may be damaged as well

    def _stop(self, error: Exception) -> None:
        logger.error(
            "partition %d stopped, and stays so until this process is started anew: %s", self.topics.partition, error, extra=self._extra()
        )
        self.failure = error
        self._drop()
        around = self._around
        self._stopped = StoppedPartition(
            self.topics, around.log, around.lanes, f"{around.identity.owner} on {around.identity.host}", error, around.monotonic_ms
        )
        self.stage = Stage.STOPPED

    def _drop(self) -> None:
        if self._meter is not None:
            self._meter.close()
            self._meter = None
        if self.owner is not None:
            self._backoff.led(self._around.monotonic_ms() - self._leading_since_ms)
            self.owner.close()
        elif self._runs is not None:
            self._runs.close()
        if self._store is not None:
            self._store.close()
        self.owner = self._store = self._runs = self._applier = self._rebuild = self._clock = self._claiming = self._search = None
        self._end_request = self._audit = None
        self._moved = True

    def _send_history(self, key: bytes | None, value: bytes) -> None:
        self._around.lanes.append_history(self._history, self.topics.partition, key, value)

    def _extra(self) -> dict[str, object]:
        claim = self.owner.claim.claim_number if self.owner is not None else 0
        return {"partition": self.topics.partition, "namespace": self.topics.namespace, "claim_number": claim}


def _ahead(offset: int, end: int) -> LogCorrupt:
    """The store's identity says that it was made from this very log, so this is no matter of its own."""
    return LogCorrupt(
        f"the store is at offset {offset}, ahead of the log, which ends at {end}: the log has lost its newest records, and with them what "
        "was acknowledged there. Restore it; or, to go on without them, give the store up with: perdure partition rebuild"
    )
