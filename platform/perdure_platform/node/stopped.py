"""What a process does for a partition that has stopped in it: it says so, to whoever asks and in the log, until somebody acts.

A partition stops where going on would lose or invent something: records that are gone or damaged, events that this build does not know,
a defect. The rule by which its process goes on or ends is `Node.failure`. As long as the process goes on:

- It reads the partition's commands and settles none of them: no record is appended, no code is run, and an owner that leads later finds
  every command where it was.
- Each request of a client is answered at once by an error that names the partition, the reason and what to do. The error says nothing
  about the state, which nobody knows: a request stays in the log, and is carried out once an owner leads again, unless it has expired.
- Reports of workers are not answered: a worker sends its report until an owner has it.
- The log says each minute that the partition is stopped, and why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from perdure._log.errors import LogUnavailable, TopicNotFound
from perdure._log.port import EndOffsetsRequest, Log, Record, TopicPartition
from perdure_platform.partition.lanes import EffectToken, Lanes
from perdure_platform.partition.rebuild import Topics
from perdure_schemas import commands as body
from perdure_schemas.codec import decode_command, encode_reply
from perdure_schemas.commands import Command
from perdure_schemas.errors import PerdureError
from perdure_schemas.headers import CLIENT_ID
from perdure_schemas.replies import RefusalCode, Refused, Reply
from perdure_schemas.topics import commands_topic, replies_topic

logger = logging.getLogger("perdure.owner")

LOOK_MS = 1_000
"""Time after which a stopped partition takes a turn if nothing comes, in milliseconds."""

SEARCH_LOOK_MS = 10
"""Time after which it looks again for where the commands end, in milliseconds."""

SAY_AGAIN_MS = 60_000
"""Time between two lines of the log, in milliseconds."""

ASK_AGAIN_MS = 1_000
"""Time after which the end of the commands is asked for again, where the log did not tell, in milliseconds."""

REPORTS = (body.ActivityStarted, body.ActivityHeartbeat, body.CompleteActivity, body.FailActivity, body.CancelActivity)
"""Commands of workers, which are not answered."""


class StoppedPartition:
    """Answers for one partition that stopped because of `failure`, in the process that `owner` names."""

    def __init__(self, topics: Topics, log: Log, lanes: Lanes, owner: str, failure: Exception, monotonic_ms: Callable[[], float]) -> None:
        self._partition = topics.partition
        self._commands = commands_topic(topics.namespace)
        self._replies = replies_topic(topics.namespace)
        self._log, self._lanes = log, lanes
        self._monotonic_ms = monotonic_ms
        self.reason = f"{type(failure).__name__}: {failure}"
        self._message = (
            f"partition {self._partition} of namespace {topics.namespace!r} is stopped in owner {owner}: {self.reason}. An operator has "
            'to act: see "A partition is stopped" in the runbook'
        )
        self._next_offset: int | None = None
        self._ends: EndOffsetsRequest | None = None
        self._ask_at_ms = 0.0
        self._is_readable = True
        self._say_at_ms = monotonic_ms() + SAY_AGAIN_MS
        self._answered = 0

    def positions(self) -> dict[TopicPartition, int]:
        """Where the commands are read: from where they ended when the partition stopped. Clients ask again; who waits is answered then."""
        return {} if self._next_offset is None else {(self._commands, self._partition): self._next_offset}

    @property
    def wait_ms(self) -> int:
        """How long the loop may sleep if nothing comes."""
        is_searching = self._next_offset is None and self._is_readable
        return SEARCH_LOOK_MS if is_searching else LOOK_MS

    def turn(self, commands: Sequence[Record]) -> bool:
        """Answer, and say again that the partition is stopped; whether `positions` changed otherwise than by reading."""
        for record in commands:
            if self._next_offset is not None and record.offset >= self._next_offset:
                self._next_offset = record.offset + 1
                self._answer(record)
        now_ms = self._monotonic_ms()
        if now_ms >= self._say_at_ms:
            self._say_at_ms = now_ms + SAY_AGAIN_MS
            logger.error("%s. %d requests were answered so", self._message, self._answered, extra={"partition": self._partition})
        return self._next_offset is None and self._is_readable and self._find_end(now_ms)

    def read_anew(self) -> None:
        """The place where commands were read is not there any more: they are read from where they end now."""
        self._next_offset = self._ends = None

    def damaged(self) -> None:
        """The commands cannot be read: nobody can be answered."""
        self._is_readable = False
        self.read_anew()

    def acknowledged(self, offset: int, index: int) -> None:
        """See EffectOwner."""

    def failed(self, offset: int, index: int, error: Exception) -> None:
        """See EffectOwner: the client asks again."""

    def _find_end(self, now_ms: float) -> bool:
        place = (self._commands, self._partition)
        if self._ends is None:
            if now_ms >= self._ask_at_ms:
                self._ends = self._log.request_end_offsets([place])
            return False
        try:
            ends = self._ends.result()
        except (LogUnavailable, TopicNotFound):
            self._ends, self._ask_at_ms = None, now_ms + ASK_AGAIN_MS
            return False
        if ends is None:
            return False
        self._ends, self._next_offset = None, ends[place]
        return True

    def _answer(self, record: Record) -> None:
        try:
            command = decode_command(record.value)
        except PerdureError:
            return  # an owner that leads makes a dead letter of it
        request = command.request
        if request is None or request.reply_to is None or isinstance(command.body, REPORTS):
            return
        self._answered += 1
        client_id = request.reply_to.client_id.encode()
        value = encode_reply(Reply(request.request_id, self._refusal(command)))
        token = EffectToken(self, -1, 0)
        self._lanes.send(self._replies, request.reply_to.partition, client_id, value, ((CLIENT_ID, client_id),), token)

    def _refusal(self, command: Command) -> Refused:
        return Refused(RefusalCode.PARTITION_STOPPED, self._message, command.workflow_id)
