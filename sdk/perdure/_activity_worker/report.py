"""Turns what became of an attempt into a command, and sees to it that the log takes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace

from perdure._channel import Channel
from perdure._log.errors import LogClosed, LogError, RecordTooLarge
from perdure._log.port import Headers
from perdure.converter import DataConverter
from perdure.exceptions import ApplicationError
from perdure_schemas.commands import Command
from perdure_schemas.failure import ApplicationFailureInfo, CanceledFailureInfo, Failure
from perdure_schemas.limits import PAYLOADS_BYTES_MAX
from perdure_schemas.payload import Payloads

_logger = logging.getLogger("perdure.worker")

_RETRY_FIRST_S = 0.1
_RETRY_LAST_S = 5.0
_TEXT_MAX = 16_384
"""Characters that are kept of a message or a trace of a failure that is too large."""


async def deliver(channel: Channel, command: Command, headers: Headers) -> None:
    """Append a command, again and again until the log has it. Raises LogClosed, RecordTooLarge."""
    retry_s = _RETRY_FIRST_S
    while True:
        try:
            await channel.send(command, headers)
        except (LogClosed, RecordTooLarge):
            raise
        except LogError as error:
            _logger.warning("%s for workflow %r waits: %s", type(command.body).__name__, command.workflow_id, error)
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, _RETRY_LAST_S)
        else:
            return


def to_failure(error: BaseException, converter: DataConverter) -> Failure:
    """The error as data; one that cannot be written is replaced by one that says so, and one that is too large is cut."""
    try:
        failure = converter.failure_converter.to_failure(error, converter.payload_converter)
    except Exception as problem:  # noqa: BLE001 - converters and details are user code
        substitute = ApplicationError(
            f"the activity raised {type(error).__name__}, which cannot be encoded: {problem}", type=type(error).__name__
        )
        failure = DataConverter.default.failure_converter.to_failure(substitute, DataConverter.default.payload_converter)
    return _cut(failure) if _size(failure) > PAYLOADS_BYTES_MAX else failure


def _size(failure: Failure) -> int:
    return sum(
        len(each.message.encode("utf-8", "replace"))
        + len(each.stack_trace.encode("utf-8", "replace"))
        + sum(payload.size_bytes for payload in _details(each))
        for each in _chain(failure)
    )


def _details(failure: Failure) -> Payloads:
    return failure.info.details if isinstance(failure.info, ApplicationFailureInfo | CanceledFailureInfo) else ()


def _chain(failure: Failure) -> Iterator[Failure]:
    link: Failure | None = failure
    while link is not None:
        yield link
        link = link.cause


def _cut(failure: Failure) -> Failure:
    """What decides about retries is kept; causes and details go."""
    info = failure.info
    if isinstance(info, ApplicationFailureInfo | CanceledFailureInfo):
        info = replace(info, details=())
    message = f"{failure.message[:_TEXT_MAX]} (cut: the failure had {_size(failure)} bytes, at most {PAYLOADS_BYTES_MAX} are kept)"
    return replace(failure, message=message, stack_trace=failure.stack_trace[-_TEXT_MAX:], cause=None, info=info)
