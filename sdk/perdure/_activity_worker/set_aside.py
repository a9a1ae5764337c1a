"""Tasks that cannot be read: they go to the dead letters, and the queue goes on (P9). Used by the thread that polls."""

from __future__ import annotations

import logging
from collections.abc import Callable

from perdure._log.errors import LogError
from perdure._log.port import Delivery, Log, Record
from perdure_schemas.codec import encode_dead_letter
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.errors import CodecError
from perdure_schemas.topics import RECORD_BYTES_MAX, dead_letters_topic

_logger = logging.getLogger("perdure.worker")

_VALUE_BYTES_MAX = RECORD_BYTES_MAX // 2
"""More of a value than this is cut off, so that its letter fits."""
_FLUSH_MS = 2_000
_RETRY_S = 1.0


class DeadLetters:
    """Keeps what could not be read until the log has taken its dead letter."""

    def __init__(self, log: Log, namespace: str, monotonic_s: Callable[[], float]) -> None:
        self._log = log
        self._monotonic_s = monotonic_s
        self._topic = dead_letters_topic(namespace)
        self._unsent: list[tuple[Record, DeadLetter]] = []
        self._send_at = 0.0

    def add(self, record: Record, error: CodecError) -> None:
        """A record that is not a task."""
        message = str(error)
        if len(record.value) > _VALUE_BYTES_MAX:
            message = f"{message} (cut from {len(record.value)} bytes)"
        value = record.value[:_VALUE_BYTES_MAX]
        letter = DeadLetter(
            record.topic, record.partition, record.offset, "undecodable", message, record.key or b"", value, self._log.now_ms()
        )
        self._unsent.append((record, letter))
        _logger.error("%s[%d] offset %d is not a task and becomes a dead letter: %s", record.topic, record.partition, record.offset, error)

    def send(self) -> list[Record]:
        """Send what waits, waiting for the log at most two seconds; the records whose letters are in the log now."""
        if not self._unsent or self._monotonic_s() < self._send_at:
            return []
        try:
            taken = self._append()
        except LogError as error:
            taken = set()
            _logger.warning("%d dead letters wait: %s", len(self._unsent), error)
        sent = [record for index, (record, _) in enumerate(self._unsent) if index in taken]
        self._unsent = [each for index, each in enumerate(self._unsent) if index not in taken]
        self._send_at = self._monotonic_s() + _RETRY_S if self._unsent else 0.0
        return sent

    def _append(self) -> set[object]:
        producer = self._log.producer(Delivery.PIPELINED)
        try:
            for index, (record, letter) in enumerate(self._unsent):
                key = f"{record.topic}/{record.partition}/{record.offset}".encode()
                producer.append(self._topic, 0, key, encode_dead_letter(letter), (), index)
            producer.flush(_FLUSH_MS)
            tokens, _ = producer.poll(0)
            return set(tokens)
        finally:
            producer.close()
