"""Who waits for which reply: the event loop's side of a channel."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

from perdure._log.errors import LogError
from perdure_schemas.replies import Reply, ReplyBody


class Listeners:
    """The listeners of one channel, by request id. A reply that nobody listens for is dropped: it is a copy, or came too late."""

    def __init__(self) -> None:
        self.closed: LogError | None = None
        """Why nothing more will arrive, once that is so."""
        self._by_request: dict[str, list[Replies]] = {}

    def __len__(self) -> int:
        return len(self._by_request)

    def add(self, request_id: str, replies: Replies) -> None:
        """Let `replies` hear what arrives under a request id; several may listen on one."""
        self._by_request.setdefault(request_id, []).append(replies)

    def remove(self, request_id: str, replies: Replies) -> None:
        """Undo one `add`."""
        listeners = self._by_request[request_id]
        listeners.remove(replies)
        if not listeners:
            del self._by_request[request_id]

    def deliver(self, replies: list[Reply]) -> None:
        """Hand replies to those who listen."""
        for reply in replies:
            for listener in self._by_request.get(reply.request_id, ()):
                listener.put(reply.body)

    def close(self, error: LogError) -> None:
        """Wake everyone with an error; whoever asks later gets it too."""
        self.closed = error
        for listeners in tuple(self._by_request.values()):
            for listener in tuple(listeners):
                listener.put(error)


class Replies:
    """What arrives under the request ids it listens on, in order; use it as a context manager."""

    __slots__ = ("_items", "_listeners", "_request_ids", "_waiter", "unsettled")

    def __init__(self, listeners: Listeners, request_id: str) -> None:
        self._listeners = listeners
        self._items: deque[ReplyBody | LogError] = deque()
        self._request_ids = [request_id]
        self._waiter: asyncio.Future[None] | None = None
        self.unsettled = 0
        """Commands posted for these replies that the log has neither acknowledged nor refused yet."""

    def __enter__(self) -> Replies:
        for request_id in self._request_ids:
            self._listeners.add(request_id, self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for request_id in self._request_ids:
            self._listeners.remove(request_id, self)

    def also(self, request_id: str) -> None:
        """Listen on one more request id; to be called within the context."""
        self._request_ids.append(request_id)
        self._listeners.add(request_id, self)

    async def next(self, timeout_ms: float | None) -> ReplyBody:
        """The next reply. Raises TimeoutError after `timeout_ms`, and LogError where a posted command failed or the channel was closed."""
        item = await self.take(timeout_ms)
        if item is None:
            raise TimeoutError
        if isinstance(item, LogError):
            raise item
        return item

    async def take(self, timeout_ms: float | None) -> ReplyBody | LogError | None:
        """The next reply, or the next failure of a posted command, or None after `timeout_ms`. One caller at a time."""
        if not self._items:
            if self._listeners.closed is not None:
                return self._listeners.closed
            loop = asyncio.get_running_loop()
            waiter = self._waiter = loop.create_future()
            timer = None if timeout_ms is None else loop.call_later(max(timeout_ms, 0) / 1000, _wake, waiter)
            try:
                await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        return self._items.popleft() if self._items else None

    def put(self, item: ReplyBody | LogError) -> None:
        """Add one item and wake who waits."""
        self._items.append(item)
        if self._waiter is not None:
            _wake(self._waiter)

    def settled(self, error: LogError | None) -> None:
        """A command posted for these replies was acknowledged, or failed."""
        self.unsettled -= 1
        if error is not None:
            self.put(error)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
