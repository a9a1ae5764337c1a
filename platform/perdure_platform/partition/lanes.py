"""The producers of one process, shared by its partitions: history, commands, and everything else.

Three, because they fail differently: a failed history append ends every claim that rests on it (one that was refused for its size, that of
its partition only); a failed command ends its stream, and all that is unacknowledged goes again, in log order, through a new one (R8);
tasks and replies have no order to keep.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from perdure._log.errors import LogBusy, LogError, RecordTooLarge
from perdure._log.port import Delivery, FailedAppend, Headers, Log, TopicPartition

AGAIN_FIRST_MS = 100
AGAIN_LAST_MS = 5_000
"""A partition that has not taken a command is tried again after the first, doubled each time up to the last."""

_logger = logging.getLogger("perdure.owner")


class EffectOwner(Protocol):
    """Whoever sent an effect, and is told what became of it."""

    def acknowledged(self, offset: int, index: int) -> None:
        """The effect is in the log."""

    def failed(self, offset: int, index: int, error: Exception) -> None:
        """The append of a task, a reply or a dead letter failed; it may have landed."""


@dataclass(frozen=True, slots=True)
class EffectToken:
    """Names an effect on its way through a producer."""

    owner: EffectOwner
    offset: int
    index: int


_Queued = tuple[str, int, bytes | None, bytes, Headers, object]


class Lanes:
    """`on_history_failed` and `on_commands_failed` are called with the error; the producer is a new one by then.

    The former first with the partition that is concerned, or None for all.

    Commands for a partition that has not taken one are held back for a while, and those for others go past them: they have no order among
    each other (R9).
    """

    def __init__(self, log: Log, monotonic_ms: Callable[[], float] = lambda: time.monotonic() * 1000) -> None:
        self._log = log
        self._monotonic_ms = monotonic_ms
        self._held: dict[int, tuple[float, float]] = {}
        self._held_back = 0
        self._history = log.producer(Delivery.PIPELINED)
        self._commands = log.producer(Delivery.ORDERED)
        self._others = log.producer(Delivery.PIPELINED)
        self._waiting: tuple[deque[_Queued], deque[_Queued], deque[_Queued]] = (deque(), deque(), deque())
        self._refused: list[tuple[TopicPartition, object, LogError]] = []
        self.failures = 0
        """How many appends have failed so far; whom that concerns was told, and may want to do something about it."""
        self.on_history_failed: list[Callable[[TopicPartition | None, Exception], None]] = []
        self.on_commands_failed: list[Callable[[Exception], None]] = []

    def append_history(self, topic: str, partition: int, key: bytes | None, value: bytes) -> None:
        """Queue a record of a history partition."""
        self._waiting[0].append((topic, partition, key, value, (), None))

    def send_command(self, topic: str, partition: int, key: bytes, value: bytes, headers: Headers, token: EffectToken) -> None:
        """Queue a command to a partition; commands leave in the order of these calls."""
        self._waiting[1].append((topic, partition, key, value, headers, token))

    def send(self, topic: str, partition: int, key: bytes, value: bytes, headers: Headers, token: EffectToken) -> None:
        """Queue a task, a reply or a dead letter."""
        self._waiting[2].append((topic, partition, key, value, headers, token))

    @property
    def waiting(self) -> int:
        """How many records wait for the next push, or for room in their producer."""
        return sum(map(len, self._waiting))

    @property
    def has_work(self) -> bool:
        """Whether something waits that is not held back."""
        return self.waiting > self._held_back

    def push(self) -> None:
        """Give what is queued to the producers, in one burst at the end of a turn.

        A producer sends as soon as it has something, so records that come one by one, with work between them, leave in as many requests;
        and requests are what a broker's time, and a good part of ours, goes into.
        """
        for lane in range(3):
            self._push(lane)

    def turn(self) -> None:
        """Hand out what was acknowledged or failed."""
        refused, self._refused = self._refused, []
        self.failures += len(refused)
        for place, token, error in refused:
            if isinstance(token, EffectToken):
                token.owner.failed(token.offset, token.index, error)
            else:
                self._tell_history_failed(place, error)
        _, failures = self._history.poll()
        self.failures += len(failures)
        for failure in failures:
            if not isinstance(failure.error, RecordTooLarge):
                self._history.drop()
                self._history.close()
                self._history = self._log.producer(Delivery.PIPELINED)
                self._waiting[0].clear()
                self._tell_history_failed(None, failure.error)
                break
            self._tell_history_failed((failure.topic, failure.partition), failure.error)
        acknowledged, failures = self._commands.poll()
        self.failures += len(failures)
        self._acknowledge(acknowledged)
        if failures:
            self._commands.drop()
            self._commands.close()
            self._commands = self._log.producer(Delivery.ORDERED)
            self._waiting[1].clear()
            self._hold_back(failures[0])
            for told in list(self.on_commands_failed):
                told(failures[0].error)
        acknowledged, failures = self._others.poll()
        self.failures += len(failures)
        self._acknowledge(acknowledged)
        for failure in failures:
            if isinstance(failure.token, EffectToken):
                failure.token.owner.failed(failure.token.offset, failure.token.index, failure.error)

    def flush(self, timeout_ms: int) -> None:
        """Give what is queued some time to leave; for shutdown."""
        self.push()
        for producer in (self._history, self._commands, self._others):
            producer.flush(timeout_ms)

    def close(self) -> None:
        """Release the producers; what had not left is found by the next owner."""
        for producer in (self._history, self._commands, self._others):
            producer.close()

    def _hold_back(self, failed: FailedAppend) -> None:
        """The first failure is the cause of the others."""
        now_ms = self._monotonic_ms()
        until_ms, wait_ms = self._held.get(failed.partition, (0.0, 0.0))
        wait_ms = min(2 * wait_ms, AGAIN_LAST_MS) if wait_ms and now_ms - until_ms < AGAIN_LAST_MS else AGAIN_FIRST_MS
        self._held[failed.partition] = now_ms + wait_ms, wait_ms
        _logger.warning("commands for partition %d wait, and are sent again in %d ms: %s", failed.partition, wait_ms, failed.error)

    def _take_held(self) -> deque[_Queued]:
        """Commands that are held back, out of those that wait."""
        now_ms = self._monotonic_ms()
        held = {partition for partition, (until_ms, _) in self._held.items() if now_ms < until_ms}
        waiting = self._waiting[1]
        if not held or not waiting:
            return deque()
        every = list(waiting)
        waiting.clear()
        waiting.extend(one for one in every if one[1] not in held)
        return deque(one for one in every if one[1] in held)

    def _tell_history_failed(self, place: TopicPartition | None, error: Exception) -> None:
        for told in list(self.on_history_failed):
            told(place, error)

    def _push(self, lane: int) -> None:
        if lane != 1:
            self._push_all(lane)
            return
        held = self._take_held()
        self._held_back = len(held)
        self._push_all(lane)
        self._waiting[lane].extendleft(reversed(held))

    def _push_all(self, lane: int) -> None:
        waiting = self._waiting[lane]
        producer = (self._history, self._commands, self._others)[lane]
        while waiting:
            topic, partition, key, value, headers, token = waiting[0]
            try:
                producer.append(topic, partition, key, value, headers, token)
            except LogBusy:
                return
            except RecordTooLarge as error:  # limits are checked where records are decided, so this is a defect; it ends nobody
                _logger.error("a record for %s[%d] was not appended: %s", topic, partition, error)
                self._refused.append(((topic, partition), token, error))
            waiting.popleft()

    @staticmethod
    def _acknowledge(tokens: list[object]) -> None:
        for token in tokens:
            if isinstance(token, EffectToken):
                token.owner.acknowledged(token.offset, token.index)
