"""Switches export on where the standard OTEL_* variables ask for it."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import Any

from opentelemetry import metrics

from perdure._telemetry.provider import current_provider

_logger = logging.getLogger("perdure.telemetry")

_PACKAGES = {"http/protobuf": "opentelemetry.exporter.otlp.proto.http", "grpc": "opentelemetry.exporter.otlp.proto.grpc"}


def setup_from_environment(role: str) -> bool:
    """Export spans and metrics if the environment asks for it; whether spans are exported.

    It asks by naming an OTLP endpoint, or by OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER (otlp, console, none). OTEL_SDK_DISABLED=true
    switches everything off. The service is called `perdure-<role>` unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say otherwise.
    Providers that are there already are left alone. What cannot be set up is a warning, never an error: tracing must not stop work.
    """
    if _value("OTEL_SDK_DISABLED") == "true":
        return False
    if (how := _wanted("METRICS")) and not _has_meter_provider():
        _try("metrics", _set_up_metrics, how, role)
    if (how := _wanted("TRACES")) and current_provider() is None:
        return _try("traces", _set_up_traces, how, role)
    return False


def _wanted(signal: str) -> str:
    """`otlp`, `console`, or nothing."""
    chosen = _value(f"OTEL_{signal}_EXPORTER")
    if chosen:
        return "" if chosen == "none" else chosen
    return "otlp" if _value("OTEL_EXPORTER_OTLP_ENDPOINT") or _value(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") else ""


def _try(signal: str, set_up: Any, how: str, role: str) -> bool:
    try:
        set_up(how, role)
    except (ImportError, ValueError, OSError) as error:
        _logger.warning("%s are not exported: %s. Mend the OTEL_* variables, or set OTEL_SDK_DISABLED=true", signal, error)
        return False
    return True


def _set_up_traces(how: str, role: str) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    exporter = ConsoleSpanExporter() if how == "console" else _otlp("TRACES", how, "trace_exporter", "OTLPSpanExporter")
    provider = TracerProvider(resource=_resource(role))  # it flushes and shuts down at exit by itself
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def _set_up_metrics(how: str, role: str) -> None:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader

    exporter = ConsoleMetricExporter() if how == "console" else _otlp("METRICS", how, "metric_exporter", "OTLPMetricExporter")
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(exporter)], resource=_resource(role)))


def _otlp(signal: str, how: str, module: str, name: str) -> Any:
    if how != "otlp":
        raise ValueError(f"OTEL_{signal}_EXPORTER is {how!r}; otlp, console and none are known")
    protocol = _value(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL") or _value("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if protocol not in _PACKAGES:
        raise ValueError(f"the OTLP protocol {protocol!r} is none of {', '.join(_PACKAGES)}")
    return getattr(import_module(f"{_PACKAGES[protocol]}.{module}"), name)()


def _resource(role: str) -> Any:
    from opentelemetry.sdk.resources import Resource

    is_named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create({} if is_named else {"service.name": f"perdure-{role}"})


def _has_meter_provider() -> bool:
    return getattr(metrics._internal, "_METER_PROVIDER", None) is not None  # noqa: SLF001 - asking aloud would make one


def _value(name: str) -> str:
    return os.environ.get(name, "").strip().lower()
