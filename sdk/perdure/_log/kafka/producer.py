"""Appends to Kafka."""

from __future__ import annotations

import contextlib
import functools
import time

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as KafkaClient

from perdure._log.errors import LogBusy, LogClosed, LogError, LogUnavailable, RecordTooLarge
from perdure._log.kafka.errors import PURGED, Trouble, log_error
from perdure._log.kafka.settings import Settings
from perdure._log.port import Delivery, FailedAppend, Headers
from perdure._log.size import check_size


class KafkaProducer:
    """A producer over one client of the library, which has threads of its own and sends in the background.

    Every append has a callback, because only callbacks tell of failures; it costs less than half a microsecond. After a failure
    that the library calls fatal, and for an ORDERED producer after any, nothing more is sent.
    """

    def __init__(self, url: str, settings: Settings, delivery: Delivery) -> None:
        self._url = url
        self._settings = settings
        self._ordered = delivery is Delivery.ORDERED
        self._generation = 0
        self._outstanding = 0
        self._tokens: list[object] = []
        self._failed: list[FailedAppend] = []
        self._broken: LogError | None = None
        self._trouble = Trouble(url)
        self._closed = False
        self._client: KafkaClient | None = self._connect()

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers = (), token: object = None) -> None:
        """See Producer."""
        if self._closed:
            raise LogClosed("the producer is closed")
        check_size(topic, partition, key, value, headers)
        if self._broken is not None:
            self._failed.append(FailedAppend(token, topic, partition, _stopped(self._broken)))
            return
        if self._client is None:
            self._client = self._connect()
        report = functools.partial(self._report, self._generation, token, topic, partition)
        try:
            self._client.produce(topic, value, key, partition, report, headers=list(headers) or None)
        except BufferError:
            raise LogBusy(f"{self._outstanding} appends wait for {self._url}") from None
        except KafkaException as error:
            found = log_error(error, f"{self._url}: append to {topic}[{partition}]")
            if isinstance(found, LogBusy | RecordTooLarge):
                raise found from error
            if self._ordered or error.args[0].fatal():
                self._stop(found)
            self._failed.append(FailedAppend(token, topic, partition, found))
        else:
            self._outstanding += 1

    def poll(self, timeout_ms: int = 0) -> tuple[list[object], list[FailedAppend]]:
        """See Producer. Raises LogUnauthorized while the brokers refuse this client."""
        refusal = None
        if self._client is not None:
            self._serve(0)
            deadline = time.monotonic() + timeout_ms / 1000
            while self._outstanding and not self._tokens and not self._failed and (refusal := self._trouble.refusal()) is None:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                self._serve(left_s)  # returns at the first report, which may be of an append without a token
        if refusal is not None:
            raise refusal
        tokens, self._tokens = self._tokens, []
        failed, self._failed = self._failed, []
        return tokens, failed

    def flush(self, timeout_ms: int) -> bool:
        """See Producer."""
        deadline = time.monotonic() + timeout_ms / 1000
        while self._client is not None and self._outstanding and (left_s := deadline - time.monotonic()) > 0:
            # Not the library's own flush: it waits for reports of appends that are dropped, and raises half-way.
            self._serve(left_s)
        return not self._outstanding

    def outstanding(self) -> int:
        """See Producer."""
        return self._outstanding

    def drop(self) -> None:
        """See Producer."""
        self._generation += 1
        self._outstanding = 0
        self._tokens.clear()
        self._failed.clear()
        client, self._client = self._client, None
        if client is not None:
            # A purged client has gaps in its sequence and is good for nothing; `close` of the library would flush first, without limit.
            client.purge(blocking=False)
            with contextlib.suppress(KafkaException):
                client.poll(0)

    def close(self) -> None:
        """See Producer."""
        self.drop()
        self._closed = True

    def _connect(self) -> KafkaClient:
        try:
            return KafkaClient({**self._settings, "error_cb": self._trouble.note})
        except KafkaException as error:
            raise log_error(error, self._url) from error

    def _serve(self, timeout_s: float) -> None:
        """Take reports; returns at the first one."""
        if self._client is None:
            return
        try:
            self._client.poll(timeout_s)
        except KafkaException as error:  # how the library tells a fatal error; the reports come with the next calls
            self._stop(log_error(error, self._url))

    def _report(self, generation: int, token: object, topic: str, partition: int, error: KafkaError | None, _: Message) -> None:
        """Called by the library from within `poll` and `flush`."""
        if generation != self._generation:
            return
        self._outstanding -= 1
        if error is None:
            if token is not None:
                self._tokens.append(token)
            return
        if error.code() in PURGED and self._broken is not None:
            found = _stopped(self._broken)
        else:
            found = log_error(error, f"{self._url}: append to {topic}[{partition}]")
            if self._ordered or error.fatal():
                self._stop(found)
        self._failed.append(FailedAppend(token, topic, partition, found))

    def _stop(self, error: LogError) -> None:
        if self._broken is None:
            self._broken = error
            if self._client is not None:
                self._client.purge(blocking=False)


def _stopped(error: LogError) -> LogError:
    return LogUnavailable(f"not sent, because an earlier append failed ({error}); go on with a new producer")
