"""A tracer provider that keeps its spans in memory, for as long as a test runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler


@dataclass(frozen=True)
class Seen:
    """What a test compares of a span."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str


@dataclass(frozen=True)
class Traces:
    """The spans so far."""

    provider: TracerProvider
    exporter: InMemorySpanExporter

    def finished(self) -> list[ReadableSpan]:
        """In the order in which they ended."""
        return list(self.exporter.get_finished_spans())

    def seen(self) -> list[Seen]:
        """The same, as values."""
        return [seen(span) for span in self.finished()]

    def names(self) -> list[str]:
        """Their names."""
        return [span.name for span in self.finished()]


def seen(span: ReadableSpan) -> Seen:
    """A span as a value."""
    assert span.context is not None
    parent = trace.format_span_id(span.parent.span_id) if span.parent else ""
    return Seen(span.name, trace.format_trace_id(span.context.trace_id), trace.format_span_id(span.context.span_id), parent)


@contextmanager
def collected(sampler: Sampler = ALWAYS_ON) -> Iterator[Traces]:
    """The API sets its provider once per process and for good; tests need it taken back."""
    before = trace._TRACER_PROVIDER
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace._TRACER_PROVIDER = provider
    try:
        yield Traces(provider, exporter)
    finally:
        trace._TRACER_PROVIDER = before
        provider.shutdown()
