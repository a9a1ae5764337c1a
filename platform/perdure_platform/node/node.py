"""The process that owns partitions: one thread, one loop, one consumer for all of them (design.md 4, 5).

Only partitions that have news take a turn: records, a failed append, or a time that has come. Each says how long it may rest, as it
does where it is alone in its process; the others cost nothing, however many they are.

Membership says which partitions to lead; it is a hint, polled only while the loop turns, so that a stuck loop loses them (C10).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass

from perdure._log.errors import LogUnauthorized, LogUnavailable, OffsetOutOfRange, PartitionDamaged
from perdure._log.port import Consumer, Membership, Record, TopicPartition
from perdure._log.progress import ProgressWatch
from perdure_platform.node.assignment import AssignedPartition, Stage, Surroundings
from perdure_platform.node.claim_backoff import ClaimBackoff
from perdure_platform.node.topics import partition_topics
from perdure_platform.node.wake_times import WakeTimes
from perdure_platform.partition.decode import BuildTooOld
from perdure_platform.store.port import StoreUnavailable
from perdure_schemas.topics import commands_topic, history_topic

logger = logging.getLogger("perdure.owner")

SHOW_POSITIONS_MS = 5_000
"""Between two times at which the group is told how far its partitions have come."""

AWAKE_MS = 10
"""A partition that wants to look again within so many milliseconds, at an answer that is under way, takes every turn."""


STOPPED_ENDS_MS = 10_000
"""Time for which a process all of whose partitions have stopped answers for them before it ends, in milliseconds. Clients that wait ask
again every five seconds."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a process does. `held` partitions were given to it, `leading` of them are led; `stopped` says why, by partition."""

    held: int
    leading: int
    stopped: dict[int, str]

    @property
    def is_ok(self) -> bool:
        """Whether nobody has to act."""
        return not self.stopped


class Node:
    """Runs partitions until told to stop. `turn` is one round of the loop; `described` is what `describe_namespace` gave."""

    def __init__(self, namespace: str, described: tuple[int, str, str], around: Surroundings, membership: Membership) -> None:
        self._namespace = namespace
        self._described = described
        self._around = around
        self._membership = membership
        self._consumer: Consumer = around.log.consumer()
        self._history = history_topic(namespace)
        self._commands = commands_topic(namespace)
        self._assigned: dict[int, AssignedPartition] = {}
        self._leaving: dict[int, tuple[AssignedPartition, float]] = {}
        self._backoffs: dict[int, ClaimBackoff] = {}
        self._paused: set[TopicPartition] = set()
        self._wakes = WakeTimes()
        self._awake: set[int] = set()
        """Partitions that take the next turn, whatever comes."""
        self._touched: set[int] = set()
        """Partitions that took a turn, or are new, since their positions and their room were looked at."""
        self._failures_seen = 0
        self._reassign = False
        self._is_told_who_leads = True
        self._show_at_ms = around.monotonic_ms() + SHOW_POSITIONS_MS
        self._all_stopped_since_ms: float | None = None
        self._progress = ProgressWatch(around.log, around.monotonic_ms)

    @property
    def partitions(self) -> dict[int, AssignedPartition]:
        """What membership has given."""
        return dict(self._assigned)

    def turn(self, wait_max_ms: int = 1000) -> None:
        """One round: who leads what, read, settle, decide."""
        self._follow_membership()
        self._watch_progress()
        self._assign()
        self._pause_and_resume()
        records = self._read(wait_max_ms)
        self._around.lanes.turn()
        turned = self._whose_turn(records)
        for partition in turned:
            assigned = self._of(partition)
            assigned.turn(records.get((self._history, partition), ()), records.get((self._commands, partition), ()))
        self._around.lanes.push()
        self._rest(turned)
        self._close_settled()
        self._show_positions()

    def wait_ms(self) -> int:
        """How long the loop may sleep if nothing comes."""
        waits_ms = [self._of(partition).wait_ms() for partition in self._awake]
        if self._around.lanes.has_work:
            waits_ms.append(1)
        if (next_ms := self._wakes.next_ms()) is not None:
            waits_ms.append(max(0, math.ceil(next_ms - self._around.monotonic_ms())))
        return min(waits_ms, default=200)

    def _whose_turn(self, records: Iterable[TopicPartition]) -> list[int]:
        """Who has news, is awake, or is due; and all, where an append failed: that may be a matter of any."""
        if self._around.lanes.failures != self._failures_seen:
            self._failures_seen = self._around.lanes.failures
            self._wake_all()
        due = self._wakes.take(self._around.monotonic_ms())
        turns = due | self._awake | {partition for _, partition in records}
        return [*sorted(turns & self._assigned.keys()), *self._leaving]

    def _rest(self, turned: Iterable[int]) -> None:
        """Each says when it is to be woken. Behind the push: what has left is no reason to look again."""
        self._touched.update(turned)
        now_ms = self._around.monotonic_ms()
        for partition in turned:
            wait_ms = self._of(partition).wait_ms()
            if wait_ms <= AWAKE_MS or partition in self._leaving:
                self._awake.add(partition)
            else:
                self._awake.discard(partition)
                self._wakes.put(partition, now_ms + wait_ms)

    def _wake(self, partition: int) -> None:
        self._awake.add(partition)
        self._touched.add(partition)

    def _wake_all(self) -> None:
        for partition, _ in self._all():
            self._wake(partition)

    def _of(self, partition: int) -> AssignedPartition:
        leaving = self._leaving.get(partition)
        return self._assigned[partition] if leaving is None else leaving[0]

    def close(self, handover_ms: int) -> None:
        """Stop taking commands, let what is in flight settle for at most `handover_ms`, and leave."""
        deadline_ms = self._around.monotonic_ms() + handover_ms
        for partition in list(self._assigned):
            self._give_up(partition, deadline_ms)
        while self._leaving and self._around.monotonic_ms() < deadline_ms:
            self._assign()
            records = self._read(20)
            self._around.lanes.turn()
            for partition, (assigned, _) in list(self._leaving.items()):
                assigned.turn(records.get((self._history, partition), ()), ())
            self._around.lanes.push()
            self._close_settled()
        for assigned, _ in self._leaving.values():
            assigned.close()
        self._leaving.clear()
        self._membership.leave()
        self._consumer.close()
        self._around.lanes.flush(1000)
        self._around.lanes.close()

    def _all(self) -> list[tuple[int, AssignedPartition]]:
        return [*self._assigned.items(), *((partition, leaving) for partition, (leaving, _) in self._leaving.items())]

    def _follow_membership(self) -> None:
        try:
            wanted = self._membership.poll()
        except LogUnavailable as error:  # who leads is a hint: what is led goes on, and the log says when it is over
            self._hear_who_leads(False, f"who leads what is not known: {error}; what is led goes on, and nothing is claimed")
            return
        self._hear_who_leads(True, "who leads what is known again")
        for partition in sorted(wanted - self._assigned.keys() - self._leaving.keys()):
            topics = partition_topics(self._namespace, partition, self._described)
            self._assigned[partition] = AssignedPartition(topics, self._around, self._backoff(partition))
            self._wake(partition)
            self._reassign = True
        for partition in self._assigned.keys() - wanted:
            self._give_up(partition, self._around.monotonic_ms() + self._around.limits.handover_ms)

    def _backoff(self, partition: int) -> ClaimBackoff:
        around, limits = self._around, self._around.limits
        if partition not in self._backoffs:
            first_ms, max_ms = limits.claim_backoff_first_ms, limits.claim_backoff_max_ms
            self._backoffs[partition] = ClaimBackoff(first_ms, max_ms, around.monotonic_ms, around.jitter)
        return self._backoffs[partition]

    def _hear_who_leads(self, is_told: bool, message: str) -> None:
        if is_told == self._is_told_who_leads:
            return
        self._is_told_who_leads = is_told
        logger.warning(message)
        for assigned in self._assigned.values():
            assigned.may_claim = is_told
        self._wake_all()

    def _give_up(self, partition: int, deadline_ms: float) -> None:
        self._leaving[partition] = (self._assigned.pop(partition), deadline_ms)
        self._wake(partition)
        self._reassign = True

    def _close_settled(self) -> None:
        for partition, (leaving, deadline_ms) in list(self._leaving.items()):
            if leaving.hand_over() or self._around.monotonic_ms() >= deadline_ms:
                leaving.close()
                del self._leaving[partition]
                self._wakes.forget(partition)
                self._awake.discard(partition)
                self._touched.discard(partition)
                self._reassign = True

    def _assign(self) -> None:
        moved = [self._of(partition).take_moved() for partition in self._touched]
        if not (self._reassign or any(moved)):
            return
        self._reassign = False
        self._touched.update(self._assigned)  # the consumer forgets who is paused
        self._consumer.assign(self._positions())
        self._paused.clear()

    def _positions(self) -> dict[TopicPartition, int]:
        positions: dict[TopicPartition, int] = {}
        for partition, assigned in self._all():
            positions.update(assigned.positions())
            if partition in self._leaving:
                positions.pop((self._commands, partition), None)
        return positions

    def _show_positions(self) -> None:
        """For ordinary tools; owners go by the log alone (design.md 3.5)."""
        now_ms = self._around.monotonic_ms()
        if now_ms >= self._show_at_ms:
            self._show_at_ms = now_ms + SHOW_POSITIONS_MS
            owners = {partition: assigned.owner for partition, assigned in self._assigned.items() if assigned.owner is not None}
            self._membership.show({partition: owner.settled_to for partition, owner in owners.items()})

    def _watch_progress(self) -> None:
        def read() -> dict[TopicPartition, int]:
            return {place: position for place, position in self._positions().items() if place not in self._paused}

        if still := self._progress.stalled(read):
            where = ", ".join(f"{topic}[{partition}]" for topic, partition in sorted(still))
            logger.warning("reading stands still, although there are records, at %s; reading again with a new consumer", where)
            self._consumer.close()
            self._consumer = self._around.log.consumer()
            self._reassign = True

    def _pause_and_resume(self) -> None:
        around = self._around
        is_full_for_all = around.lanes.waiting >= around.limits.unsent_effects_max
        look = self._assigned.keys() if is_full_for_all else self._touched | {partition for _, partition in self._paused}
        self._touched = set()
        here = [(partition, self._assigned[partition]) for partition in look if partition in self._assigned]
        full = {(self._commands, partition) for partition, a in here if a.owner is not None and not a.wants_commands}
        if pause := full - self._paused:
            self._consumer.pause(pause)
        if resume := self._paused - full:
            self._consumer.resume(resume)
        self._paused = full

    def _read(self, wait_max_ms: int) -> dict[TopicPartition, list[Record]]:
        by_place: dict[TopicPartition, list[Record]] = {}
        try:
            records = self._consumer.poll(self._around.limits.turn_records_max, min(self.wait_ms(), wait_max_ms))
        except OffsetOutOfRange as error:
            for partition, assigned in self._all():
                if partition == error.partition:
                    self._wake(partition)
                    assigned.out_of_range(error)
            self._reassign = True
            return by_place
        except PartitionDamaged as error:
            for partition, assigned in self._all():
                if partition == error.partition:
                    self._wake(partition)
                    assigned.damaged(error)
            self._reassign = True
            return by_place
        except LogUnavailable as error:
            logger.warning("reading failed: %s; trying again", error)
            self._reassign = True  # what the consumer had taken by then is gone with the error
            return by_place
        for record in records:
            by_place.setdefault((record.topic, record.partition), []).append(record)
        return by_place

    def stopped(self) -> list[tuple[int, Exception]]:
        """Partitions that stopped for good, and why."""
        return [(partition, a.failure) for partition, a in self._assigned.items() if a.stage is Stage.STOPPED and a.failure is not None]

    def health(self) -> Health:
        """How this process does, for those who watch it."""
        leading = sum(1 for assigned in self._assigned.values() if assigned.stage is Stage.LEADING)
        return Health(len(self._assigned), leading, {partition: f"{type(why).__name__}: {why}" for partition, why in self.stopped()})

    def failure(self) -> Exception | None:
        """Why this process has to end. The rule for a partition that has stopped:

        - What stopped it is a matter of this machine or this build (its store, its rights, a build that is too old): the process ends at
          once, because while it holds the partition nobody leads, and another process may be able to.
        - What stopped it is in the log: nobody could lead, and to end would hurt the other partitions (P9). The process goes on, and
          answers for the partition (`node/stopped.py`).
        - All of its partitions have stopped: there is nobody to hurt. The process answers for `STOPPED_ENDS_MS`, so that whoever waits
          is told, and ends then, so that a supervisor notices, and starts it anew after the log was mended.
        """
        stopped = self.stopped()
        for _, failure in stopped:
            if isinstance(failure, StoreUnavailable | LogUnauthorized | BuildTooOld):
                return failure
        if not stopped or len(stopped) < len(self._assigned):
            self._all_stopped_since_ms = None
            return None
        now_ms = self._around.monotonic_ms()
        if self._all_stopped_since_ms is None:
            self._all_stopped_since_ms = now_ms
        return stopped[0][1] if now_ms - self._all_stopped_since_ms >= STOPPED_ENDS_MS else None
