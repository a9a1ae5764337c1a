"""Spans of client calls, runs, activations and activity attempts.

What the log records gets ids that follow from run and event ids (`perdure_schemas.tracing`): whoever emits it again, after a takeover
for one, emits the same span. Such spans are handed to the provider's processors finished, because a tracer would choose ids of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from perdure._telemetry import names
from perdure._telemetry.context import span_context
from perdure_schemas.tracing import child_trace_parent, derived_span_id, run_span_id

_SCOPE = InstrumentationScope(names.TRACER)
Attributes = Mapping[str, str | int]


def is_enabled() -> bool:
    """Whether somebody set up a tracer provider."""
    return isinstance(trace.get_tracer_provider(), TracerProvider)


@contextmanager
def client_call(call: str, workflow_type: str, workflow_id: str) -> Iterator[None]:
    """A span around a client's call, `StartWorkflow:Transfer` for one."""
    if not is_enabled():
        yield
        return
    tracer = trace.get_tracer(names.TRACER)
    with tracer.start_as_current_span(f"{call}:{workflow_type}", kind=SpanKind.CLIENT, attributes={names.WORKFLOW_ID: workflow_id}):
        yield


def run_closed(
    trace_parent: str, workflow_type: str, workflow_id: str, run_id: str, start_ms: int, end_ms: int, status: str, failed: bool
) -> None:
    """The span of a run that has closed."""
    attributes: Attributes = {names.WORKFLOW_ID: workflow_id, names.RUN_ID: run_id, names.STATUS: status}
    _emit(f"{names.RUN_WORKFLOW}:{workflow_type}", trace_parent, run_span_id(run_id), start_ms, end_ms, attributes, failed=failed)


def activated(
    trace_parent: str, workflow_type: str, workflow_id: str, run_id: str, first_event_id: int, start_ms: int, end_ms: int
) -> None:
    """The span of one activation, from its decision to its place in the log."""
    parent = child_trace_parent(trace_parent, run_span_id(run_id))
    span_id = derived_span_id(run_id, "activation", first_event_id)
    attributes: Attributes = {names.WORKFLOW_ID: workflow_id, names.RUN_ID: run_id, "perdure.first_event_id": first_event_id}
    _emit(f"{names.ACTIVATE_WORKFLOW}:{workflow_type}", parent, span_id, start_ms, end_ms, attributes)


@contextmanager
def activity_attempt(
    trace_parent: str, activity_type: str, workflow_id: str, run_id: str, activity_id: str, scheduled_event_id: int, attempt: int
) -> Iterator[None]:
    """The span of one attempt, current while the activity runs, so that its own spans belong to it. `trace_parent` is the task's."""
    parent = span_context(trace_parent) if is_enabled() else None
    if parent is None:
        yield
        return
    span_id = derived_span_id(run_id, "attempt", scheduled_event_id, attempt)
    own = SpanContext(parent.trace_id, int(span_id, 16), is_remote=False, trace_flags=parent.trace_flags)
    token = contexts.attach(trace.set_span_in_context(NonRecordingSpan(own)))
    start_ns = time.time_ns()
    failed = True
    try:
        yield
        failed = False
    finally:
        contexts.detach(token)
        attributes: Attributes = {
            names.WORKFLOW_ID: workflow_id,
            names.RUN_ID: run_id,
            names.ACTIVITY_ID: activity_id,
            names.ATTEMPT: attempt,
        }
        _finish(f"{names.RUN_ACTIVITY}:{activity_type}", parent, own, start_ns, time.time_ns(), attributes, failed=failed)


def _emit(name: str, trace_parent: str, span_id: str, start_ms: int, end_ms: int, attributes: Attributes, *, failed: bool = False) -> None:
    parent = span_context(trace_parent) if is_enabled() else None
    if parent is None:
        return
    own = SpanContext(parent.trace_id, int(span_id, 16), is_remote=False, trace_flags=parent.trace_flags)
    _finish(name, parent, own, start_ms * 1_000_000, max(start_ms, end_ms) * 1_000_000, attributes, failed=failed)


def _finish(name: str, parent: SpanContext, own: SpanContext, start_ns: int, end_ns: int, attributes: Attributes, *, failed: bool) -> None:
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider) or not own.trace_flags & TraceFlags.SAMPLED:
        return
    span = ReadableSpan(
        name=name,
        context=own,
        parent=parent,
        resource=provider.resource,
        attributes=attributes,
        kind=SpanKind.INTERNAL,
        instrumentation_scope=_SCOPE,
        status=Status(StatusCode.ERROR) if failed else Status(StatusCode.UNSET),
        start_time=start_ns,
        end_time=end_ns,
    )
    provider._active_span_processor.on_end(span)  # noqa: SLF001 - the only door for a span that already has its ids
