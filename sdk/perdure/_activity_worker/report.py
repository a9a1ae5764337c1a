"""Turns what became of an attempt into a command, and sees to it that the log takes it."""

from __future__ import annotations

import asyncio
import logging

from perdure._channel import Channel
from perdure._log.errors import LogClosed, LogError, RecordTooLarge
from perdure._log.port import Headers
from perdure_schemas.commands import Command

_logger = logging.getLogger("perdure.worker")

_RETRY_FIRST_S = 0.1
_RETRY_LAST_S = 5.0


async def deliver(channel: Channel, command: Command, headers: Headers) -> None:
    """Append a command, again and again until the log has it. Raises LogClosed, RecordTooLarge, CodecError."""
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
