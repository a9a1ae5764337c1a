"""The thread that reads a channel's replies partition and hands over what is addressed to this channel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from perdure._log.errors import LogError, LogUnavailable, OffsetOutOfRange
from perdure._log.port import Consumer, Log, Record
from perdure._log.progress import ProgressWatch
from perdure._machine import Machine
from perdure_schemas.codec import decode_reply
from perdure_schemas.errors import CodecError
from perdure_schemas.headers import CLIENT_ID
from perdure_schemas.replies import Reply

_logger = logging.getLogger("perdure.channel")

_RECORDS_MAX = 1000
_POLL_MS = 100
"""How long a close may have to wait for the thread."""
_BACKOFF_FIRST_S = 0.2
_BACKOFF_LAST_S = 5.0


class Receiver:
    """Reads one partition of the replies topic from a given offset, on a thread of its own.

    Replies are shared: every client of the namespace may pick the same partition, and the header tells whose one is. A reply that
    is lost is asked for again, so trouble here is waited out and never fatal; `trouble` is the present one, for messages.
    """

    def __init__(
        self,
        log: Log,
        topic: str,
        partition: int,
        offset: int,
        client_id: str,
        loop: asyncio.AbstractEventLoop,
        machine: Machine,
        deliver: Callable[[list[Reply]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._log = log
        self._where = (topic, partition)
        self._offset = offset
        self._header = (CLIENT_ID, client_id.encode())
        self._loop = loop
        self._deliver = deliver
        self._on_end = on_end
        self._monotonic_s = machine.monotonic_s
        self._is_stopping = False
        self._consumer: Consumer | None = None
        self._progress: ProgressWatch | None = None
        self._backoff_s = _BACKOFF_FIRST_S
        self.trouble: LogError | None = None
        self._thread = machine.repeat(self._step, f"perdure-receiver-{topic}")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end. Does not wait."""
        self._is_stopping = True
        self._thread.wake()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end."""
        self._thread.join(timeout_s)

    def _step(self) -> float | None:
        try:
            rest_s = self._serve()
        except Exception:
            _logger.critical("the receiver of replies failed; connect again", exc_info=True)
            rest_s = None
        if rest_s is None:
            self._close_consumer()
            self._on_end()
        return rest_s

    def _serve(self) -> float | None:
        if self._is_stopping or self._loop.is_closed():
            return None
        try:
            return 0.0 if self._read() else None
        except OffsetOutOfRange as error:
            self._trouble(error)
            self._skip_to_end()
        except LogError as error:
            self._trouble(error)
        self._close_consumer()
        rest_s, self._backoff_s = self._backoff_s, min(self._backoff_s * 2, _BACKOFF_LAST_S)
        return rest_s

    def _read(self) -> bool:
        """Read what is there, waiting a while for it; False if there is no loop to give it to."""
        if self._consumer is None or self._progress is None:
            self._consumer = self._log.consumer()
            self._progress = ProgressWatch(self._log, lambda: self._monotonic_s() * 1000)
            self._consumer.assign({self._where: self._offset})
        records = self._consumer.poll(_RECORDS_MAX, _POLL_MS)
        if self._progress.stalled(lambda: {self._where: self._offset}):
            raise LogUnavailable(f"reading replies stands still at offset {self._offset}, although there are more")
        self.trouble = None
        if not records:
            return True
        self._offset = records[-1].offset + 1
        self._backoff_s = _BACKOFF_FIRST_S
        replies = self._ours(records)
        return not replies or self._hand_over(replies)

    def _close_consumer(self) -> None:
        if self._consumer is not None:
            try:
                self._consumer.close()
            except LogError:
                _logger.debug("a consumer of replies was closed with an error", exc_info=True)
            self._consumer = None

    def _ours(self, records: list[Record]) -> list[Reply]:
        replies = []
        for record in records:
            if self._header not in record.headers:
                continue
            try:
                replies.append(decode_reply(record.value))
            except CodecError as error:
                # From a newer owner, or damaged: whoever waits asks again, and its deadline says the rest.
                _logger.warning("a reply at %s[%d] offset %d cannot be read: %s", record.topic, record.partition, record.offset, error)
        return replies

    def _hand_over(self, replies: list[Reply]) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._deliver, replies)
        except RuntimeError:  # how a closed loop answers
            return False
        return True

    def _skip_to_end(self) -> None:
        """Old replies are deleted after minutes; what was missed is asked for again."""
        try:
            self._offset = self._log.end_offsets([self._where], 5_000)[self._where]
        except LogError as error:
            self._trouble(error)

    def _trouble(self, error: LogError) -> None:
        if self.trouble is None:
            _logger.warning("replies cannot be read for now: %s", error)
        self.trouble = error
