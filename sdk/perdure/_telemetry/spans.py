"""Spans of client calls, runs, activations and activity attempts (design.md 9).

What the log records gets ids that follow from run and event ids (`perdure_schemas.tracing`): whoever emits it again, after a takeover
for one, emits the same span. Such spans are handed to the provider's processors finished, because a tracer would choose ids of its own.
What was not started within a trace has no spans.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from perdure._telemetry import names
from perdure._telemetry.context import span_context
from perdure._telemetry.provider import current_provider, exporting_provider
from perdure_schemas.commands import CancelWorkflow, CommandBody, QueryWorkflow, SignalWorkflow, StartWorkflow, TerminateWorkflow
from perdure_schemas.text import kind_of, text
from perdure_schemas.tracing import child_trace_parent, derived_span_id, run_span_id

Attributes = Mapping[str, str | int]

_NOTHING: AbstractContextManager[None] = nullcontext()
_DESCRIPTION_MAX = 1_000
"""Characters of an error that a span keeps."""


def is_enabled() -> bool:
    """Whether spans with ids of their own have somewhere to go."""
    return exporting_provider() is not None


def client_call(body: CommandBody, workflow_id: str) -> AbstractContextManager[None]:
    """A span around a client's call, `StartWorkflow:Transfer` for one; nothing for calls that only look."""
    if current_provider() is None or (name := _call_name(body)) is None:
        return _NOTHING
    return _client_span(name, workflow_id)


@contextmanager
def _client_span(name: str, workflow_id: str) -> Iterator[None]:
    tracer = trace.get_tracer(names.INSTRUMENTATION)
    with tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes={names.WORKFLOW_ID: workflow_id}):
        yield


def _call_name(body: CommandBody) -> str | None:
    match body:
        case StartWorkflow():
            call = names.START_WORKFLOW if body.signal is None else names.SIGNAL_WITH_START_WORKFLOW
            return f"{call}:{body.workflow_type}"
        case SignalWorkflow():
            return f"{names.SIGNAL_WORKFLOW}:{body.name}"
        case QueryWorkflow():
            return f"{names.QUERY_WORKFLOW}:{body.query_type}"
        case CancelWorkflow():
            return names.CANCEL_WORKFLOW
        case TerminateWorkflow():
            return names.TERMINATE_WORKFLOW
        case _:
            return None


def run_closed(
    trace_parent: str,
    workflow_type: str,
    workflow_id: str,
    run_id: str,
    start_ms: int,
    end_ms: int,
    status: str,
    failed: bool,
    continued_run_id: str = "",
) -> None:
    """The span of a run that has closed; it links to the run that it went on from, if there is one.

    Emit it once the record of the close is confirmed.
    """
    if current_provider() is None:
        return
    attributes: Attributes = {names.WORKFLOW_ID: workflow_id, names.RUN_ID: run_id, names.STATUS: status}
    linked = run_span_id(continued_run_id) if continued_run_id else ""
    description = status if failed else None
    _emit(f"{names.RUN_WORKFLOW}:{workflow_type}", trace_parent, run_span_id(run_id), start_ms, end_ms, attributes, description, linked)


def activated(
    trace_parent: str, workflow_type: str, workflow_id: str, run_id: str, first_event_id: int, start_ms: int, end_ms: int
) -> None:
    """The span of one activation, from its decision to its place in the log. Emit it once its record is confirmed."""
    if current_provider() is None:
        return
    parent = child_trace_parent(trace_parent, run_span_id(run_id))
    span_id = derived_span_id(run_id, "activation", first_event_id)
    attributes: Attributes = {names.WORKFLOW_ID: workflow_id, names.RUN_ID: run_id, names.FIRST_EVENT_ID: first_event_id}
    _emit(f"{names.ACTIVATE_WORKFLOW}:{workflow_type}", parent, span_id, start_ms, end_ms, attributes)


def activity_attempt(
    trace_parent: str, activity_type: str, workflow_id: str, run_id: str, activity_id: str, scheduled_event_id: int, attempt: int
) -> AbstractContextManager[None]:
    """The span of one attempt, current while the activity runs, so that its own spans belong to it. `trace_parent` is the task's."""
    if current_provider() is None or (parent := span_context(trace_parent)) is None:
        return _NOTHING
    own = _own_context(parent, derived_span_id(run_id, "attempt", scheduled_event_id, attempt))
    attributes: Attributes = {
        names.WORKFLOW_ID: workflow_id,
        names.RUN_ID: run_id,
        names.ACTIVITY_ID: activity_id,
        names.ATTEMPT: attempt,
    }
    return _attempt_span(f"{names.RUN_ACTIVITY}:{activity_type}", parent, own, attributes)


@contextmanager
def _attempt_span(name: str, parent: SpanContext, own: SpanContext, attributes: Attributes) -> Iterator[None]:
    token = contexts.attach(trace.set_span_in_context(NonRecordingSpan(own)))
    start_ns = time.time_ns()
    description: str | None = None
    try:
        yield
    except BaseException as error:
        description = f"{kind_of(error)}: {text(error)}"[:_DESCRIPTION_MAX]
        raise
    finally:
        contexts.detach(token)
        _finish(name, parent, own, start_ns, time.time_ns(), attributes, description)


def _emit(
    name: str,
    trace_parent: str,
    span_id: str,
    start_ms: int,
    end_ms: int,
    attributes: Attributes,
    description: str | None = None,
    linked_span_id: str = "",
) -> None:
    if (parent := span_context(trace_parent)) is None:
        return
    links = [Link(_own_context(parent, linked_span_id))] if linked_span_id else []
    start_ns, end_ns = start_ms * 1_000_000, max(start_ms, end_ms) * 1_000_000
    _finish(name, parent, _own_context(parent, span_id), start_ns, end_ns, attributes, description, links)


def _own_context(parent: SpanContext, span_id: str) -> SpanContext:
    return SpanContext(parent.trace_id, int(span_id, 16), is_remote=False, trace_flags=parent.trace_flags, trace_state=parent.trace_state)


def _finish(
    name: str,
    parent: SpanContext,
    own: SpanContext,
    start_ns: int,
    end_ns: int,
    attributes: Attributes,
    description: str | None,
    links: Sequence[Link] = (),
) -> None:
    provider = exporting_provider()
    if provider is None or not own.trace_flags & TraceFlags.SAMPLED:
        return
    from opentelemetry.sdk.trace import ReadableSpan  # who never traces need not wait for this import
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    span = ReadableSpan(
        name=name,
        context=own,
        parent=parent,
        resource=provider.resource,
        attributes=attributes,
        links=links,
        kind=SpanKind.INTERNAL,
        instrumentation_scope=InstrumentationScope(names.INSTRUMENTATION),
        status=Status(StatusCode.UNSET) if description is None else Status(StatusCode.ERROR, description),
        start_time=start_ns,
        end_time=end_ns,
    )
    with suppress(Exception):  # a span is never worth what it tells of
        provider._active_span_processor.on_end(span)  # noqa: SLF001 - the only door for a span that already has its ids
