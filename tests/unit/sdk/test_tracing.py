"""One transfer is one connected trace, whoever emits it and however often (design.md 9)."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from perdure import activity, workflow
from perdure._telemetry.setup import setup_from_environment
from perdure.client import Client
from perdure.worker import Worker
from perdure_schemas.tracing import run_span_id

MINUTE = timedelta(minutes=1)


@activity.defn
async def traced_withdraw() -> str:
    with trace.get_tracer("user").start_as_current_span("user's own"):
        return "taken"


@activity.defn
async def traced_deposit() -> str:
    return "given"


@workflow.defn
class TracedTransfer:
    def __init__(self) -> None:
        self.may_go_on = False

    @workflow.run
    async def run(self) -> str:
        taken = await workflow.execute_activity(traced_withdraw, start_to_close_timeout=MINUTE)
        await workflow.wait_condition(lambda: self.may_go_on)
        return taken + await workflow.execute_activity(traced_deposit, start_to_close_timeout=MINUTE)

    @workflow.signal
    def go_on(self) -> None:
        self.may_go_on = True

    @workflow.query
    def waits(self) -> bool:
        return not self.may_go_on


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    processor = SimpleSpanProcessor(exporter)
    provider.add_span_processor(processor)
    yield exporter
    processor.shutdown()


def by_id(spans: tuple[ReadableSpan, ...]) -> dict[int, ReadableSpan]:
    return {span.context.span_id: span for span in spans if span.context is not None}


async def test_a_transfer_is_one_trace_unchanged_by_replay_and_takeover(exported: InMemorySpanExporter, tmp_path: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    parts = {"task_queue": "traced", "activities": [traced_withdraw, traced_deposit], "workflows": [TracedTransfer]}
    client = await Client.connect(url)
    async with Worker(client, store_directory=tmp_path / "first", **parts):  # type: ignore[arg-type]
        handle = await client.start_workflow(TracedTransfer.run, id="transfer", task_queue="traced")
        async with asyncio.timeout(30):
            while "traced_withdraw" not in str([span.name for span in exported.get_finished_spans()]):
                await handle.query(TracedTransfer.waits)
    before = by_id(exported.get_finished_spans())
    async with Worker(client, store_directory=tmp_path / "second", **parts):  # type: ignore[arg-type]
        assert await handle.query(TracedTransfer.waits), "the second owner has rebuilt and replayed the run"
        replayed = by_id(exported.get_finished_spans())
        new = {span.name for key, span in replayed.items() if key not in before} - {"QueryWorkflow:waits"}
        assert not new, "a takeover and a replay emit nothing of their own"
        await handle.signal(TracedTransfer.go_on)
        assert await handle.result() == "takengiven"
    await client.close()
    spans = by_id(exported.get_finished_spans())
    (start,) = (span for span in spans.values() if span.name == "StartWorkflow:TracedTransfer")
    assert start.context is not None
    mine = {key: span for key, span in spans.items() if span.context is not None and span.context.trace_id == start.context.trace_id}
    names = sorted(span.name for span in mine.values())
    assert names == [
        "ActivateWorkflow:TracedTransfer",
        "ActivateWorkflow:TracedTransfer",
        "ActivateWorkflow:TracedTransfer",
        "ActivateWorkflow:TracedTransfer",
        "RunActivity:traced_deposit",
        "RunActivity:traced_withdraw",
        "RunWorkflow:TracedTransfer",
        "StartWorkflow:TracedTransfer",
        "user's own",
    ]
    roots = [span for span in mine.values() if span.parent is None]
    assert roots == [start]
    for span in mine.values():
        assert span.parent is None or span.parent.span_id in mine, f"{span.name} hangs on nothing"
    assert int(run_span_id(handle.first_execution_run_id or ""), 16) in mine


def test_export_is_switched_on_by_the_standard_variables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    assert not setup_from_environment("owner")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not setup_from_environment("owner")
