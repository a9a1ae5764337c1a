"""Sends an attempt's heartbeats: the first at once, then at most one in a while, the latest details win (semantics 25)."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from perdure._channel import Channel
from perdure._log.errors import LogError
from perdure._log.port import Headers
from perdure_schemas.commands import ActivityHeartbeat, ActivityReference, Command
from perdure_schemas.errors import CodecError
from perdure_schemas.payload import Payloads

_logger = logging.getLogger("perdure.worker")

_SHARE = 0.8
_INTERVAL_DEFAULT_S = 30.0
_INTERVAL_MAX_S = 60.0
_RETRY_MAX_S = 1.0


def interval_s(heartbeat_timeout_ms: int) -> float:
    """The least time between two heartbeats of an attempt."""
    return min(_SHARE * heartbeat_timeout_ms / 1000, _INTERVAL_MAX_S) if heartbeat_timeout_ms else _INTERVAL_DEFAULT_S


class Heartbeats:
    """The heartbeats of one attempt. `before_first` is called before the first one is sent."""

    def __init__(
        self,
        channel: Channel,
        workflow_id: str,
        activity: ActivityReference,
        nonce: str,
        headers: Headers,
        heartbeat_timeout_ms: int,
        before_first: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._workflow_id = workflow_id
        self._activity = activity
        self._nonce = nonce
        self._headers = headers
        self._interval_s = interval_s(heartbeat_timeout_ms)
        self._before_first = before_first
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._latest: tuple[Payloads] | None = None  # boxed, so that each is an object of its own, also without details
        self._recorded: tuple[Payloads] | None = None
        self._counter = 0
        self._is_called = False
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None

    def record(self, details: Payloads) -> None:
        """The attempt is alive; from any thread."""
        self._latest = (details,)
        if threading.get_ident() == self._thread_id:
            self._due_now()
        elif not self._is_called:  # one call on its way is enough, it takes the latest
            self._is_called = True
            self._loop.call_soon_threadsafe(self._due_now)

    def close(self) -> Payloads:
        """Send nothing more; the details that the log may not have."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        latest = self._latest
        return latest[0] if latest is not None and latest is not self._recorded else ()

    def _due_now(self) -> None:
        self._is_called = False
        if self._timer is None and not self._is_closed:
            self._send()

    def _send(self) -> None:
        latest = self._latest
        assert latest is not None
        if not self._counter:
            self._before_first()
        # Time rises as the counter must, also from one worker to another that runs the same attempt, and on to an external completer.
        self._counter = max(self._counter + 1, self._channel.log.now_ms())
        body = ActivityHeartbeat(self._activity, self._counter, latest[0], self._nonce, self._channel.address)
        self._sending = self._loop.create_task(self._transmit(Command(self._workflow_id, body), latest))
        self._timer = self._loop.call_later(self._interval_s, self._on_timer, latest)

    def _on_timer(self, sent: tuple[Payloads] | None) -> None:
        self._timer = None
        if self._latest is not sent and not self._is_closed:
            self._send()

    async def _transmit(self, command: Command, sent: tuple[Payloads]) -> None:
        try:
            await self._channel.send(command, self._headers)
        except (LogError, CodecError) as error:
            _logger.warning("a heartbeat of an activity of workflow %r was not recorded: %s", self._workflow_id, error)
            if not self._is_closed and self._timer is not None:
                self._timer.cancel()
                self._timer = self._loop.call_later(min(self._interval_s / 4, _RETRY_MAX_S), self._on_timer, None)
        else:
            self._recorded = sent
