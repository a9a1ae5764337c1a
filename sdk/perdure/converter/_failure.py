"""Exceptions <-> failures. A failure names types, but no type is ever looked up by what the wire says (semantics 1.7)."""

from __future__ import annotations

import asyncio
import traceback
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from enum import Enum
from typing import Any

from perdure.common import RawValue
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
from perdure_schemas.conform import Misfit, conformed
from perdure_schemas.failure import (
    FAILURE_CAUSES_MAX,
    ActivityFailureInfo,
    ApplicationErrorCategory,
    ApplicationFailureInfo,
    CanceledFailureInfo,
    Failure,
    FailureInfo,
    RetryState,
    ServerFailureInfo,
    TerminatedFailureInfo,
    TimeoutFailureInfo,
    TimeoutType,
)
from perdure_schemas.limits import DURATION_MS_MAX, ID_BYTES_MAX, PAYLOADS_BYTES_MAX
from perdure_schemas.payload import Payload, Payloads
from perdure_schemas.text import kind_of, text

SOURCE = "PythonSDK"
"""Who made a failure."""

_CAUSES_MAX = 50
"""Causes of an exception that are written."""

_TEXT_BYTES_MAX = 256 * 1024
"""Texts of a failure, with those of its causes. An owner needs room for the failure twice where it retries a workflow."""

_TEXT_MAX = 4_000
"""Characters that are kept of a message or a trace of a failure that is too large."""


class FailureConverter(ABC):
    """Writes exceptions as failures and reads them back."""

    @abstractmethod
    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter) -> Failure:
        """The exception and its causes as data."""

    @abstractmethod
    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """An exception of this SDK's own types that says the same."""


def failure_of(exception: BaseException, failure_converter: FailureConverter, payload_converter: PayloadConverter) -> Failure:
    """The exception as data that the wire takes. One that `failure_converter` cannot write is replaced by one that says so."""
    try:
        return writable(failure_converter.to_failure(exception, payload_converter))
    except Exception as problem:  # noqa: BLE001 - converters are user code
        name = kind_of(exception)
        message = f"{name}, which cannot be encoded: {kind_of(problem)}: {text(problem)}"
        return writable(Failure(message, source=SOURCE, info=ApplicationFailureInfo(name)))


def writable(failure: Failure) -> Failure:
    """`failure` as the wire takes it: half characters are spelled out, and what is too large or too long is cut.

    Raises Misfit (a ValueError) for what is no Failure, or has a part that is none.
    """
    links: list[Failure] = []
    link: Failure | None = failure
    while link is not None and len(links) < FAILURE_CAUSES_MAX:
        if not isinstance(link, Failure):
            raise Misfit(link, "a Failure")
        links.append(link)
        link = link.cause
    written: Failure | None = None
    for link in reversed(links):
        info = link.info
        if isinstance(info, ApplicationFailureInfo):
            delay_ms = min(max(0, conformed(info.next_retry_delay_ms)), DURATION_MS_MAX)
            info = replace(info, type=_type_name(info.type), next_retry_delay_ms=delay_ms)
        written = conformed(Failure(text(link.message), text(link.stack_trace), text(link.source), written, info))
    assert written is not None
    return _cut(written)


def _cut(failure: Failure) -> Failure:
    """`failure`, or what is most needed of it: what decides about retries is kept, causes and details go."""
    text_bytes = details_bytes = 0
    link: Failure | None = failure
    while link is not None:
        text_bytes += len(link.message.encode()) + len(link.stack_trace.encode()) + len(link.source.encode())
        details_bytes += sum(payload.size_bytes for payload in _details(link))
        link = link.cause
    if text_bytes <= _TEXT_BYTES_MAX and text_bytes + details_bytes <= PAYLOADS_BYTES_MAX:
        return failure
    info = failure.info
    if isinstance(info, ApplicationFailureInfo | CanceledFailureInfo | TerminatedFailureInfo):
        info = replace(info, details=())
    elif isinstance(info, TimeoutFailureInfo):
        info = replace(info, last_heartbeat_details=())
    limits = f"at most {_TEXT_BYTES_MAX} bytes of text, and {PAYLOADS_BYTES_MAX} with its details, are kept"
    message = f"{failure.message[:_TEXT_MAX]} (cut: the failure had {text_bytes} bytes of text and {details_bytes} of details; {limits})"
    return Failure(message, failure.stack_trace[-_TEXT_MAX:], failure.source[:_TEXT_MAX], None, info)


def _details(failure: Failure) -> Payloads:
    if isinstance(failure.info, TimeoutFailureInfo):
        return failure.info.last_heartbeat_details
    return getattr(failure.info, "details", ())


def _type_name(given: object) -> str:
    """What an ApplicationError's `type` says: a class and a member of an enumeration stand for their names."""
    if isinstance(given, type):
        given = given.__name__
    elif isinstance(given, Enum) and not isinstance(given, str):
        given = given.name
    return text(given or "")[:ID_BYTES_MAX]


class DefaultFailureConverter(FailureConverter):
    """Messages and stack traces in the clear; any exception that is not a FailureError becomes an ApplicationError named like its class.

    An exception is never lost to what it says: what is no text is written as `str()` has it, and a detail that cannot be encoded is
    replaced by a note.
    """

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter) -> Failure:
        """The exception and its causes as data."""
        links: list[BaseException] = []
        seen: set[int] = set()
        link: BaseException | None = exception
        while link is not None and id(link) not in seen and len(links) <= _CAUSES_MAX:
            links.append(link)
            seen.add(id(link))
            link = None if _as_it_came(link) is not None else _cause(link)
        written: Failure | None = None
        for one in reversed(links):
            written = _as_it_came(one) or _written(one, written, payload_converter)
        assert written is not None
        return written

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
                    *_read_details(info.details, payloads),
                    type=info.type or None,
                    non_retryable=info.non_retryable,
                    next_retry_delay=timedelta(milliseconds=min(max(0, info.next_retry_delay_ms), DURATION_MS_MAX)),
                    category=info.category,
                )
            case TimeoutFailureInfo():
                details = _read_details(info.last_heartbeat_details, payloads)
                return TimeoutError(failure.message or "Timeout", type=info.timeout_type, last_heartbeat_details=details)
            case CanceledFailureInfo():
                return CancelledError(failure.message or "Cancelled", *_read_details(info.details, payloads))
            case TerminatedFailureInfo():
                return TerminatedError(failure.message or "Terminated", *_read_details(info.details, payloads))
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


def _as_it_came(exception: BaseException) -> Failure | None:
    """The failure that the exception was on the wire, if it came from there."""
    failure = exception.failure if isinstance(exception, FailureError) else None
    return failure if isinstance(failure, Failure) else None


def _cause(exception: BaseException) -> BaseException | None:
    cause = exception.__cause__
    if cause is None and isinstance(exception, BaseExceptionGroup):
        cause = exception.exceptions[0]  # of several, one is told
    if cause is None and not exception.__suppress_context__:
        cause = exception.__context__
    return cause


def _written(exception: BaseException, cause: Failure | None, payloads: PayloadConverter) -> Failure:
    try:
        stack_trace = "".join(traceback.format_tb(exception.__traceback__)).rstrip()
    except Exception as error:  # noqa: BLE001 - as for the text
        stack_trace = f"<no stack trace: {kind_of(error)}>"
    try:
        info: FailureInfo = conformed(_info(exception, payloads))
    except Exception:  # noqa: BLE001 - fields of exceptions are what user code puts there
        info = ApplicationFailureInfo(_type_name(type(exception)))
    return Failure(_message(exception), stack_trace, SOURCE, cause, info)


def _info(exception: BaseException, payloads: PayloadConverter) -> FailureInfo:
    match exception:
        case ApplicationError():
            return ApplicationFailureInfo(
                _type_name(exception.type),
                bool(exception.non_retryable),
                _write_details(exception.details, payloads),
                _delay_ms(exception.next_retry_delay),
                _category(exception.category),
            )
        case TimeoutError():
            details = _write_details(exception.last_heartbeat_details, payloads)
            return TimeoutFailureInfo(exception.type or TimeoutType.START_TO_CLOSE, details)
        case CancelledError():
            return CanceledFailureInfo(_write_details(exception.details, payloads))
        case asyncio.CancelledError():
            return CanceledFailureInfo()
        case TerminatedError():
            return TerminatedFailureInfo(_write_details(exception.details, payloads))
        case ServerError():
            return ServerFailureInfo(exception.non_retryable)
        case ActivityError():
            return ActivityFailureInfo(
                exception.scheduled_event_id,
                exception.started_event_id,
                exception.identity,
                exception.activity_type,
                exception.activity_id,
                exception.retry_state or RetryState.UNSPECIFIED,
            )
        case _:
            return ApplicationFailureInfo(_type_name(type(exception)))


def _delay_ms(delay: timedelta | None) -> int:
    """Zero is the same as none; `timedelta.max` is as long as there is."""
    if not isinstance(delay, timedelta):
        return 0
    return min(max(0, round(delay / timedelta(milliseconds=1))), DURATION_MS_MAX)


def _category(given: Any) -> ApplicationErrorCategory:
    try:
        return ApplicationErrorCategory(given)
    except ValueError:
        return ApplicationErrorCategory.UNSPECIFIED


def _write_details(details: Sequence[Any], payloads: PayloadConverter) -> Payloads:
    """Details as payloads; in the place of one that cannot be encoded stands a note that says so."""
    with suppress(Exception):  # converters and details are user code
        return conformed(payloads.to_payloads(details), Payloads)
    written: list[Payload] = []
    for at, detail in enumerate(details):
        try:
            written.extend(conformed(payloads.to_payloads([detail]), Payloads))
        except Exception as error:  # noqa: BLE001 - as above
            note = f"<detail {at}, a {kind_of(detail)}, cannot be encoded: {text(error)}>"
            written.extend(conformed(payloads.to_payloads([note]), Payloads))
    return tuple(written)


def _read_details(details: Payloads, payloads: PayloadConverter) -> Sequence[Any]:
    """The values of details. An error is worth more than they are: what cannot be read is given as it came."""
    try:
        return payloads.from_payloads(details)
    except Exception:  # noqa: BLE001 - converters are user code
        return [RawValue(payload) for payload in details]


def _message(exception: BaseException) -> str:
    if isinstance(exception, asyncio.CancelledError):
        return "Cancelled"
    try:
        return text(exception.message if isinstance(exception, FailureError) else exception)
    except Exception as error:  # noqa: BLE001 - a class of user code may make its message when it is asked
        return f"<a {kind_of(exception)} whose message cannot be made: {kind_of(error)}>"
