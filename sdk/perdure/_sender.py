"""The thread that appends what a channel sends: many callers, one producer, few wake-ups.

It knows topics, bytes and acknowledgements. What a command means and whether it is sent again is not decided here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from perdure._log.errors import LogBusy, LogClosed, LogError, LogUnavailable, RecordTooLarge, doubtful
from perdure._log.port import Delivery, Headers, Log, Producer
from perdure._machine import UNTIL_WOKEN, Machine

_logger = logging.getLogger("perdure.channel")

_BATCH_MAX = 1000
_POLL_FIRST_MS = 1
"""A producer that is polled cannot be woken by new work, so the first naps are short ..."""
_POLL_LAST_MS = 20
"""... and grow while the log answers nothing."""
_STALLED_S = 15.0
"""A producer with work in flight and no answer for so long may never recover (faults.md 7a.7): it is replaced."""
_CLOSE_S = 1.0


@dataclass(slots=True, eq=False)
class Outgoing:
    """One record on its way. `settled` is called on the event loop, once, with None when the append is acknowledged."""

    partition: int
    key: bytes
    value: bytes
    headers: Headers
    settled: Callable[[LogError | None], None]


Settled = list[tuple[Outgoing, LogError | None]]


class Sender:
    """Appends to one topic from a thread of its own; every record given to `put` is settled exactly once."""

    def __init__(
        self, log: Log, topic: str, loop: asyncio.AbstractEventLoop, machine: Machine, on_settled: Callable[[Settled], None]
    ) -> None:
        self._log = log
        self._topic = topic
        self._loop = loop
        self._monotonic_s = machine.monotonic_s
        self._on_settled = on_settled
        self._queue: deque[Outgoing] = deque()
        self._is_stopping = False
        self._producer: Producer | None = None
        self._in_flight: dict[Outgoing, None] = {}  # in the order in which they left, which is that in which a failure is told
        self._settled: Settled = []
        self._answered_at = 0.0
        self._nap_ms = _POLL_FIRST_MS
        self._close_by: float | None = None
        self.failure: LogError | None = None
        """Why the thread has ended, if it has: from then on nothing is taken."""
        self._thread = machine.repeat(self._step, f"perdure-sender-{topic}")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, item: Outgoing) -> None:
        """Queue one record; the caller bounds how many."""
        self._queue.append(item)
        self._thread.wake()
        if self.failure is not None:  # read behind the append, as the thread looks at the queue behind the write
            self._settle_queued(self.failure)

    def stop(self) -> None:
        """Let what is queued leave, within about a second, and end the thread. Does not wait."""
        self._is_stopping = True
        self._thread.wake()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end."""
        self._thread.join(timeout_s)

    def _step(self) -> float | None:
        try:
            ended = self._serve()
        except Exception as error:  # a defect here must reach the callers, who would wait for ever otherwise
            _logger.critical("the sender of %s failed; connect again", self._topic, exc_info=True)
            ended = LogClosed(f"the sender of {self._topic} failed ({error!r}); connect again")
        if ended is not None:
            self.failure = ended
            self._drop_producer(ended)
            self._hand_over()
            self._settle_queued(ended)  # what was on its way here meanwhile
            return None
        return 0.0 if self._in_flight or self._queue else UNTIL_WOKEN

    def _serve(self) -> LogError | None:
        """Append what is queued, hear of what is in flight; why nothing more can be done, if that is so."""
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH_MAX))]
        if self._is_stopping and not self._queue and self._close_by is None:
            self._close_by = self._monotonic_s() + _CLOSE_S
        if batch:
            self._nap_ms = _POLL_FIRST_MS
            self._append(batch)
        if self._in_flight:
            self._poll(self._nap_ms)
            self._nap_ms = _POLL_FIRST_MS if self._settled else min(self._nap_ms * 2, _POLL_LAST_MS)
        if self._close_by is not None and (not self._in_flight or self._monotonic_s() > self._close_by):
            return LogClosed("the connection was closed before the log acknowledged the command; its outcome is unknown")
        if not self._hand_over():
            return LogClosed("the event loop is closed")
        return None

    def _settle_queued(self, error: LogError) -> None:
        """Behind the end of the thread, and perhaps beside it: each record is popped by one of the two."""
        unsent: Settled = []
        try:
            while True:
                unsent.append((self._queue.popleft(), error))
        except IndexError:
            self._tell(unsent)

    def _append(self, items: list[Outgoing]) -> None:
        try:
            producer = self._producer or self._log.producer(Delivery.PIPELINED)
        except LogError as error:
            self._settled.extend((item, error) for item in items)
            return
        self._producer = producer
        if not self._in_flight:
            self._answered_at = self._monotonic_s()
        for item in items:
            try:
                producer.append(self._topic, item.partition, item.key, item.value, item.headers, item)
            except LogError as error:
                self._settled.append((item, error))
            else:
                self._in_flight[item] = None

    def _poll(self, timeout_ms: int) -> None:
        producer = self._producer
        if producer is None:
            return
        try:
            tokens, failures = producer.poll(timeout_ms)
        except LogError as error:
            self._drop_producer(error)
            return
        for token in tokens:
            if isinstance(token, Outgoing) and token in self._in_flight:
                del self._in_flight[token]
                self._settled.append((token, None))
        replace = False
        together = Counter(item.partition for item in self._in_flight) if failures else Counter()
        for failure in failures:
            cause = failure.error if isinstance(failure.error, LogError) else LogUnavailable(str(failure.error))
            replace = replace or not isinstance(cause, RecordTooLarge | LogBusy)
            if isinstance(cause, RecordTooLarge) and together[failure.partition] > 1:
                # Brokers measure batches, so it may be the size of others.
                cause = LogUnavailable(f"{self._topic}[{failure.partition}]: one record of a batch was refused for its size ({cause})")
            if isinstance(failure.token, Outgoing) and failure.token in self._in_flight:
                del self._in_flight[failure.token]
                self._settled.append((failure.token, cause))
        if tokens or failures:
            self._answered_at = self._monotonic_s()
        elif self._monotonic_s() - self._answered_at > _STALLED_S:
            self._drop_producer(LogUnavailable(f"{self._log.url}: no append to {self._topic} was acknowledged for {_STALLED_S:.0f} s"))
        if replace:
            # A producer that failed once may fail for ever; what else it has in flight is sent again by those who wait for it.
            self._drop_producer(LogUnavailable(f"{self._log.url}: the producer was replaced after a failed append"))

    def _drop_producer(self, error: LogError) -> None:
        if self._producer is not None:
            try:
                self._producer.drop()
                self._producer.close()
            except LogError:
                _logger.debug("a producer for %s was dropped with an error", self._topic, exc_info=True)
            self._producer = None
        if self._in_flight:
            error = doubtful(error)
            self._settled.extend((item, error) for item in self._in_flight)
        self._in_flight.clear()

    def _hand_over(self) -> bool:
        """Give the outcomes to the event loop; False if it is closed."""
        settled, self._settled = self._settled, []
        return self._tell(settled)

    def _tell(self, settled: Settled) -> bool:
        if not settled:
            return not self._loop.is_closed()
        try:
            self._loop.call_soon_threadsafe(self._on_settled, settled)
        except RuntimeError:  # how a closed loop answers
            return False
        return True
