"""A TCP proxy between one process and the broker that knows where Kafka's requests begin and whose they are.

The broker tells the clients of a door (`kit.broker.Broker.doors`) the proxy's port, so nothing has to be rewritten: bytes pass as they
are, frame by frame. Rules say what happens to a frame instead, and count how often it did, so that a test can show that its fault was
there.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, IntEnum


class Api(IntEnum):
    """The request kinds that rules are made for."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    SASL_HANDSHAKE = 17
    DELETE_RECORDS = 21
    INIT_PRODUCER_ID = 22
    SASL_AUTHENTICATE = 36
    CONSUMER_GROUP_HEARTBEAT = 68


GROUP_APIS = frozenset({Api.FIND_COORDINATOR, Api.JOIN_GROUP, Api.HEARTBEAT, Api.LEAVE_GROUP, Api.SYNC_GROUP, Api.CONSUMER_GROUP_HEARTBEAT})

_IN_THE_LAST_RECORD = 10
"""So far before the end of a Produce request lies a byte that the checksum of its last batch covers: behind it are the last record's end
and a few empty fields."""


class Do(Enum):
    """What a rule does to a request that it fits."""

    DROP = "drop"
    """Swallow the request; the connection stays open and no answer comes."""
    DROP_RESPONSE = "drop response"
    """The broker gets and executes it; its answer is swallowed."""
    HOLD = "hold"
    """Keep the request back until the rule's `release`, on the same connection to the broker, whatever becomes of the client."""
    DELAY = "delay"
    """Keep the request, and what follows it on its connection, for `delay_ms`."""
    CUT = "cut"
    """Close the connection instead of passing the request on."""
    CUT_AFTER = "cut after"
    """The broker executes the request; the connection to the client is closed in place of the answer."""
    CORRUPT = "corrupt"
    """A bit of the newest record is flipped on the way: the broker refuses its batch, with an error after which clients try again."""


@dataclass(eq=False)
class Rule:
    """Fits a request of one of `apis`, of a client whose id begins with `client`, with one of `containing` in it (a topic's name or id).

    It acts at most `times` times. `hits` counts.
    """

    do: Do
    apis: frozenset[Api]
    containing: tuple[bytes, ...] = ()
    client: str = ""
    times: int = 1 << 30
    delay_ms: int = 0
    hits: int = 0
    _held: list[Callable[[], None]] = field(default_factory=list)

    def fits(self, api: int, client: str, frame: bytes) -> bool:
        """Whether the rule acts on this request."""
        return (
            api in self.apis
            and self.hits < self.times
            and client.startswith(self.client)
            and (not self.containing or any(text in frame for text in self.containing))
        )


class Proxy:
    """Listens on `port` and passes to `upstream`, from a thread of its own, until `close`."""

    def __init__(self, upstream: int, port: int) -> None:
        self.upstream = upstream
        self.port = port
        self.bootstrap = f"127.0.0.1:{port}"
        self.requests: Counter[int] = Counter()
        """Requests seen, by api key."""
        self.refused = 0
        """Connections that were refused or closed by `cut`."""
        self.swallowed_bytes = 0
        """What a black hole has taken."""
        self._rules: tuple[Rule, ...] = ()
        self._is_cut = False
        self._is_hole = False
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{port}", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    # -- what a test says

    def add(self, rule: Rule) -> Rule:
        """Let a rule act on the requests to come."""
        self._rules = (*self._rules, rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Let a rule rest, and what it holds go."""
        self._rules = tuple(other for other in self._rules if other is not rule)
        self.release(rule)

    def release(self, rule: Rule) -> None:
        """Pass on what a HOLD rule has kept."""

        def go() -> None:
            held, rule._held = rule._held, []
            for each in held:
                each()

        self._loop.call_soon_threadsafe(go)

    def cut(self) -> None:
        """Close every connection and refuse new ones until `heal`: the network is gone."""
        self._is_cut = True
        self._call(self._close_all)

    def let_in(self) -> None:
        """Refuse no connections any more; rules stay."""
        self._is_cut = False

    def black_hole(self) -> None:
        """Take everything and pass nothing on, in either direction, until `heal`: half-open connections."""
        self._is_hole = True

    def heal(self) -> None:
        """Let the network be there again. Connections that lost bytes in a black hole are closed, as TCP would in the end."""
        was_hole, self._is_cut, self._is_hole = self._is_hole, False, False
        for rule in self._rules:
            self.remove(rule)
        if was_hole:
            self._call(self._close_all)

    def close(self) -> None:
        """Stop listening and end."""

        async def end() -> None:
            self._is_cut = True  # a connection that comes in now closes itself
            self._close_all()
            for _ in range(20):  # a server that closes while asyncio takes a connection in leaves its socket open
                tasks = asyncio.all_tasks() - {asyncio.current_task()}
                if not tasks:
                    break
                await asyncio.wait(tasks, timeout=0.05)
            if self._server is not None:
                self._server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.001)  # sockets are closed in the turns of the loop that follow

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # -- inside

    def _call(self, call: Callable[[], None]) -> None:
        async def called() -> None:
            call()

        asyncio.run_coroutine_threadsafe(called(), self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            self.refused += 1
            writer.close()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        except (OSError, asyncio.CancelledError):  # the latter by `close`
            writer.close()
            return
        connection = _Connection(self, writer, up_writer)
        if self._is_cut:  # meanwhile
            connection.close()
            return
        self._connections.add(connection)
        try:
            with suppress(asyncio.CancelledError):  # by `close`, and nobody waits for this task
                await asyncio.gather(self._requests(reader, connection), self._responses(up_reader, connection))
        finally:
            connection.close()
            self._connections.discard(connection)

    def _close_all(self) -> None:
        for connection in self._connections:
            self.refused += 1
            connection.close()

    async def _requests(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(reader)
                if self._is_hole:
                    self.swallowed_bytes += len(frame)
                    continue
                api, _, correlation, client_length = struct.unpack_from(">hhih", frame, 4)
                client = frame[14 : 14 + max(client_length, 0)].decode(errors="replace")
                self.requests[api] += 1
                rule = next((rule for rule in self._rules if rule.fits(api, client, frame)), None)
                if rule is not None:
                    rule.hits += 1
                    if not await self._act(rule, connection, correlation, frame):
                        continue
                connection.up(frame)
        connection.client_gone()

    async def _act(self, rule: Rule, connection: _Connection, correlation: int, frame: bytes) -> bool:
        """Do what the rule says; whether the frame passes now."""
        match rule.do:
            case Do.DROP:
                return False
            case Do.DROP_RESPONSE:
                connection.swallow.add(correlation)
            case Do.HOLD:
                connection.holding += 1
                rule._held.append(lambda: connection.let_go(frame))
                return False
            case Do.DELAY:
                await asyncio.sleep(rule.delay_ms / 1000)
            case Do.CUT:
                connection.close()
                return False
            case Do.CUT_AFTER:
                connection.close_at.add(correlation)
            case Do.CORRUPT:
                connection.up(frame[:-_IN_THE_LAST_RECORD] + bytes((frame[-_IN_THE_LAST_RECORD] ^ 1,)) + frame[1 - _IN_THE_LAST_RECORD :])
                return False
        return True

    async def _responses(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(reader)
                if self._is_hole:
                    self.swallowed_bytes += len(frame)
                    continue
                (correlation,) = struct.unpack_from(">i", frame, 4)
                if correlation in connection.swallow:
                    connection.swallow.discard(correlation)
                    continue
                if correlation in connection.close_at:
                    break
                connection.down(frame)
        connection.close()


class _Connection:
    """A client's connection and the one to the broker that belongs to it."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, broker: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = client
        self._broker = broker
        self.swallow: set[int] = set()
        self.close_at: set[int] = set()
        self.holding = 0
        self._is_client_gone = False

    def up(self, frame: bytes) -> None:
        if not self._broker.is_closing():
            self._broker.write(frame)

    def down(self, frame: bytes) -> None:
        if not self._client.is_closing():
            self._client.write(frame)

    def let_go(self, frame: bytes) -> None:
        self.holding -= 1
        self.up(frame)
        if self._is_client_gone and not self.holding:
            self._broker.write_eof()

    def client_gone(self) -> None:
        """What is held may still land: the connection to the broker outlives the client's."""
        self._is_client_gone = True
        self._client.close()
        if not self.holding:
            self._broker.close()

    def close(self) -> None:
        for writer in (self._client, *(() if self.holding else (self._broker,))):
            if not writer.is_closing():
                writer.close()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(int.from_bytes(head, "big"))
