"""Appends to the medium in memory."""

from __future__ import annotations

from collections import deque

from perdure._log.errors import LogBusy, LogClosed, LogError, LogUnavailable
from perdure._log.memory.medium import Append, MemoryMedium
from perdure._log.port import Delivery, FailedAppend, Headers, TopicPartition
from perdure._log.size import check_size


class MemoryProducer:
    """A producer; `Append` objects carry its records through the medium."""

    def __init__(self, medium: MemoryMedium, delivery: Delivery, queue_records_max: int) -> None:
        self._medium = medium
        self._ordered = delivery is Delivery.ORDERED
        self._queue_records_max = queue_records_max
        self._unsettled: dict[TopicPartition, deque[Append]] = {}
        self._open: set[Append] = set()  # neither acknowledged nor failed
        self._waiting: deque[Append] = deque()  # ORDERED only: behind the one in flight
        self._in_flight: Append | None = None  # ORDERED only
        self._sending = False
        self._tokens: list[object] = []
        self._failed: list[FailedAppend] = []
        self._broken: LogError | None = None
        self._closed = False

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers = (), token: object = None) -> None:
        """See Producer."""
        with self._medium.changed:
            if self._closed:
                raise LogClosed("the producer is closed")
            if len(self._open) >= self._queue_records_max:
                raise LogBusy(f"{len(self._open)} appends wait for their acknowledgement")
            check_size(topic, partition, key, value, headers)
            append = Append(topic, partition, key, value, tuple(headers), token, self)
            self._unsettled.setdefault((topic, partition), deque()).append(append)
            self._open.add(append)
            if self._broken is not None:
                self.settle(append, _stopped(self._broken))
            elif self._ordered:
                self._waiting.append(append)
                self._send_next()
            else:
                self._medium.submit(append)

    def poll(self, timeout_ms: int = 0) -> tuple[list[object], list[FailedAppend]]:
        """See Producer."""
        with self._medium.changed:
            if timeout_ms > 0:
                self._medium.wait(lambda: bool(self._tokens or self._failed) or not self._open, timeout_ms)
            tokens, self._tokens = self._tokens, []
            failed, self._failed = self._failed, []
            return tokens, failed

    def flush(self, timeout_ms: int) -> bool:
        """See Producer."""
        with self._medium.changed:
            return self._medium.wait(lambda: not self._open, timeout_ms)

    def outstanding(self) -> int:
        """See Producer."""
        return len(self._open)

    def drop(self) -> None:
        """See Producer."""
        with self._medium.changed:
            self._unsettled.clear()
            self._open.clear()
            self._waiting.clear()
            self._in_flight = None
            self._tokens.clear()
            self._failed.clear()

    def close(self) -> None:
        """See Producer."""
        self.drop()
        self._closed = True

    def settle(self, append: Append, error: LogError | None) -> None:
        """What `append` tells of itself."""
        with self._medium.changed:
            if append not in self._open:
                return  # dropped, or settled before
            self._open.remove(append)
            unsettled = self._unsettled[append.topic, append.partition]
            if error is not None:
                unsettled.remove(append)
                self._failed.append(FailedAppend(append.token, append.topic, append.partition, error))
                if self._ordered and self._broken is None:
                    self._stop(error)
            # A token speaks for all before it, so one that was acknowledged early waits for them.
            while unsettled and unsettled[0] not in self._open:
                done = unsettled.popleft()
                if done.token is not None:
                    self._tokens.append(done.token)
            if append is self._in_flight:
                self._in_flight = None
                self._send_next()
            self._medium.changed.notify_all()

    def _send_next(self) -> None:
        if self._sending:
            return  # called by an acknowledgement within `submit`: the loop below goes on
        self._sending = True
        try:
            while self._waiting and self._in_flight is None:
                append = self._in_flight = self._waiting.popleft()
                self._medium.submit(append)
        finally:
            self._sending = False

    def _stop(self, error: LogError) -> None:
        self._broken = error
        waiting, self._waiting = self._waiting, deque()
        for append in waiting:
            self.settle(append, _stopped(error))


def _stopped(error: LogError) -> LogError:
    return LogUnavailable(f"not sent, because an earlier append failed ({error}); go on with a new producer")
