"""Exceptions <-> failures. A failure names types, but no type is ever looked up by what the wire says (semantics 1.7)."""

from __future__ import annotations

import asyncio
import traceback
from abc import ABC, abstractmethod
from datetime import timedelta

from perdure.converter._payload import PayloadConverter
from perdure.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    FailureError,
    ServerError,
    TerminatedError,
    TimeoutError,  # noqa: A004 - the name that users know
)
from perdure_schemas.failure import (
    ActivityFailureInfo,
    ApplicationFailureInfo,
    CanceledFailureInfo,
    Failure,
    RetryState,
    ServerFailureInfo,
    TerminatedFailureInfo,
    TimeoutFailureInfo,
    TimeoutType,
)

SOURCE = "PythonSDK"
"""Who made a failure."""

_CAUSES_MAX = 50


class FailureConverter(ABC):
    """Writes exceptions as failures and reads them back."""

    @abstractmethod
    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter) -> Failure:
        """The exception and its causes as data."""

    @abstractmethod
    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """An exception of this SDK's own types that says the same."""


class DefaultFailureConverter(FailureConverter):
    """Messages and stack traces in the clear; any exception that is not a FailureError becomes an ApplicationError named like its class."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter) -> Failure:
        """The exception and its causes as data."""
        return self._write(exception, payload_converter, 0)

    def _write(self, exception: BaseException, payloads: PayloadConverter, depth: int) -> Failure:
        if isinstance(exception, FailureError) and exception.failure is not None:
            return exception.failure
        cause = exception.__cause__
        if cause is None and not exception.__suppress_context__:
            cause = exception.__context__
        written_cause = self._write(cause, payloads, depth + 1) if cause is not None and depth < _CAUSES_MAX else None
        stack_trace = "".join(traceback.format_tb(exception.__traceback__)).rstrip()
        message = _message(exception)
        match exception:
            case ApplicationError():
                delay_ms = round(exception.next_retry_delay / timedelta(milliseconds=1)) if exception.next_retry_delay else 0
                info: object = ApplicationFailureInfo(
                    exception.type or "",
                    exception.non_retryable,
                    payloads.to_payloads(exception.details),
                    max(0, delay_ms),
                    exception.category,
                )
            case TimeoutError():
                details = payloads.to_payloads(exception.last_heartbeat_details)
                info = TimeoutFailureInfo(exception.type or TimeoutType.START_TO_CLOSE, details)
            case CancelledError():
                info = CanceledFailureInfo(payloads.to_payloads(exception.details))
            case asyncio.CancelledError():
                info = CanceledFailureInfo()
            case TerminatedError():
                info = TerminatedFailureInfo(payloads.to_payloads(exception.details))
            case ServerError():
                info = ServerFailureInfo(exception.non_retryable)
            case ActivityError():
                info = ActivityFailureInfo(
                    exception.scheduled_event_id,
                    exception.started_event_id,
                    exception.identity,
                    exception.activity_type,
                    exception.activity_id,
                    exception.retry_state or RetryState.UNSPECIFIED,
                )
            case _:
                info = ApplicationFailureInfo(type(exception).__name__)
        return Failure(message, stack_trace, SOURCE, written_cause, info)  # type: ignore[arg-type]  # the match covers the union

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """An exception of this SDK's own types that says the same."""
        exception = self._read(failure, payload_converter)
        exception._failure = failure  # noqa: SLF001 - what came from elsewhere is sent on as it was
        if failure.cause is not None:
            exception.__cause__ = self.from_failure(failure.cause, payload_converter)
        return exception

    def _read(self, failure: Failure, payloads: PayloadConverter) -> FailureError:
        info = failure.info
        match info:
            case ApplicationFailureInfo():
                return ApplicationError(
                    failure.message,
                    *payloads.from_payloads(info.details),
                    type=info.type or None,
                    non_retryable=info.non_retryable,
                    next_retry_delay=timedelta(milliseconds=info.next_retry_delay_ms),
                    category=info.category,
                )
            case TimeoutFailureInfo():
                details = payloads.from_payloads(info.last_heartbeat_details)
                return TimeoutError(failure.message or "Timeout", type=info.timeout_type, last_heartbeat_details=details)
            case CanceledFailureInfo():
                return CancelledError(failure.message or "Cancelled", *payloads.from_payloads(info.details))
            case TerminatedFailureInfo():
                return TerminatedError(failure.message or "Terminated", *payloads.from_payloads(info.details))
            case ServerFailureInfo():
                return ServerError(failure.message or "Server error", non_retryable=info.non_retryable)
            case ActivityFailureInfo():
                return ActivityError(
                    failure.message or "Activity error",
                    scheduled_event_id=info.scheduled_event_id,
                    started_event_id=info.started_event_id,
                    identity=info.identity,
                    activity_type=info.activity_type,
                    activity_id=info.activity_id,
                    retry_state=info.retry_state if info.retry_state is not RetryState.UNSPECIFIED else None,
                )
            case _:
                return FailureError(failure.message or "Failure error")


def _message(exception: BaseException) -> str:
    if isinstance(exception, FailureError):
        return exception.message
    if isinstance(exception, asyncio.CancelledError):
        return "Cancelled"
    try:
        return str(exception)
    except Exception as error:  # noqa: BLE001 - an exception whose text fails is still an exception
        return f"{type(exception).__name__}, whose message cannot be made: {error!r}"
