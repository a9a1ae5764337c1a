"""Misreadings of when effects leave, in which order, and when they count as released (design.md 3.4, 3.6, R8, R9)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from perdure._log.port import Delivery
from perdure_platform.partition import owner
from perdure_platform.partition.lanes import EffectToken, Lanes
from perdure_platform.partition.owner import PartitionOwner
from perdure_platform.partition.release import Releaser
from perdure_platform.partition.transition.draft import Decision
from perdure_platform.partition.transition.effects import Effect, SendCommand, SendReply, effects_of
from perdure_schemas.history import CommitRecord, OutboundCommand
from perdure_schemas.topics import history_topic


def released_on_send(patch: pytest.MonkeyPatch) -> None:
    """`released` moves when effects are sent."""
    patch.setattr(Releaser, "released", property(lambda self: self._last_offset))


def _send_effects(self: Any, sent: Any, offset: int, chosen: Callable[[Effect], bool] = lambda effect: True) -> None:
    if isinstance(sent.record, CommitRecord):
        lookup = owner._RecordRuns(sent.runs, self._runs)
        for index, effect in enumerate(effects_of(sent.record, self._topics.partition, offset, lookup)):
            if chosen(effect):
                self._releaser._send(offset, index, effect)


def _effects_when_appended(patch: pytest.MonkeyPatch, chosen: Callable[[Effect], bool]) -> None:
    original = PartitionOwner._end_turn

    def mutant(self: Any, now_ms: int) -> None:
        original(self, now_ms)
        for ahead, sent in enumerate(self.confirmer.in_flight):
            _send_effects(self, sent, self._applier.positions.next_offset + ahead, chosen)

    patch.setattr(PartitionOwner, "_end_turn", mutant)


def release_early(patch: pytest.MonkeyPatch) -> None:
    """Effects leave when their record is appended."""
    _effects_when_appended(patch, lambda effect: True)


def effects_no_fifo(patch: pytest.MonkeyPatch) -> None:
    """Commands leave through a producer that keeps no order."""
    original = Lanes.__init__

    def mutant(self: Any, log: Any, monotonic_ms: Any) -> None:
        original(self, log, monotonic_ms)
        self._commands = log.producer(Delivery.PIPELINED)

    patch.setattr(Lanes, "__init__", mutant)


def effects_gaps(patch: pytest.MonkeyPatch) -> None:
    """A command that failed is sent again by itself, behind those that followed it."""
    effects_no_fifo(patch)

    def turn(self: Any) -> None:
        for producer in (self._history, self._commands, self._others):
            acknowledged, failures = producer.poll()
            self._acknowledge(acknowledged)
            for failure in failures:
                if isinstance(failure.token, EffectToken):
                    failure.token.owner.failed(failure.token.offset, failure.token.index, failure.error)

    patch.setattr(Lanes, "turn", turn)


def park_reissue(patch: pytest.MonkeyPatch) -> None:
    """A command whose delivery failed counts as released, and is issued again by a new record."""
    original = PartitionOwner._end_turn

    def resend(self: Any, error: Exception) -> None:
        self.parked = getattr(self, "parked", [])
        for record in list(self._open):
            for index, effect in sorted(record.effects.items()):
                if isinstance(effect, SendCommand):
                    self.parked.append(OutboundCommand(effect.command.workflow_id, effect.command.body))
                    self.acknowledged(record.offset, index)

    def end_turn(self: Any, now_ms: int) -> None:
        parked, self._releaser.parked = getattr(self._releaser, "parked", []), []
        if parked:
            again = Decision("", (), None, (), (), (), tuple(parked), (), ())
            self._appender.add(again, now_ms, self._releaser.released)
        original(self, now_ms)

    patch.setattr(Releaser, "_resend_commands", resend)
    patch.setattr(PartitionOwner, "_end_turn", end_turn)


def reply_early(patch: pytest.MonkeyPatch) -> None:
    """Replies leave when their record is appended."""
    _effects_when_appended(patch, lambda effect: isinstance(effect, SendReply))


def effects_on_ack(patch: pytest.MonkeyPatch) -> None:
    """Effects leave when the append of their record is acknowledged."""
    original_turn = Lanes.turn

    def send_history(self: Any, key: bytes | None, value: bytes) -> None:
        """Behind `Confirmer.sent`, so the record is the last one in flight."""
        sent = self.confirmer.in_flight[-1]
        offset = self._applier.positions.next_offset + len(self.confirmer.in_flight) - 1

        def acknowledged() -> None:
            if not self._releaser.is_over:
                _send_effects(self, sent, offset)

        topic = history_topic(self._topics.namespace)
        self._lanes._waiting[0].append((topic, self._topics.partition, key, value, (), acknowledged))

    def turn(self: Any) -> None:
        history = self._history
        acknowledged, failures = history.poll()
        for told in acknowledged:
            if callable(told):
                told()
        self._history = _Polled(history, failures)
        original_turn(self)
        if isinstance(self._history, _Polled):
            self._history = history

    patch.setattr(PartitionOwner, "_send_history", send_history)
    patch.setattr(Lanes, "turn", turn)


class _Polled:
    """A producer whose acknowledgements were taken."""

    def __init__(self, producer: Any, failures: Any) -> None:
        self._producer = producer
        self._failures = failures

    def poll(self) -> Any:
        return [], self._failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


def nothing_released_again(patch: pytest.MonkeyPatch) -> None:
    """A takeover takes the effects of its predecessors for released."""
    patch.setattr(PartitionOwner, "_release_again", lambda self, claim_offset: self._releaser.passed(claim_offset))


def effects_reversed(patch: pytest.MonkeyPatch) -> None:
    """The commands of a turn leave in no particular order: here, the last one first."""
    original = Lanes.push

    def mutant(self: Any) -> None:
        histories, commands, others = self._waiting
        self._waiting = (histories, deque(reversed(commands)), others)
        original(self)

    patch.setattr(Lanes, "push", mutant)
