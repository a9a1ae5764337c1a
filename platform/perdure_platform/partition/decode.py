"""Stage 1: command record -> command, or a dead letter with position and reason. One bad record never stops a partition (P9)."""

from __future__ import annotations

from perdure._log.port import Record
from perdure_platform.partition.tokens import Tokens
from perdure_platform.partition.transition.draft import Arrived
from perdure_platform.partition.transition.sizes import text_bytes
from perdure_schemas.codec import decode_command
from perdure_schemas.commands import Command, DescribePartition, ListWorkflows
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.errors import CodecError, LimitExceeded, LogCorrupt
from perdure_schemas.headers import TRACE_PARENT
from perdure_schemas.limits import COMMIT_RECORD_BYTES_MAX, ID_BYTES_MAX, REQUEST_LIFE_MAX_MS, check_id
from perdure_schemas.placement import partition_of

FORMAT_LEVEL = 1
"""The highest format level that this build reads (design.md 10)."""

DEAD_LETTER_VALUE_BYTES_MAX = 4 * 1024 * 1024
"""What a dead letter keeps of a record; it must fit, with more around it, into a record of history. The rest is in the commands topic."""

_OF_THE_PARTITION = (ListWorkflows, DescribePartition)

CLOCK_SLACK_MS = 60_000
"""By how much a sender's clock may be ahead where it asks for the longest life that a request may have (R11)."""

NAME_LENGTH_MAX = 64 * 1024
"""Characters. Names that are too long for us (1,000 bytes) but not for a record are refused by their handlers, with an answer."""

NAMES_REPEATED = 4
"""So often at most a record of history has a command's names once more: in what is remembered of its request and in the answer, each time
beside a message that quotes them. Of what this comes to, no more is taken into one record than fits."""

_NAMES = ("run_id", "first_execution_run_id", "workflow_type", "task_queue", "name", "query_type", "nonce")
"""Fields of commands that answers and records repeat."""


class UnknownFormat(LogCorrupt):
    """What is in the log needs a newer build; the partition stops rather than lose it (R15)."""


class BuildTooOld(UnknownFormat):
    """The partition has recorded that its owners must read more than this build does; one that does may lead it."""


def decode(record: Record, partition_count: int, now_ms: int, tokens: Tokens) -> Arrived | DeadLetter:
    """The command in `record`; one that nobody may believe is refused where somebody waits for an answer, and set aside otherwise.

    Raises UnknownFormat for one that must not be skipped.
    """
    try:
        command = decode_command(record.value)
    except CodecError as error:
        return dead_letter(record, "undecodable", str(error), now_ms)
    if command.format_level > FORMAT_LEVEL:
        if command.origin is not None and not tokens.objection(record, command):
            raise UnknownFormat(
                f"{record.topic}[{record.partition}] offset {record.offset} needs format level {command.format_level}, "
                f"and this build reads {FORMAT_LEVEL}: run a newer build"
            )
        return dead_letter(record, "unknown_format", f"format level {command.format_level} is above {FORMAT_LEVEL}", now_ms)
    names = _names(command)
    if (long := next(((name, len(value)) for name, value in names if len(value) > NAME_LENGTH_MAX), None)) is not None:
        return dead_letter(record, "oversized", f"its {long[0]} has {long[1]} characters; at most {NAME_LENGTH_MAX} are allowed", now_ms)
    if not isinstance(command.body, _OF_THE_PARTITION):
        try:
            check_id("workflow id", command.workflow_id)
        except LimitExceeded as error:
            return dead_letter(record, "invalid_workflow_id", str(error), now_ms)
        if (right := partition_of(command.workflow_id, partition_count)) != record.partition:
            text = f"workflow {command.workflow_id!r} belongs to partition {right}, not {record.partition}"
            return dead_letter(record, "wrong_partition", text, now_ms)
    if command.request is not None and (life_ms := command.request.expires_at_ms - now_ms) > REQUEST_LIFE_MAX_MS + CLOCK_SLACK_MS:
        text = f"its request would be remembered for {life_ms} ms; at most {REQUEST_LIFE_MAX_MS} are allowed. Is the sender's clock right?"
        return dead_letter(record, "expires_too_late", text, now_ms)
    waits_for_answer = command.origin is None and command.request is not None
    objection = tokens.objection(record, command)
    if objection and not waits_for_answer:
        return dead_letter(record, "forged", objection, now_ms)
    size_bytes = len(record.value) + NAMES_REPEATED * text_bytes(command.workflow_id, *(value for _, value in names))
    if size_bytes > COMMIT_RECORD_BYTES_MAX:
        objection = f"to record what comes of it takes {size_bytes} bytes; at most {COMMIT_RECORD_BYTES_MAX} are allowed"
        if not waits_for_answer:
            return dead_letter(record, "oversized", objection, now_ms)
    return Arrived(record.offset, command, trace_parent(record), size_bytes, objection)


def dead_letter(record: Record, reason: str, message: str, now_ms: int) -> DeadLetter:
    """What operators see of a record that could not be used."""
    key, value = (record.key or b"")[: 4 * ID_BYTES_MAX], record.value[:DEAD_LETTER_VALUE_BYTES_MAX]
    if len(value) < len(record.value):
        message = f"{message} (the first {len(value):,} of its {len(record.value):,} bytes are kept here)"
    return DeadLetter(record.topic, record.partition, record.offset, reason, message, key, value, now_ms)


def _names(command: Command) -> list[tuple[str, str]]:
    """The names in a command that answers and records repeat."""
    names = [(name, getattr(command.body, name, "")) for name in _NAMES]
    if (request := command.request) is not None:
        names.append(("request id", request.request_id))
        names.append(("client id", request.reply_to.client_id if request.reply_to is not None else ""))
    return names


def trace_parent(record: Record) -> str:
    """The W3C trace context that the record carries, or nothing."""
    for name, value in record.headers:
        if name == TRACE_PARENT:
            return value.decode("ascii", "replace")
    return ""


def is_origin_new(command: Command, marks: dict[int, tuple[int, int]]) -> bool:
    """Whether a command of another partition is above that partition's mark; raises the mark (design.md 3.6, R7)."""
    origin = command.origin
    if origin is None:
        return True
    if (origin.offset, origin.index) <= marks.get(origin.partition, (-1, -1)):
        return False
    marks[origin.partition] = (origin.offset, origin.index)
    return True
