"""How large events are, near enough for limits; exact sizes would need the encoding, which the pure core does not do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, get_args

from perdure_schemas.events import ActivityTaskStarted, ActivityTaskTimedOut, Event, MarkerRecorded
from perdure_schemas.failure import ApplicationFailureInfo, Failure, TimeoutFailureInfo
from perdure_schemas.history import AddressedReply, SettledRequest
from perdure_schemas.notes import ActivityAttemptDispatched, ActivityAttemptFailed, Note
from perdure_schemas.replies import Outcome, Refused, ReplyBody, WorkflowClosed

EVENT_BYTES = 256
"""An allowance for everything of an event that is not payload."""

REQUEST_BYTES = 200
"""An allowance for everything of a settled request, or of its answer, that is not text."""

FAILURE_BYTES_MAX = 1024 * 1024
"""A failure of an activation or of a query above this is shortened: it is a report, and must fit beside what is reported on."""

SHORT_TEXT = 4_000
"""Characters that are kept of each of its texts then."""

_PAYLOADS = ("input", "result")
_MAPS = ("header", "memo", "search_attributes")
_FAILURES = ("failure", "continued_failure")


def _named(kind: type, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.name in names)


_BY_TYPE: dict[type, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    kind: (
        _named(kind, _PAYLOADS if kind is MarkerRecorded else (*_PAYLOADS, "details")),
        _named(kind, _MAPS),
        _named(kind, _FAILURES),
    )
    for kind in get_args(Event)
}
"""Which fields of an event can be large: payloads, maps of payloads, failures."""


def payload_bytes(events: Iterable[Event]) -> int:
    """Roughly how large `events` are as a record: their payloads and failures, and an allowance for the rest."""
    return sum([_size(event) for event in events])


def _size(event: Event) -> int:
    payloads, maps, failures = _BY_TYPE[type(event)]
    size = EVENT_BYTES
    for name in payloads:
        for payload in getattr(event, name):
            size += payload.size_bytes
    for name in maps:
        mapping: dict[str, Any] = getattr(event, name)
        for key, payload in mapping.items():
            size += len(key) + payload.size_bytes
    for name in failures:
        size += failure_bytes(getattr(event, name))
    return size


def failure_bytes(failure: Failure | None) -> int:
    """Roughly how large a failure is, with its causes."""
    size = 0
    while failure is not None:
        size += EVENT_BYTES + 4 * (len(failure.message) + len(failure.stack_trace))
        for payload in getattr(failure.info, "details", ()):
            size += payload.size_bytes
        failure = failure.cause
    return size


def grown_bytes(fact: Event | Note) -> int:
    """What a fact about an activity brings into a record that no input brought with it: failures and details of earlier attempts.

    Not a part of `payload_bytes`, which replay has to give workflow code as it was.
    """
    match fact:
        case ActivityTaskStarted():
            return noted_bytes(fact.last_failure)
        case ActivityTaskTimedOut():
            return noted_bytes(fact.failure)
        case ActivityAttemptFailed():
            return noted_bytes(fact.failure) + sum([payload.size_bytes for payload in fact.last_heartbeat_details])
        case ActivityAttemptDispatched():
            return sum([payload.size_bytes for payload in fact.heartbeat_details])
        case _:
            return 0


def noted_bytes(failure: Failure | None) -> int:
    """How large a failure is with its causes, the details of timeouts among it."""
    size = 0
    while failure is not None:
        info = failure.info
        details = info.last_heartbeat_details if isinstance(info, TimeoutFailureInfo) else getattr(info, "details", ())
        size += EVENT_BYTES + text_bytes(failure.message, failure.stack_trace, getattr(info, "type", ""))
        size += sum([payload.size_bytes for payload in details])
        failure = failure.cause
    return size


def closed_bytes(body: ReplyBody) -> int:
    """Roughly how large the answer is that tells how a run has ended."""
    return failure_bytes(body.failure) + sum(p.size_bytes for p in body.result) if isinstance(body, WorkflowClosed) else 0


def settled_bytes(request: SettledRequest) -> int:
    """Roughly how large a settled request is in a record."""
    return REQUEST_BYTES + text_bytes(request.workflow_id, request.request_id) + _outcome_bytes(request.outcome)


def answered_bytes(reply: AddressedReply) -> int:
    """The same of a reply that tells what a request came to."""
    size = REQUEST_BYTES + text_bytes(reply.address.client_id, reply.request_id)
    return size + (_outcome_bytes(reply.body) if isinstance(reply.body, Outcome) else 0)


def text_bytes(*texts: str) -> int:
    """How large texts are as they are encoded."""
    return sum([len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")) for text in texts])


def _outcome_bytes(outcome: Outcome) -> int:
    if not isinstance(outcome, Refused):
        return text_bytes(outcome.run_id)
    texts = text_bytes(outcome.message, outcome.workflow_id, outcome.run_id, outcome.workflow_type)
    return texts + failure_bytes(outcome.failure)


def shortened(failure: Failure) -> Failure:
    """`failure`, or its beginning if it is larger than a report of an error ought to be."""
    size = failure_bytes(failure)
    if size <= FAILURE_BYTES_MAX:
        return failure
    message = f"{failure.message[:SHORT_TEXT]} … (shortened, from some {size:,} bytes)"
    info = ApplicationFailureInfo(failure.info.type[:SHORT_TEXT]) if isinstance(failure.info, ApplicationFailureInfo) else None
    return Failure(message, failure.stack_trace[:SHORT_TEXT], failure.source, None, info)
