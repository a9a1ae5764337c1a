"""One process's line to a namespace: commands out, replies in. Used by clients and by activity workers.

It knows partitions, request ids and acknowledgements. What is asked again, and when, is decided by its users.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import os
import shlex
import weakref
from collections.abc import Callable

from perdure._log.errors import LogClosed, LogError, LogMisconfigured, RecordTooLarge
from perdure._log.port import Headers, Log
from perdure._machine import THIS_MACHINE, Machine
from perdure._receiver import Receiver
from perdure._replies import Listeners, Replies
from perdure._room import Room
from perdure._sender import Outgoing, Sender, Settled
from perdure.service import NamespaceNotFound
from perdure_schemas.codec import encode_command
from perdure_schemas.commands import Command, ReplyAddress
from perdure_schemas.placement import partition_of
from perdure_schemas.topics import RECORD_BYTES_MAX, commands_topic, history_topic, namespace_topics, replies_topic

IN_FLIGHT_RECORDS_MAX = 20_000
IN_FLIGHT_BYTES_MAX = 64 * 1024 * 1024
"""Commands that are not acknowledged yet; above this, senders wait. Far below what a producer queues."""

COMMAND_BYTES_MAX = RECORD_BYTES_MAX - 64 * 1024
"""A command above this is refused here, because a broker that refuses it names only its batch."""

_CLOSE_S = 2.0

_open_channels: weakref.WeakSet[Channel] = weakref.WeakSet()


class Channel:
    """A connection to one namespace, bound to the event loop on which it was opened.

    Two threads do the blocking work; each wakes the loop once per batch. Close it with `close`; one that is forgotten ends with its
    loop or with the process.
    """

    def __init__(self, log: Log, namespace: str, partition_count: int, address: ReplyAddress, reply_offset: int, machine: Machine) -> None:
        """Use `open`."""
        self.log = log
        self.machine = machine
        self.namespace = namespace
        self.partition_count = partition_count
        self.address = address
        self.closed = False
        self._loop = asyncio.get_running_loop()
        self._process_id = os.getpid()
        self._room = Room(IN_FLIGHT_RECORDS_MAX, IN_FLIGHT_BYTES_MAX)
        self._listeners = Listeners()
        self._request_numbers = itertools.count(1)
        self._sender = Sender(log, commands_topic(namespace), self._loop, machine, self._settle)
        self._receiver = Receiver(
            log,
            replies_topic(namespace),
            address.partition,
            reply_offset,
            address.client_id,
            self._loop,
            machine,
            self._listeners.deliver,
            self._receiver_ended,
        )

    @classmethod
    async def open(cls, log: Log, namespace: str, *, timeout_ms: int = 30_000, machine: Machine = THIS_MACHINE) -> Channel:
        """Look the namespace up and start to listen.

        Where the log allows it, a namespace that is not there is made. Raises NamespaceNotFound and the errors of the log:
        LogUnavailable after `timeout_ms`, LogUnauthorized, LogMisconfigured.
        """
        partition_count, partition, offset = await asyncio.to_thread(_locate, log, namespace, timeout_ms, machine)
        channel = cls(log, namespace, partition_count, ReplyAddress(machine.new_id(), partition), offset, machine)
        channel._sender.start()
        channel._receiver.start()
        _open_channels.add(channel)
        return channel

    @property
    def trouble(self) -> LogError | None:
        """Why replies cannot be read at this moment, if they cannot."""
        return self._receiver.trouble

    def partition_of(self, workflow_id: str) -> int:
        """The partition of this namespace that a workflow id belongs to."""
        return partition_of(workflow_id, self.partition_count)

    async def send(self, command: Command, headers: Headers = ()) -> None:
        """Append a command to the partition of its workflow id. Returns when the append is acknowledged; raises LogError."""
        await self.send_to_partition(self.partition_of(command.workflow_id), command, headers)

    async def send_to_partition(self, partition: int, command: Command, headers: Headers = ()) -> None:
        """The same, to a given partition."""
        acknowledged: asyncio.Future[None] = self._loop.create_future()

        def settled(error: LogError | None) -> None:
            if acknowledged.done():
                return  # the caller was cancelled
            if error is None:
                acknowledged.set_result(None)
            else:
                acknowledged.set_exception(error)

        await self._put(partition, command, headers, settled)
        await acknowledged

    async def post(self, partition: int, command: Command, headers: Headers, replies: Replies, until: float | None = None) -> None:
        """Hand a command over without waiting for its acknowledgement; a failure arrives among `replies`.

        Waits only while too much is in flight, and raises TimeoutError if that is so at `until` (the loop's time). Raises LogError.
        In both cases the command was certainly not sent.
        """
        await self._put(partition, command, headers, replies.settled, until)
        replies.unsettled += 1

    def new_request_id(self) -> str:
        """A name for one request that nobody else uses: the client id is random, and new for each channel."""
        return f"{self.address.client_id}-{next(self._request_numbers)}"

    def listen(self, request_id: str) -> Replies:
        """Replies to a request, or to an announced attempt by its nonce: `with channel.listen(request_id) as replies`."""
        return Replies(self._listeners, request_id)

    async def close(self) -> None:
        """Let what was sent leave, end the threads and wake everyone who waits with LogClosed. The log itself stays open."""
        if self.closed:
            return
        self.stop()
        await asyncio.to_thread(self.join, _CLOSE_S)
        _open_channels.discard(self)
        self._listeners.close(LogClosed("the connection was closed before an answer arrived; connect again"))

    async def _put(
        self, partition: int, command: Command, headers: Headers, settled: Callable[[LogError | None], None], until: float | None = None
    ) -> None:
        self._check_usable()
        value = encode_command(command)
        size = len(value)
        if size > COMMAND_BYTES_MAX:
            raise RecordTooLarge(
                f"the command for workflow {command.workflow_id!r} has {size} bytes; at most {COMMAND_BYTES_MAX} are allowed. "
                "Store large data elsewhere and pass a reference"
            )
        if not self._room.try_take(size):
            async with asyncio.timeout_at(until):
                await self._room.take(size)
            try:
                self._check_usable()
            except LogError:
                self._room.give(size)
                raise
        self._sender.put(Outgoing(partition, command.workflow_id.encode(), value, headers, settled))

    def _receiver_ended(self) -> None:
        """On the receiver's thread: without it nothing can be asked, however it came to its end."""
        self._sender.stop()
        if not self.closed:
            self.closed = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._listeners.close, LogClosed("the receiver of replies has failed; connect again"))

    def _check_usable(self) -> None:
        if self.closed:
            raise LogClosed("the connection is closed; connect again")
        if self._sender.failure is not None:
            raise self._sender.failure
        if self._process_id != os.getpid():
            raise LogClosed("this connection belongs to the process that forked this one; connect again here")

    def _settle(self, settled: Settled) -> None:
        for item, error in settled:
            self._room.give(len(item.value))
            item.settled(error)

    def stop(self) -> None:
        """Ask the threads to end, from any thread; for `close` and for the end of the process."""
        self.closed = True
        self._receiver.stop()
        self._sender.stop()

    def join(self, timeout_s: float) -> None:
        """Wait for the threads to end."""
        self._sender.join(timeout_s)
        self._receiver.join(timeout_s)


def _locate(log: Log, namespace: str, timeout_ms: int, machine: Machine) -> tuple[int, int, int]:
    """How many partitions the namespace has, and the replies partition and offset to listen from."""
    commands, replies = commands_topic(namespace), replies_topic(namespace)
    names = [commands, history_topic(namespace), replies]
    until = machine.monotonic_s() + timeout_ms / 1000

    def left_ms() -> int:
        return max(1, round((until - machine.monotonic_s()) * 1000))

    found = log.describe_topics(names, left_ms())
    if len(found) < len(names) and log.creates_namespaces:
        log.create_topics(namespace_topics(namespace, log.default_partitions), left_ms())
        found = log.describe_topics(names, left_ms())
    if missing := [name for name in names if name not in found]:
        raise NamespaceNotFound(
            f"the namespace {namespace!r} does not exist at {log.url} (no topic {missing[0]!r}); "
            f"create it with `perdure namespace create {shlex.quote(namespace)} --log {shlex.quote(log.url)}` or correct the name"
        )
    if found[commands].partitions != found[history_topic(namespace)].partitions:
        raise LogMisconfigured(
            f"the namespace {namespace!r} at {log.url} has {found[commands].partitions} partitions of commands and "
            f"{found[history_topic(namespace)].partitions} of history; they must be equal and are never changed after creation"
        )
    partition = int(machine.chance() * found[replies].partitions)
    offset = log.end_offsets([(replies, partition)], left_ms())[(replies, partition)]
    return found[commands].partitions, partition, offset


@atexit.register
def _stop_forgotten_channels() -> None:
    """Threads that still poll while the interpreter is torn down could crash it."""
    channels = [channel for channel in _open_channels if not channel.closed]
    for channel in channels:
        channel.stop()
    for channel in channels:
        channel.join(_CLOSE_S)
