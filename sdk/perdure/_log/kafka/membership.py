"""Members of Kafka consumer groups: one kind that only leads, and one that reads."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer as KafkaClient
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from perdure._log.errors import LogClosed, LogError, LogUnavailable
from perdure._log.kafka.chatter import logger
from perdure._log.kafka.consumer import record, take
from perdure._log.kafka.errors import Trouble, log_error
from perdure._log.kafka.offsets import KafkaOffsets
from perdure._log.kafka.settings import Settings
from perdure._log.port import Record

_LEAVE_TIMEOUT_S = 5.0
_COMMIT_TIMEOUT_S = 5.0
_BACKLOG_TIMEOUT_MS = 5_000
_HOLD_BACK_S = 0.5
"""A shorter pause is kept from the library: its own pause throws away what it has fetched, and ends up to a second late."""
_LOOK_S = 10.0
"""Who holds nothing for so long looks whether it is in touch with its group at all; less often after each client in vain."""
_STATE_EVERY_MS = 5_000
"""How often the library tells how a member stands with its group."""
_LOOK_MAX_S = 300.0
_UNKNOWN_END = 1 << 62
"""Where the end could not be had, everything may be a redelivery."""


class _Member:
    """The library's consumer in a group, cooperative: what is kept over a rebalance is not interrupted.

    A client that loses its brokers may never find them again (librdkafka issue 5301; seen here after restarts of a broker). One that holds
    nothing, and is not in touch with the group's coordinator at two looks, is replaced.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        topic: str,
        given: Callable[[list[int]], None],
        taken: Callable[[list[int]], None],
        lost: Callable[[list[int]], None] | None = None,
    ) -> None:
        """`lost` is called instead of `taken` where the group has not been heard of, so that nobody has said who has the partitions now."""
        self.url = url
        self.topic = topic
        self._settings = settings
        self._look_s = _LOOK_S
        self._look_at = time.monotonic() + _LOOK_S
        self._is_in_touch = False
        self._was_out_of_touch = False
        self._given = given
        self._taken = taken
        self._lost = lost or taken
        self._error: LogError | None = None
        self._committing: threading.Thread | None = None
        self._trouble = Trouble(url)
        self.client = self._join()

    def _join(self) -> KafkaClient:
        try:
            own = {"error_cb": self._trouble.note, "stats_cb": self._note_state, "statistics.interval.ms": _STATE_EVERY_MS}
            client = KafkaClient({**self._settings, **own})
            client.subscribe([self.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
        except KafkaException as error:
            raise log_error(error, self.url) from error
        return client

    def look_after(self, *, holds_something: bool) -> None:
        """To be called at every turn: replaces the client where it is no member of the group and does not become one."""
        now = time.monotonic()
        if holds_something:
            self._look_s, self._look_at = _LOOK_S, now + _LOOK_S
            self._was_out_of_touch = False
        elif now >= self._look_at:
            self._look(now)

    def _look(self, now: float) -> None:
        is_out_of_touch = not self._is_in_touch
        if is_out_of_touch and self._was_out_of_touch:
            logger.warning(
                "%s: this process holds nothing in the group %s and is not in touch with it; going on with a new client",
                self.url,
                self._settings["group.id"],
            )
            threading.Thread(target=self._close, args=(self.client,), name="perdure-kafka-leave", daemon=True).start()
            self.client = self._join()
            self._look_s = min(2 * self._look_s, _LOOK_MAX_S)
            is_out_of_touch = False
        self._was_out_of_touch = is_out_of_touch
        self._look_at = now + self._look_s

    def _note_state(self, statistics: str) -> None:
        """The library's own view, which costs no request: connected to the coordinator, and in the group. A rebalance takes less than a
        session, and so is over at the second look."""
        group = json.loads(statistics).get("cgrp", {})
        self._is_in_touch = group.get("state") == "up" and group.get("join_state") == "steady"

    def check(self, error: KafkaError) -> None:
        """Remember an error that does not pass by itself."""
        found = log_error(error, f"{self.url}: as a member of the group {self._settings['group.id']} on {self.topic}")
        if not isinstance(found, LogUnavailable):
            self._error = found

    def raise_error(self) -> None:
        """Raise what was remembered."""
        error, self._error = self._error or self._trouble.lasting(), None
        if error is not None:
            raise error

    def leave(self) -> None:
        """Leave the group; waits a few seconds at most."""
        leaving = threading.Thread(target=self._close, args=(self.client,), name="perdure-kafka-leave", daemon=True)
        leaving.start()
        leaving.join(_LEAVE_TIMEOUT_S)

    def commit(self, positions: list[TopicPartition]) -> bool:
        """Commit and wait for the answer, a few seconds at most.

        The library's own waiting has no limit: it waits on a thread of its own here. One at a time, and with none under way it is closed.
        """
        if self._committing is not None and self._committing.is_alive():
            return False
        outcome: list[bool] = []
        self._committing = threading.Thread(target=self._commit, args=(positions, outcome), name="perdure-kafka-commit", daemon=True)
        self._committing.start()
        self._committing.join(_COMMIT_TIMEOUT_S)
        return outcome == [True]

    def _commit(self, positions: list[TopicPartition], outcome: list[bool]) -> None:
        try:
            committed = self.client.commit(offsets=positions, asynchronous=False)
        except (KafkaException, RuntimeError) as error:
            logger.debug("%s: a commit on %s failed: %s", self.url, self.topic, error)
            outcome.append(False)
        else:
            outcome.append(all(each.error is None for each in committed or ()))

    def _close(self, client: KafkaClient) -> None:
        if self._committing is not None:
            self._committing.join()
        try:
            client.close()
        except (KafkaException, RuntimeError) as error:
            logger.warning("%s: leaving a group on %s: %s", self.url, self.topic, error)

    def _on_assign(self, client: KafkaClient, partitions: list[TopicPartition]) -> None:
        client.incremental_assign(partitions)
        if client is self.client:
            self._given([each.partition for each in partitions])

    def _on_revoke(self, client: KafkaClient, partitions: list[TopicPartition]) -> None:
        if client is self.client:
            self._taken([each.partition for each in partitions])
        client.incremental_unassign(partitions)

    def _on_lost(self, client: KafkaClient, partitions: list[TopicPartition]) -> None:
        if client is self.client:
            self._lost([each.partition for each in partitions])
        client.incremental_unassign(partitions)


class KafkaMembership:
    """A member that leads. It is assigned partitions and fetches nothing from them.

    A member that has not heard of its group for a session does not know who leads, which is another thing than leading nothing: where the
    group's coordinator is away, nobody else can take over either.
    """

    def __init__(self, url: str, settings: Settings, topic: str) -> None:
        self._partitions: set[int] = set()
        self._is_lost = False
        self._left = False
        self._member = _Member(url, settings, topic, self._given, self._partitions.difference_update, self._lost)

    def poll(self) -> frozenset[int]:
        """See Membership. Raises LogUnauthorized, LogMisconfigured."""
        if self._left:
            raise LogClosed("this member has left its group")
        while (message := self._member.client.poll(0)) is not None:
            if (error := message.error()) is not None:
                self._member.check(error)
        self._member.raise_error()
        self._member.look_after(holds_something=bool(self._partitions))
        if self._is_lost:
            raise LogUnavailable(f"{self._member.url}: the group that leads {self._member.topic} has not been heard of for a session")
        return frozenset(self._partitions)

    def show(self, positions: Mapping[int, int]) -> None:
        """See Membership: committed offsets, which every tool for consumer groups knows."""
        held = [TopicPartition(self._member.topic, p, offset) for p, offset in positions.items() if p in self._partitions]
        if held and not self._left:
            try:
                self._member.client.commit(offsets=held, asynchronous=True)
            except KafkaException as error:
                logger.debug("%s: positions on %s were not shown: %s", self._member.url, self._member.topic, error)

    def leave(self) -> None:
        """See Membership."""
        if not self._left:
            self._left = True
            self._member.leave()

    def _given(self, partitions: list[int]) -> None:
        self._is_lost = False
        self._member.client.pause([TopicPartition(self._member.topic, partition) for partition in partitions])
        self._partitions.update(partitions)

    def _lost(self, partitions: list[int]) -> None:
        self._is_lost = True
        self._partitions.difference_update(partitions)


class KafkaGroupConsumer:
    """A member that reads."""

    def __init__(self, url: str, settings: Settings, topic: str, offsets: KafkaOffsets) -> None:
        self._offsets = offsets
        self._topic = topic
        self._backlog_ends: dict[int, int] = {}
        self._begins: dict[int, int] = {}
        self._next_offsets: dict[int, int] = {}
        self._paused_at: float | None = None
        self._fetches = True
        self._closed = False
        self._member = _Member(url, settings, topic, self._given, self._taken)

    def poll(self, records_max: int, timeout_ms: int) -> list[Record]:
        """See GroupConsumer. Raises LogUnauthorized, LogMisconfigured."""
        self._check_open()
        if self._paused_at is not None and self._is_held_back(self._paused_at, timeout_ms):
            return []
        records = []
        try:
            messages = take(self._member.client, records_max, timeout_ms)
        except KafkaException as error:
            raise log_error(error, self._member.url) from error
        for message in messages:
            if message.error() is not None:
                self._member.check(message.error())
            elif message.partition() in self._backlog_ends:  # a rebalance may have taken it while the batch was made
                records.append(record(message))
                self._next_offsets[message.partition()] = message.offset() + 1
        if not records:
            self._member.raise_error()
        self._member.look_after(holds_something=bool(self._backlog_ends))
        return records

    def backlog_end(self, partition: int) -> int:
        """See GroupConsumer."""
        return self._backlog_ends[partition]

    @property
    def begins(self) -> dict[int, int]:
        """See GroupConsumer."""
        return dict(self._begins)

    def positions(self) -> dict[int, int]:
        """See GroupConsumer."""
        return self._backlog_ends | self._begins | self._next_offsets

    def commit(self, positions: Mapping[int, int]) -> None:
        """See GroupConsumer."""
        self._check_open()
        if held := self._held(positions):
            try:
                self._member.client.commit(offsets=held, asynchronous=True)
            except KafkaException as error:
                logger.debug("%s: a commit on %s was not sent: %s", self._member.url, self._topic, error)

    def commit_now(self, positions: Mapping[int, int]) -> bool:
        """See GroupConsumer."""
        self._check_open()
        held = self._held(positions)
        if not held:
            return not positions
        return self._member.commit(held) and len(held) == len(positions)

    def pause(self) -> None:
        """See GroupConsumer."""
        if self._paused_at is None:
            self._paused_at = time.monotonic()

    def resume(self) -> None:
        """See GroupConsumer."""
        self._paused_at = None
        if self._fetches:
            return
        self._fetches = True
        everything = self._all()
        self._member.client.resume(everything)
        # The library's thread sleeps up to a second before it sees that it may fetch again; to seek wakes it.
        for position in self._member.client.position(everything):
            if position.offset >= 0:
                self._member.client.seek(position)

    def close(self) -> None:
        """See GroupConsumer."""
        if not self._closed:
            self._closed = True
            self._member.leave()

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed(f"{self._member.url}: the group consumer is closed")

    def _is_held_back(self, paused_at: float, timeout_ms: int) -> bool:
        """Whether the library need not be asked yet. From then on it does not fetch, and is asked only to stay a member."""
        left_s = paused_at + _HOLD_BACK_S - time.monotonic()
        if left_s > 0:
            time.sleep(min(left_s, timeout_ms / 1000))
            return True
        if self._fetches:
            self._fetches = False
            self._member.client.pause(self._all())
        return False

    def _all(self) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in self._backlog_ends]

    def _held(self, positions: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, p, offset) for p, offset in positions.items() if p in self._backlog_ends]

    def _given(self, partitions: list[int]) -> None:
        if not self._fetches:
            self._member.client.pause([TopicPartition(self._topic, partition) for partition in partitions])
        where = [(self._topic, partition) for partition in partitions]
        try:
            ends = self._offsets.offsets(where, _BACKLOG_TIMEOUT_MS, end=True)
        except LogError as error:
            logger.warning(
                "%s: the ends of %s are unknown, so all of its records count as redelivered: %s", self._member.url, self._topic, error
            )
            ends = {}
        for topic, partition in where:
            self._backlog_ends[partition] = ends.get((topic, partition), _UNKNOWN_END)
        self._begins.update(self._begins_of(partitions))

    def _begins_of(self, partitions: list[int]) -> dict[int, int]:
        """Where the group goes on, as the library learns it for itself: what is committed, or else the log's start."""
        try:
            committed = self._member.client.committed(
                [TopicPartition(self._topic, partition) for partition in partitions], timeout=_BACKLOG_TIMEOUT_MS / 1000
            )
            known = [each for each in committed if each.error is None]
            new = [(self._topic, each.partition) for each in known if each.offset < 0]
            starts = self._offsets.offsets(new, _BACKLOG_TIMEOUT_MS, end=False) if new else {}
        except (KafkaException, LogError) as error:
            logger.debug("%s: where the group begins in %s is unknown: %s", self._member.url, self._topic, error)
            return {}
        return {each.partition: starts.get((self._topic, each.partition), each.offset) for each in known}

    def _taken(self, partitions: list[int]) -> None:
        for partition in partitions:
            self._backlog_ends.pop(partition, None)
            self._begins.pop(partition, None)
            self._next_offsets.pop(partition, None)
