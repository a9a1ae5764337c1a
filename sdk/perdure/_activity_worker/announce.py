"""The line between one attempt and its owner: tells that the attempt runs, hears whether it may and whether it is still wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from perdure._activity_worker.report import deliver
from perdure._channel import Channel
from perdure._log.errors import LogClosed, LogError
from perdure._log.port import Headers
from perdure.activity import ActivityCancellationDetails
from perdure_schemas.commands import ActivityReference, ActivityStarted, Command
from perdure_schemas.replies import ActivityAttention, ActivityStartAcknowledged, ReplyBody

_logger = logging.getLogger("perdure.worker")

_RESEND_FIRST_MS = 1_000
_RESEND_LAST_MS = 5_000


class Line:
    """Does nothing until it is opened. `on_logged` is called when the start is in the log, `on_attention` when the attempt is to end."""

    def __init__(
        self,
        channel: Channel,
        workflow_id: str,
        activity: ActivityReference,
        identity: str,
        asks_grant: bool,
        headers: Headers,
        on_logged: Callable[[], None],
        on_attention: Callable[[ActivityCancellationDetails], None],
    ) -> None:
        self.nonce = channel.machine.new_id()
        self._channel = channel
        self._headers = headers
        self._start = (workflow_id, activity, identity, asks_grant)
        self._on_logged = on_logged
        self._on_attention = on_attention
        self._task: asyncio.Task[None] | None = None
        self._logged = asyncio.Event()
        self._answer: asyncio.Future[bool] | None = None
        self._is_answered = False
        self._failure: LogError | None = None

    def open(self) -> None:
        """Announce the attempt, unless that is done or under way, and listen."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def granted(self) -> bool:
        """Announce, and wait for the owner's word. Raises LogClosed."""
        self._answer = asyncio.get_running_loop().create_future()
        self.open()
        return await self._answer

    async def logged(self) -> None:
        """Announce, and wait until the start is in the log. Raises LogClosed."""
        self.open()
        await self._logged.wait()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Hear nothing more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        workflow_id, activity, identity, asks_grant = self._start
        body = ActivityStarted(activity, self.nonce, self._channel.address, identity, asks_grant)
        command = Command(workflow_id, body)
        try:
            with self._channel.listen(self.nonce) as replies:
                resend_ms = _RESEND_FIRST_MS
                await self._announce(command)
                while True:
                    item = await replies.take(None if self._is_answered else resend_ms)
                    if item is None:
                        resend_ms = min(resend_ms * 2, _RESEND_LAST_MS)
                        await self._announce(command)
                    elif isinstance(item, LogError):
                        raise item
                    else:
                        self._hear(item)
        except LogError as error:
            if not self._logged.is_set():
                self._failure = error
                self._logged.set()
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(error)
            if not isinstance(error, LogClosed):
                _logger.error("an activity of workflow %r cannot be announced: %s", workflow_id, error)

    async def _announce(self, command: Command) -> None:
        await deliver(self._channel, command, self._headers)
        if not self._logged.is_set():
            self._logged.set()
            self._on_logged()

    def _hear(self, said: ReplyBody) -> None:
        match said:
            case ActivityStartAcknowledged():
                if said.cancel_requested:
                    self._on_attention(ActivityCancellationDetails(cancel_requested=True))
                self._settle_answer(said.granted)
            case ActivityAttention():
                self._on_attention(
                    ActivityCancellationDetails(not_found=said.not_found, cancel_requested=said.cancel_requested, timed_out=said.timed_out)
                )
                if said.not_found or said.timed_out:
                    self._settle_answer(False)
            case _:
                _logger.debug("a reply that is no word about an activity: %r", said)

    def _settle_answer(self, granted: bool) -> None:
        self._is_answered = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(granted)
