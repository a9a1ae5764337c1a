"""Switches export on where the standard OTEL_* variables ask for it."""

from __future__ import annotations

import atexit
import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_ASKING = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def setup_from_environment(role: str) -> bool:
    """Export spans by OTLP over HTTP if the environment names an endpoint (or OTEL_TRACES_EXPORTER=otlp); whether it does.

    The service is called `perdure-<role>` unless OTEL_SERVICE_NAME says otherwise. A provider that is already there is left alone.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or isinstance(trace.get_tracer_provider(), TracerProvider):
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "")
    if exporter != "otlp" and (exporter or not any(os.environ.get(name) for name in _ASKING)):
        return False
    attributes = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"perdure-{role}"}
    provider = TracerProvider(resource=Resource.create(attributes))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    atexit.register(provider.shutdown)
    return True
