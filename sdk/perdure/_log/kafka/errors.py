"""Errors of the Kafka client as those of the Log: the one table."""

from __future__ import annotations

import time

from confluent_kafka import KafkaError, KafkaException

from perdure._log.errors import (
    LogBusy,
    LogDamaged,
    LogError,
    LogMisconfigured,
    LogUnauthorized,
    LogUnavailable,
    RecordTooLarge,
    TopicNotFound,
)

MISSING_FOR_S = 2.0
"""How long a topic must have been missing: the brokers learn of a new one only after its making was acknowledged."""

_RECENT_S = 10.0
"""Time for which a refusal of credentials explains what is not answered, in seconds."""

OUT_OF_RANGE = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION})  # noqa: SLF001 - so named
"""What a position that the partition does not have is reported as."""

PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})  # noqa: SLF001
"""Reports of appends that we dropped ourselves."""

_CONNECTING = frozenset({KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._SSL})  # noqa: SLF001

_CUT_OFF = tuple(KafkaError(code).str() for code in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._DESTROY))  # noqa: SLF001
"""Where one of these stands in the text of a failed authentication, its connection broke: a restarting broker is no wrong password."""

_UNAUTHORIZED = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
        KafkaError.SECURITY_DISABLED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_NOT_FOUND = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError.UNKNOWN_TOPIC_ID,
    }
)
_MISCONFIGURED = frozenset(
    {
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_SESSION_TIMEOUT,
        KafkaError.INVALID_GROUP_ID,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError.POLICY_VIOLATION,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError._INVALID_ARG,  # noqa: SLF001
        KafkaError._UNSUPPORTED_FEATURE,  # noqa: SLF001
        KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001
    }
)
_DAMAGED = frozenset({KafkaError._BAD_MSG, KafkaError.INVALID_MSG, KafkaError._BAD_COMPRESSION})  # noqa: SLF001


def log_error(error: KafkaError | KafkaException, what: str) -> LogError:
    """The error of the Log; `what` was tried, and where."""
    reason: KafkaError = error.args[0] if isinstance(error, KafkaException) else error
    code = reason.code()
    message = f"{what}: {reason.str()} ({reason.name()})"
    if code in _UNAUTHORIZED and not _is_cut_off(reason):
        return LogUnauthorized(f"{message}; check the credentials in the address of the log and the permissions of its user")
    if code in _NOT_FOUND:
        return TopicNotFound(message)
    if code in _MISCONFIGURED:
        return LogMisconfigured(message)
    if code in _DAMAGED:
        return LogDamaged(message)
    if code in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.RECORD_LIST_TOO_LARGE):
        return RecordTooLarge(message)
    if code == KafkaError._QUEUE_FULL:  # noqa: SLF001
        return LogBusy(message)
    return LogUnavailable(message)


def _is_cut_off(error: KafkaError) -> bool:
    return error.code() == KafkaError._AUTHENTICATION and any(text in error.str() for text in _CUT_OFF)  # noqa: SLF001


class Trouble:
    """What the library tells beside its answers. It tries for ever; where somebody must act, that is to be raised at the next call."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._unauthorized: LogError | None = None
        self._unauthorized_at = 0.0
        self._unconnected = ""
        self._missing: LogError | None = None
        self._missing_since = 0.0

    def note(self, error: KafkaError) -> None:
        """Called by the library, from within our calls to it."""
        found = log_error(error, self._url)
        if isinstance(found, LogUnauthorized):
            self._unauthorized = found
            self._unauthorized_at = time.monotonic()
        elif error.code() in _CONNECTING or _is_cut_off(error):
            self._unconnected = error.str()
        elif isinstance(found, TopicNotFound):
            if self._missing is None:
                self._missing_since = time.monotonic()
            self._missing = found

    def forget_missing(self) -> None:
        """Other topics are asked for, or they are there."""
        self._missing = None

    def answered(self) -> None:
        """A broker has answered: what kept it from doing so is over."""
        self._unconnected = ""

    def unconnected(self) -> str:
        """What the last attempt to connect ended with, if nobody has answered since, however long ago; it explains time-outs."""
        return self._unconnected

    def refusal_since(self, moment: float) -> LogError | None:
        """The error about credentials or permissions, if it was told after `moment` (of time.monotonic)."""
        return self.refusal() if self._unauthorized is not None and self._unauthorized_at >= moment else None

    def refused_lately(self) -> LogError | None:
        """The error about credentials or permissions, if it was told in the last 10 s."""
        return self._unauthorized if time.monotonic() - self._unauthorized_at < _RECENT_S else None

    def refusal(self) -> LogError | None:
        """The error about credentials or permissions, once."""
        error, self._unauthorized = self._unauthorized, None
        return error

    def lasting(self) -> LogError | None:
        """The error to raise where topics are read, once; a refusal before all else, because it explains the rest."""
        error = self.refusal()
        if error is None and self._missing is not None and time.monotonic() - self._missing_since > MISSING_FOR_S:
            error, self._missing = self._missing, None
        return error
