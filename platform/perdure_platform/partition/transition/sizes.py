"""How large events are, near enough for limits; exact sizes would need the encoding, which the pure core does not do."""

from __future__ import annotations

from collections.abc import Iterable

from perdure_schemas.events import Event


def payload_bytes(events: Iterable[Event]) -> int:
    """Roughly how large `events` are as a record: their payloads and failures, and an allowance for the rest."""
    return sum(_size(event) for event in events)


def _size(event: Event) -> int:
    size = 256
    for name in ("input", "result", "details"):
        value = getattr(event, name, ())
        if isinstance(value, tuple):
            size += sum(payload.size_bytes for payload in value)
    failure = getattr(event, "failure", None)
    while failure is not None:
        size += len(failure.message) * 4 + len(failure.stack_trace) * 4
        size += sum(payload.size_bytes for payload in getattr(failure.info, "details", ()))
        failure = failure.cause
    for name in ("header", "memo", "search_attributes"):
        mapping = getattr(event, name, None)
        if mapping:
            size += sum(len(key) + payload.size_bytes for key, payload in mapping.items())
    return size
