"""Stage 6: effects of live records -> tasks, replies, commands elsewhere, in log order; and how far they are acknowledged.

Nothing leaves before its record is confirmed. `released` is the contiguous prefix of records whose effects are acknowledged. A reply
that its topic does not take is replaced by a small one that says so, and given up only if that one fails as well. A task that cannot
be delivered is parked by a note (R9), and counts as acknowledged once that note is confirmed: its owner may end before.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from perdure._log.errors import LogMisconfigured, LogUnauthorized, LogUnavailable, RecordTooLarge, TopicNotFound
from perdure._log.port import Headers
from perdure_platform.partition.lanes import EffectToken, Lanes
from perdure_platform.partition.tokens import Tokens
from perdure_platform.partition.transition.draft import Answer, TaskUndeliverable
from perdure_platform.partition.transition.effects import DispatchTask, Effect, SendCommand, SendDeadLetter, SendReply
from perdure_schemas.codec import encode_command, encode_dead_letter, encode_reply, encode_task
from perdure_schemas.headers import CLIENT_ID, TRACE_PARENT
from perdure_schemas.history import AddressedReply
from perdure_schemas.placement import partition_of, slot_of
from perdure_schemas.replies import RefusalCode, Refused, Reply
from perdure_schemas.topics import RECORD_BYTES_MAX, commands_topic, dead_letters_topic, replies_topic, tasks_topic

_logger = logging.getLogger("perdure.owner")

ANSWER = -1
"""Offset in the token of an answer, which belongs to no record."""

_PERMANENT = (LogMisconfigured, LogUnauthorized, RecordTooLarge)


@dataclass(slots=True)
class _Record:
    """A live record with effects that are not all acknowledged."""

    offset: int
    effects: dict[int, Effect] = field(default_factory=dict)


class Releaser:
    """For one partition under one claim. `queue_partitions` says how many partitions a queue's topic has, making it if need be;
    `forget_queue` makes it look again."""

    def __init__(
        self,
        tokens: Tokens,
        partition_count: int,
        lanes: Lanes,
        queue_partitions: Callable[[str], int],
        forget_queue: Callable[[str], None],
        released: int,
    ) -> None:
        self._tokens = tokens
        self._namespace = namespace = tokens.namespace
        self._partition_count = partition_count
        self._lanes = lanes
        self._queue_partitions = queue_partitions
        self._forget_queue = forget_queue
        self._commands_topic = commands_topic(namespace)
        self._replies_topic = replies_topic(namespace)
        self._open: deque[_Record] = deque()
        self._by_offset: dict[int, _Record] = {}
        self._last_offset = released
        self.undeliverable: list[tuple[str, TaskUndeliverable]] = []
        """Taken by the owner, which acknowledges the effect of each."""
        self._answers: dict[int, AddressedReply] = {}
        """Answers that are no effect of a record, until they are acknowledged; by a number each."""
        self._answer_count = 0
        self.is_over = False
        lanes.on_commands_failed.append(self._resend_commands)

    def release(self, offset: int, effects: list[Effect]) -> None:
        """The record at `offset` is live: its effects leave."""
        self._last_offset = offset
        if not effects:
            return
        record = _Record(offset, dict(enumerate(effects)))
        self._open.append(record)
        self._by_offset[offset] = record
        for index, effect in enumerate(effects):
            self._send(offset, index, effect)

    @property
    def released(self) -> int:
        """Up to here, every effect of every record is acknowledged."""
        return self._open[0].offset - 1 if self._open else self._last_offset

    @property
    def unreleased_records(self) -> int:
        """How many records lie at or behind the oldest one of which an effect is not acknowledged."""
        return len(self._open)

    @property
    def is_settled(self) -> bool:
        """Whether every effect that was released is acknowledged."""
        return not self._open

    def passed(self, offset: int) -> None:
        """A record without effects is confirmed."""
        self._last_offset = max(self._last_offset, offset)

    def answer(self, answer: Answer) -> None:
        """Send an answer that is no effect of a record; `released` does not wait for its acknowledgement."""
        reply = AddressedReply(answer.address, answer.request_id, answer.body)
        self._answer_count += 1
        self._answers[self._answer_count] = reply
        self._reply(reply, EffectToken(self, ANSWER, self._answer_count))

    def acknowledged(self, offset: int, index: int) -> None:
        """An effect is in the log."""
        if offset == ANSWER:
            self._answers.pop(index, None)
            return
        record = self._by_offset.get(offset)
        if record is None:
            return
        record.effects.pop(index, None)
        while self._open and not self._open[0].effects:
            del self._by_offset[self._open.popleft().offset]

    def failed(self, offset: int, index: int, error: Exception) -> None:
        """An append of a task, a reply or a dead letter failed: send it again, or give it up for good."""
        if offset == ANSWER:
            answer = self._answers.pop(index, None)
            if answer is not None and isinstance(error, RecordTooLarge) and (small := self._small(answer, error)) is not None:
                self._reply(small, EffectToken(self, ANSWER, index))
            return
        record = self._by_offset.get(offset)
        if self.is_over or record is None or index not in record.effects:
            return
        effect = record.effects[index]
        if not isinstance(error, _PERMANENT):
            self._send(offset, index, effect)
            return
        if isinstance(effect, DispatchTask):
            self._forget_queue(effect.task.task_queue)
            self._park(effect, offset, index, error)
        elif (
            isinstance(effect, SendReply) and isinstance(error, RecordTooLarge) and (small := self._small(effect.reply, error)) is not None
        ):
            record.effects[index] = SendReply(small)
            self._send(offset, index, record.effects[index])
        else:
            _logger.error("an effect of the record at offset %d is given up: %s", offset, error)
            self.acknowledged(offset, index)

    def close(self) -> None:
        """The claim is over; what comes back is ignored."""
        self.is_over = True
        self._lanes.on_commands_failed.remove(self._resend_commands)
        self._open.clear()
        self._by_offset.clear()

    def _send(self, offset: int, index: int, effect: Effect) -> None:
        token = EffectToken(self, offset, index)
        match effect:
            case DispatchTask():
                self._task(effect, token)
            case SendCommand():
                self._command(effect, token)
            case SendReply():
                self._reply(effect.reply, token)
            case SendDeadLetter():
                letter = effect.dead_letter
                key = f"{letter.source_topic}/{letter.source_partition}/{letter.source_offset}".encode()
                self._lanes.send(dead_letters_topic(self._namespace), 0, key, encode_dead_letter(letter), (), token)

    def _task(self, effect: DispatchTask, token: EffectToken) -> None:
        task = effect.task
        try:
            partitions = self._queue_partitions(task.task_queue)
        except (TopicNotFound, LogMisconfigured, LogUnauthorized, LogUnavailable) as error:
            self._park(effect, token.offset, token.index, error)
            return
        partition = slot_of(f"{task.workflow_id}/{task.scheduled_event_id}") % partitions
        self._lanes.send(
            tasks_topic(self._namespace, task.task_queue),
            partition,
            task.workflow_id.encode(),
            encode_task(task),
            (*_trace_headers(task.trace_parent), *self._tokens.of_task(task)),
            token,
        )

    def _command(self, effect: SendCommand, token: EffectToken) -> None:
        command = effect.command
        partition = partition_of(command.workflow_id, self._partition_count)
        value = encode_command(command)
        headers = (*_trace_headers(effect.trace_parent), *self._tokens.of_command(value))
        self._lanes.send_command(self._commands_topic, partition, command.workflow_id.encode(), value, headers, token)

    def _reply(self, reply: AddressedReply, token: EffectToken) -> None:
        client_id = reply.address.client_id.encode()
        value = encode_reply(Reply(reply.request_id, reply.body))
        self._lanes.send(self._replies_topic, reply.address.partition, client_id, value, ((CLIENT_ID, client_id),), token)

    def _small(self, reply: AddressedReply, error: RecordTooLarge) -> AddressedReply | None:
        """What is sent in place of a reply that its topic does not take; None where that one was refused as well."""
        if isinstance(reply.body, Refused) and reply.body.code is RefusalCode.LIMIT_EXCEEDED:
            return None
        size_bytes = len(encode_reply(Reply(reply.request_id, reply.body)))
        text = (
            f"the answer has {size_bytes} bytes, and the topic {self._replies_topic} does not take it. The request itself was carried "
            f"out. Set max.message.bytes={RECORD_BYTES_MAX} for this topic, and ask again"
        )
        _logger.error("%s (%s)", text, error)
        return AddressedReply(reply.address, reply.request_id, Refused(RefusalCode.LIMIT_EXCEEDED, text))

    def _park(self, effect: DispatchTask, offset: int, index: int, error: Exception) -> None:
        task = effect.task
        reason = f"queue {task.task_queue!r} cannot be written: {error}"
        _logger.warning("an activity of workflow %r waits, and is tried again: %s", task.workflow_id, reason)
        undeliverable = TaskUndeliverable(task.run_id, task.scheduled_event_id, task.attempt, reason, offset, index)
        self.undeliverable.append((task.workflow_id, undeliverable))

    def _resend_commands(self, _error: Exception) -> None:
        """The stream of commands failed: all that are unacknowledged go again, in log order, through the new one (R8)."""
        for record in list(self._open):
            for index, effect in sorted(record.effects.items()):
                if isinstance(effect, SendCommand):
                    self._send(record.offset, index, effect)


def _trace_headers(trace_parent: str) -> Headers:
    return ((TRACE_PARENT, trace_parent.encode()),) if trace_parent else ()
