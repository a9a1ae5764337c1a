"""One attempt of an activity while a worker has it: announcing, heartbeats, cancellation."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import threading
import uuid
from collections.abc import Callable
from typing import Any

from perdure._channel import Channel
from perdure._log.errors import LogClosed, LogError
from perdure._telemetry.context import inject
from perdure.activity import ActivityCancellationDetails, ActivityDefinition, Context
from perdure.exceptions import CancelledError
from perdure_schemas.commands import ActivityHeartbeat, ActivityReference, ActivityStarted, Command, CommandBody
from perdure_schemas.payload import Payloads
from perdure_schemas.replies import ActivityAttention, ActivityStartAcknowledged
from perdure_schemas.tasks import ActivityTask

_logger = logging.getLogger("perdure.worker")

ANNOUNCE_AFTER_S = 0.05
"""An attempt that is done before this is never announced (design.md 7)."""

HEARTBEAT_DEFAULT_S = 30.0
HEARTBEAT_MAX_S = 60.0
HEARTBEAT_SHARE = 0.8
"""Heartbeats leave at most once per this share of their timeout (semantics 25)."""

_RESEND_FIRST_MS = 1_000
_RESEND_MAX_MS = 5_000


class Attempt:
    """Knows the owner's view of the attempt, and tells it the worker's. Belongs to the loop."""

    def __init__(self, channel: Channel, task: ActivityTask, identity: str, started: Callable[[], None]) -> None:
        self._channel = channel
        self._identity = identity
        self._started = started
        self.task = task
        self.reference = ActivityReference(task.run_id, task.scheduled_event_id, task.attempt)
        self.nonce = uuid.uuid4().hex
        self.context: Context | None = None
        self.definition: ActivityDefinition | None = None
        self.runner: asyncio.Task[Any] | None = None
        self.thread_id = 0
        self.thread_lock = threading.Lock()
        self.details: ActivityCancellationDetails | None = None
        self._listening: asyncio.Task[None] | None = None
        self._announced = asyncio.Event()
        self._counter = 0
        self._pending: tuple[Any, ...] | None = None
        self._throttle: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None

    async def send(self, body: CommandBody) -> bool:
        """Send a report until it is in the log; False if the connection was closed before."""
        delay = 0.1
        command = Command(self.task.workflow_id, body)
        while True:
            try:
                await self._channel.send(command, inject())
            except LogClosed:
                return False
            except LogError as error:
                _logger.warning("a report on activity %r of %r waits: %s", self.task.activity_type, self.task.workflow_id, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
            else:
                return True

    # -- announcing

    async def ask_to_run(self) -> bool:
        """Announce, and wait for the owner's word; whether this delivery may run."""
        body = self._start_command()
        wait_ms = _RESEND_FIRST_MS
        with self._channel.listen(self.nonce) as replies:
            while await self.send(body):
                try:
                    reply = await replies.next(wait_ms)
                except TimeoutError:
                    wait_ms = min(wait_ms * 2, _RESEND_MAX_MS)
                    continue
                except LogError:
                    return False
                if isinstance(reply, ActivityStartAcknowledged):
                    if reply.granted:
                        self._announced.set()
                        if reply.cancel_requested:
                            self.cancel(ActivityCancellationDetails(cancel_requested=True))
                        return True
                    return False
                if isinstance(reply, ActivityAttention) and (reply.not_found or reply.timed_out):
                    return False
        return False

    def announce(self) -> None:
        """Say that the attempt runs, and hear from now on what the owner has to say about it."""
        if self._listening is None:
            self._listening = asyncio.get_running_loop().create_task(self._announce())

    async def announced(self) -> None:
        """Wait until the start is in the log."""
        self.announce()
        await self._announced.wait()

    async def _announce(self) -> None:
        with self._channel.listen(self.nonce) as replies:
            if not self._announced.is_set() and await self.send(self._start_command()):
                self._started()
                self._announced.set()
            while True:
                try:
                    reply = await replies.next(None)
                except LogError:
                    return
                if isinstance(reply, ActivityStartAcknowledged) and reply.cancel_requested:
                    self.cancel(ActivityCancellationDetails(cancel_requested=True))
                elif isinstance(reply, ActivityAttention):
                    self.cancel(
                        ActivityCancellationDetails(
                            not_found=reply.not_found, cancel_requested=reply.cancel_requested, timed_out=reply.timed_out
                        )
                    )

    def _start_command(self) -> ActivityStarted:
        return ActivityStarted(self.reference, self.nonce, self._channel.address, self._identity, self.task.announce_first)

    # -- heartbeats

    def heartbeat(self, details: tuple[Any, ...]) -> None:
        """The first leaves at once, later ones when the throttle opens; the latest details win."""
        self.announce()
        self._pending = details
        if self._throttle is None:
            self._flush()

    def _flush(self) -> None:
        self._throttle = None
        details, self._pending = self._pending, None
        if details is None or self.context is None:
            return
        try:
            payloads = self.context.payload_converter.to_payloads(details)
        except Exception:
            _logger.exception("heartbeat details of activity %r cannot be encoded; it is cancelled", self.task.activity_type)
            self.cancel(ActivityCancellationDetails())
            return
        self._counter += 1
        loop = asyncio.get_running_loop()
        body = ActivityHeartbeat(self.reference, self._counter, payloads, self.nonce, self._channel.address)
        self._sending = loop.create_task(self._beat(body))
        timeout_s = self.task.heartbeat_timeout_ms / 1000
        self._throttle = loop.call_later(min(HEARTBEAT_SHARE * timeout_s or HEARTBEAT_DEFAULT_S, HEARTBEAT_MAX_S), self._flush)

    async def _beat(self, body: ActivityHeartbeat) -> None:
        """A lost heartbeat is followed by another."""
        try:
            await self._channel.send(Command(self.task.workflow_id, body), inject())
        except LogError as error:
            _logger.debug("a heartbeat of activity %r was lost: %s", self.task.activity_type, error)

    def unsent_details(self) -> Payloads:
        """Details that the throttle still holds; a failure carries them."""
        if self._pending is None or self.context is None:
            return ()
        return self.context.payload_converter.to_payloads(self._pending)

    # -- cancellation

    def cancel(self, details: ActivityCancellationDetails) -> None:
        """End the attempt, once: a coroutine is cancelled, a thread gets CancelledError between two steps of its own."""
        if self.details is not None:
            return
        self.details = details
        if self.context is None:
            return
        self.context.details = details
        self.context.cancelled.set()
        if self.definition is None:
            return
        if self.definition.is_async:
            if self.runner is not None:
                self.runner.cancel()
        elif not self.definition.no_thread_cancel_exception:
            with self.thread_lock:
                if self.thread_id:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread_id), ctypes.py_object(CancelledError))

    def close(self) -> None:
        """The attempt is over."""
        if self._listening is not None:
            self._listening.cancel()
        if self._throttle is not None:
            self._throttle.cancel()
