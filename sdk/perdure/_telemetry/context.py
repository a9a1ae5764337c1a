"""Trace context in record headers: W3C traceparent and tracestate."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from perdure._log.port import Headers
from perdure_schemas.headers import TRACE_PARENT, TRACE_STATE

_propagator = TraceContextTextMapPropagator()


def inject() -> Headers:
    """Headers that carry the current span's context; none where there is no span."""
    if not trace.get_current_span().get_span_context().is_valid:
        return ()
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return tuple((name, value.encode()) for name, value in carrier.items())


def extract(headers: Headers) -> Context:
    """The context that `headers` carry; an empty one where they carry none."""
    carrier = {name: value.decode("ascii", "replace") for name, value in headers if name in (TRACE_PARENT, TRACE_STATE)}
    return _propagator.extract(carrier)


def span_context(trace_parent: str) -> trace.SpanContext | None:
    """The span that a traceparent names; None where it names none."""
    if not trace_parent:
        return None
    found = trace.get_current_span(_propagator.extract({TRACE_PARENT: trace_parent})).get_span_context()
    return found if found.is_valid else None
