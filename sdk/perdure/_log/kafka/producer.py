"""Appends to Kafka, and goes on with a new client where the library's hangs."""

from __future__ import annotations

import contextlib
import functools
import time

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as KafkaClient

from perdure._log.errors import LogBusy, LogClosed, LogError, LogUnavailable, RecordTooLarge, TopicNotFound
from perdure._log.kafka.chatter import logger
from perdure._log.kafka.errors import PURGED, Trouble, log_error
from perdure._log.kafka.offsets import KafkaOffsets, OffsetsRequest
from perdure._log.kafka.settings import Settings
from perdure._log.kafka.waiting import waiting_s
from perdure._log.port import Delivery, FailedAppend, Headers
from perdure._log.size import check_size

_STALLED_S = 10.0
"""How long nothing may be heard of any append before the cluster is asked whether it is there; longer after each client in vain."""
_STALLED_MAX_S = 300.0
_PARTITION_MAX = 2**31 - 1
"""Kafka's own. The library raises for a larger number, and takes -1 for its leave to choose a partition."""


class KafkaProducer:
    """A producer over one client of the library, which has threads of its own and sends in the background.

    Every append has a callback, because only callbacks tell of failures; it costs less than half a microsecond. After a failure
    that the library calls fatal, and for an ORDERED producer after any, the client sends nothing more. An ORDERED producer has ended with
    that; another goes on with a new client once all that waited is reported.

    A client that loses its brokers may never find them again (librdkafka issue 5301; seen here after restarts of a broker). Where appends
    wait, and the cluster answers `offsets` about the very partition, they all count as failed, and a new client does what comes then.
    """

    def __init__(self, url: str, settings: Settings, delivery: Delivery, offsets: KafkaOffsets) -> None:
        self._url = url
        self._settings = settings
        self._ordered = delivery is Delivery.ORDERED
        self._offsets = offsets
        self._appended = 0
        self._waiting: dict[int, tuple[object, str, int]] = {}
        self._heard_at = 0.0
        self._stalled_s = _STALLED_S
        self._probe: OffsetsRequest | None = None
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
        if not 0 <= partition <= _PARTITION_MAX:
            found: LogError = TopicNotFound(f"{self._url} has no {topic}[{partition}]")
            if self._ordered:
                self._stop(found)
            self._failed.append(FailedAppend(token, topic, partition, found))
            return
        if self._broken is not None:
            self._failed.append(FailedAppend(token, topic, partition, _stopped(self._broken)))
            return
        if self._client is None:
            self._client = self._connect()
        number = self._appended
        report = functools.partial(self._report, number)
        try:
            self._client.produce(topic, value, key, partition, report, headers=list(headers) or None)
        except BufferError:
            raise LogBusy(f"{len(self._waiting)} appends wait for {self._url}") from None
        except KafkaException as error:
            found = log_error(error, f"{self._url}: append to {topic}[{partition}]")
            if isinstance(found, LogBusy | RecordTooLarge):
                raise found from error
            if self._ordered or error.args[0].fatal():
                self._stop(found)
            self._failed.append(FailedAppend(token, topic, partition, found))
        else:
            self._appended += 1
            if not self._waiting:
                self._heard_at = time.monotonic()
            self._waiting[number] = (token, topic, partition)

    def poll(self, timeout_ms: int = 0) -> tuple[list[object], list[FailedAppend]]:
        """See Producer. Raises LogUnauthorized while the brokers refuse this client."""
        refusal = None
        if self._client is not None:
            self._serve(0)
            deadline = time.monotonic() + timeout_ms / 1000
            while self._waiting and not self._tokens and not self._failed and (refusal := self._trouble.refusal()) is None:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                self._serve(left_s)  # returns at the first report, which may be of an append without a token
            if self._waiting and not self._tokens and self._is_stalled():
                self._abandon()
            if self._broken is not None and not self._ordered and not self._waiting:
                logger.warning("%s; going on with a new client", self._broken)
                self._client = self._broken = None
        if refusal is not None:
            raise refusal
        tokens, self._tokens = self._tokens, []
        failed, self._failed = self._failed, []
        return tokens, failed

    def flush(self, timeout_ms: int) -> bool:
        """See Producer."""
        deadline = time.monotonic() + timeout_ms / 1000
        while self._client is not None and self._waiting and (left_s := deadline - time.monotonic()) > 0:
            # Not the library's own flush: it waits for reports of appends that are dropped, and raises half-way.
            self._serve(left_s)
        return not self._waiting

    def outstanding(self) -> int:
        """See Producer."""
        return len(self._waiting)

    def drop(self) -> None:
        """See Producer."""
        self._waiting.clear()
        self._probe = None
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
            self._client.poll(waiting_s(timeout_s * 1000))
        except KafkaException as error:  # how the library tells a fatal error; the reports come with the next calls
            self._stop(log_error(error, self._url))

    def _report(self, number: int, error: KafkaError | None, _: Message) -> None:
        """Called by the library from within `poll` and `flush`."""
        appended = self._waiting.pop(number, None)
        if appended is None:
            return  # dropped
        token, topic, partition = appended
        self._heard_at = time.monotonic()
        self._probe = None
        if error is None:
            self._stalled_s = _STALLED_S
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

    def _is_stalled(self) -> bool:
        """Whether nothing was heard of any append for long, and the cluster has answered about the first of them since."""
        now = time.monotonic()
        if now - self._heard_at < self._stalled_s:
            return False
        if self._probe is None:
            _, topic, partition = next(iter(self._waiting.values()))
            self._probe = self._offsets.request([(topic, partition)], end=True)
            return False
        try:
            return self._probe.result() is not None
        except LogError:  # it cannot be reached, so there is nothing to be done about it here
            self._probe = None
            self._heard_at = now
            return False

    def _abandon(self) -> None:
        appended = list(self._waiting.values())
        error = LogUnavailable(
            f"{self._url}: nothing was heard of {len(appended)} appends for {self._stalled_s:.0f} s although the cluster answers others; "
            "their outcome is unknown"
        )
        logger.warning("%s; going on with a new client", error)
        failed = self._failed
        self.drop()
        self._stalled_s = min(2 * self._stalled_s, _STALLED_MAX_S)
        if self._ordered:
            self._broken = error
        self._failed = [*failed, *(FailedAppend(token, topic, partition, error) for token, topic, partition in appended)]

    def _stop(self, error: LogError) -> None:
        if self._broken is None:
            self._broken = error
            if self._client is not None:
                self._client.purge(blocking=False)


def _stopped(error: LogError) -> LogError:
    return LogUnavailable(f"not sent, because an earlier append failed ({error}); go on with a new producer")
