"""A log whose appends fail, or are not acknowledged, when a test says so; all else is the log that it wraps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure._log.errors import LogError
from perdure._log.port import Delivery, FailedAppend, Headers, Log, Producer


class FailingLog:
    """Wraps a Log. `fail` is asked for each append and returns the error it ends with, or None; `hold` keeps acknowledgements back."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.fail: Callable[[str, int, bytes], LogError | None] = lambda *_: None
        self.hold = False
        self.creates_namespaces = log.creates_namespaces
        self.producers = 0

    def producer(self, delivery: Delivery) -> Producer:
        self.producers += 1
        return _FailingProducer(self._log.producer(delivery), self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


class _FailingProducer:
    def __init__(self, producer: Producer, log: FailingLog) -> None:
        self._producer = producer
        self._log = log
        self._failed: list[FailedAppend] = []
        self._held: list[object] = []

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers = (), token: object = None) -> None:
        error = self._log.fail(topic, partition, value)
        if error is not None:
            self._failed.append(FailedAppend(token, topic, partition, error))
            return
        self._producer.append(topic, partition, key, value, headers, token)

    def poll(self, timeout_ms: int = 0) -> tuple[list[object], list[FailedAppend]]:
        tokens, failed = self._producer.poll(timeout_ms)
        failed, self._failed = failed + self._failed, []
        self._held += tokens
        if self._log.hold:
            return [], failed
        tokens, self._held = self._held, []
        return tokens, failed

    def flush(self, timeout_ms: int) -> bool:
        return self._producer.flush(timeout_ms)

    def outstanding(self) -> int:
        return self._producer.outstanding() + len(self._held) + len(self._failed)

    def drop(self) -> None:
        self._producer.drop()

    def close(self) -> None:
        self._producer.close()
