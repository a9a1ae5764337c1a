"""Spans with ids that follow from the log, context in headers, metrics, and the switch in the environment."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from kit.traces import Traces, collected, seen
from perdure._telemetry import metrics, spans
from perdure._telemetry.context import extract, inject, span_context
from perdure_schemas.commands import (
    CancelWorkflow,
    CommandBody,
    DescribeWorkflow,
    QueryWorkflow,
    SignalWorkflow,
    StartWorkflow,
    TerminateWorkflow,
)
from perdure_schemas.tracing import child_trace_parent, derived_span_id, run_span_id

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-1] + "0"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def traces() -> Iterator[Traces]:
    with collected() as found:
        yield found


def close_run(trace_parent: str = PARENT, failed: bool = False, continued_run_id: str = "") -> None:
    spans.run_closed(trace_parent, "Transfer", "t-1", "run-1", 1_000, 3_000, "failed" if failed else "completed", failed, continued_run_id)


def attempt(trace_parent: str = PARENT, number: int = 1) -> object:
    return spans.activity_attempt(trace_parent, "Withdraw", "t-1", "run-1", "1", 5, number)


# -- context in headers


def test_the_current_span_travels_in_headers_and_back(traces: Traces) -> None:
    with traces.provider.get_tracer("test").start_as_current_span("caller") as caller:
        headers = inject()
    found = trace.get_current_span(extract((("other", b"\xff"), *headers))).get_span_context()
    assert [name for name, _ in headers] == ["traceparent"]
    assert (found.trace_id, found.span_id) == (caller.get_span_context().trace_id, caller.get_span_context().span_id)


def test_trace_state_travels_too() -> None:
    headers = (("traceparent", PARENT.encode()), ("tracestate", b"vendor=1"))
    token = context.attach(extract(headers))
    try:
        assert dict(inject()) == dict(headers)
    finally:
        context.detach(token)


@given(st.one_of(st.text(max_size=60), st.sampled_from(["", PARENT[:-1], "00-" + "0" * 32 + "-b7ad6b7169203331-01", "ff" + PARENT[2:]])))
def test_what_is_no_traceparent_names_no_span(text: str) -> None:
    assert span_context(text) is None
    assert not trace.get_current_span(extract((("traceparent", text.encode()),))).get_span_context().is_valid


def test_outside_of_a_span_there_are_no_headers() -> None:
    assert inject() == ()


# -- spans of what the log records


def test_a_run_is_a_child_of_the_call_that_started_it(traces: Traces) -> None:
    close_run()
    (span,) = traces.finished()
    one = seen(span)
    assert (one.name, one.trace_id, one.parent_id, one.span_id) == ("RunWorkflow:Transfer", TRACE_ID, PARENT[36:52], run_span_id("run-1"))
    assert (span.start_time, span.end_time) == (1_000_000_000, 3_000_000_000)
    assert span.attributes == {"temporalWorkflowID": "t-1", "temporalRunID": "run-1", "perdure.status": "completed"}
    assert span.status.status_code is StatusCode.UNSET
    assert span.resource is traces.provider.resource


def test_emitting_again_gives_the_same_span_and_other_runs_others(traces: Traces) -> None:
    for _ in range(2):
        close_run()
        spans.activated(PARENT, "Transfer", "t-1", "run-1", 4, 1_000, 1_001)
    spans.activated(PARENT, "Transfer", "t-1", "run-1", 9, 1_000, 1_001)
    spans.activated(PARENT, "Transfer", "t-1", "run-2", 4, 1_000, 1_001)
    found = traces.seen()
    assert found[:2] == found[2:4]
    assert len({one.span_id for one in found}) == 4
    assert {one.parent_id for one in found if one.name.startswith("ActivateWorkflow")} == {run_span_id("run-1"), run_span_id("run-2")}


def test_a_failed_run_is_an_error_and_a_continued_one_links_to_the_run_before(traces: Traces) -> None:
    close_run(failed=True, continued_run_id="run-0")
    (span,) = traces.finished()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "failed")
    (link,) = span.links
    assert trace.format_span_id(link.context.span_id) == run_span_id("run-0")
    assert trace.format_trace_id(link.context.trace_id) == TRACE_ID


def test_a_run_that_ends_before_it_starts_takes_no_time(traces: Traces) -> None:
    spans.run_closed(PARENT, "Transfer", "t-1", "run-1", 3_000, 0, "completed", False)
    (span,) = traces.finished()
    assert span.start_time == span.end_time


@pytest.mark.parametrize("trace_parent", ["", UNSAMPLED, "nonsense"])
def test_without_a_sampled_trace_there_are_no_spans(traces: Traces, trace_parent: str) -> None:
    close_run(trace_parent)
    with attempt(trace_parent):  # type: ignore[attr-defined]
        pass
    assert traces.finished() == []


def test_the_context_of_a_child_needs_no_exporter() -> None:
    assert child_trace_parent(PARENT, run_span_id("run-1")) == f"00-{TRACE_ID}-{run_span_id('run-1')}-01"
    assert child_trace_parent("", run_span_id("run-1")) == ""


# -- attempts


def test_spans_of_an_activity_belong_to_its_attempt(traces: Traces) -> None:
    with attempt():  # type: ignore[attr-defined]
        headers = dict(inject())
        with traces.provider.get_tracer("user").start_as_current_span("inside"):
            pass
    assert not trace.get_current_span().get_span_context().is_valid
    inside, own = traces.seen()
    assert (own.name, own.trace_id, own.parent_id) == ("RunActivity:Withdraw", TRACE_ID, PARENT[36:52])
    assert own.span_id == derived_span_id("run-1", "attempt", 5, 1) == inside.parent_id
    assert headers["traceparent"].decode() == child_trace_parent(PARENT, own.span_id)


def test_an_attempt_that_raises_is_an_error_and_the_next_another_span(traces: Traces) -> None:
    with pytest.raises(ValueError, match="no money"), attempt():  # type: ignore[attr-defined]
        raise ValueError("no money")
    with attempt(number=2):  # type: ignore[attr-defined]
        pass
    first, second = traces.finished()
    assert (first.status.status_code, first.status.description) == (StatusCode.ERROR, "ValueError: no money")
    assert second.status.status_code is StatusCode.UNSET
    assert seen(first).span_id != seen(second).span_id


# -- calls of the client


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (StartWorkflow("Transfer", "bank"), "StartWorkflow:Transfer"),
        (StartWorkflow("Transfer", "bank", signal=SignalWorkflow("go")), "SignalWithStartWorkflow:Transfer"),
        (SignalWorkflow("go"), "SignalWorkflow:go"),
        (QueryWorkflow("balance"), "QueryWorkflow:balance"),
        (CancelWorkflow(), "CancelWorkflow"),
        (TerminateWorkflow(), "TerminateWorkflow"),
    ],
)
def test_a_call_is_a_span_that_its_record_carries(traces: Traces, body: CommandBody, name: str) -> None:
    with spans.client_call(body, "t-1"):
        headers = dict(inject())
    (one,) = traces.seen()
    assert one.name == name
    assert headers["traceparent"].decode().startswith(f"00-{one.trace_id}-{one.span_id}-")


def test_a_call_that_only_looks_is_no_span(traces: Traces) -> None:
    with spans.client_call(DescribeWorkflow(), "t-1"):
        pass
    assert traces.finished() == []


def test_what_the_client_does_not_sample_is_sampled_nowhere() -> None:
    with collected(ALWAYS_OFF) as traces:
        with spans.client_call(SignalWorkflow("go"), "t-1"):
            parent = dict(inject())["traceparent"].decode()
        close_run(parent)
        assert int(parent[-2:], 16) & 1 == 0
        assert traces.finished() == []


def test_without_a_provider_nothing_costs_more_than_a_few_microseconds() -> None:
    """The promise is below one; the bound has room for a busy machine, and none for a look at the environment or an import."""
    body = SignalWorkflow("go")

    def call() -> None:
        with spans.client_call(body, "t-1"), attempt():  # type: ignore[attr-defined]
            pass
        inject()
        close_run()
        metrics.DEAD_RECORDS.add(1)
        metrics.COMMIT_LATENCY_MS.record(1.0)

    assert not spans.is_enabled()
    assert min(_microseconds(call) for _ in range(20)) < 10


def _microseconds(call: Callable[[], None], times: int = 500) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times * 1e6


# -- metrics


def test_metrics_arrive_under_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(metrics, "_meter", provider.get_meter("perdure"))
    gauge = metrics.Gauge("perdure.partition.lag", "{record}", "")
    stop = gauge.read_from(lambda: [(7, {"partition": 1})])
    gauge.read_from(lambda: [(9, {"partition": 2})])
    metrics._histogram_ms("perdure.commit.latency", "").record(4.0, {"partition": 1})
    assert exported(reader) == {("perdure.partition.lag", 1): 7, ("perdure.partition.lag", 2): 9, ("perdure.commit.latency", 1): 4.0}
    stop()
    stop()
    assert ("perdure.partition.lag", 1) not in exported(reader)
    provider.shutdown()


def exported(reader: InMemoryMetricReader) -> dict[tuple[str, object], float]:
    found = reader.get_metrics_data()
    assert found is not None
    return {
        (metric.name, (point.attributes or {}).get("partition")): point.sum if hasattr(point, "sum") else point.value
        for resource in found.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


# -- the switch


PROGRAM = """
from perdure._telemetry import metrics, spans
from perdure._telemetry.setup import setup_from_environment
from perdure_schemas.commands import SignalWorkflow
print(setup_from_environment("owner"))
with spans.client_call(SignalWorkflow("go"), "t-1"):
    metrics.DEAD_RECORDS.add(1)
"""


class Collector(HTTPServer):
    """Takes what is exported."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Collecting)
        self.received: dict[str, bytes] = {}


class _Collecting(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.received[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def program(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60, check=True)


def test_an_endpoint_in_the_environment_exports_all_before_the_end(collector: Collector) -> None:
    done = program(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.server_port}")
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert b"SignalWorkflow:go" in collector.received["/v1/traces"]
    assert b"perdure-owner" in collector.received["/v1/traces"]
    assert b"perdure.records.dead" in collector.received["/v1/metrics"]


def test_the_service_keeps_the_name_that_the_environment_gives(collector: Collector) -> None:
    program(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.server_port}", OTEL_SERVICE_NAME="bank", OTEL_METRICS_EXPORTER="none")
    assert b"bank" in collector.received["/v1/traces"]
    assert b"perdure-owner" not in collector.received["/v1/traces"]
    assert "/v1/metrics" not in collector.received


def test_disabled_is_disabled(collector: Collector) -> None:
    done = program(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.server_port}", OTEL_SDK_DISABLED="true")
    assert (done.stdout, done.stderr, collector.received) == ("False\n", "", {})


@pytest.mark.parametrize("variable", ["OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL"])
def test_what_cannot_be_set_up_is_a_warning(variable: str) -> None:
    done = program(**{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9", variable: "carrier-pigeon"})
    assert done.stdout == "False\n"
    assert "traces are not exported" in done.stderr
    assert "carrier-pigeon" in done.stderr
    assert "Traceback" not in done.stderr


def test_spans_on_the_console_need_no_collector() -> None:
    assert "SignalWorkflow:go" in program(OTEL_TRACES_EXPORTER="console").stdout


def test_nothing_is_imported_or_said_where_nobody_asks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + "import sys\nprint('opentelemetry.sdk' in sys.modules)"],
        env={},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("False\nFalse\n", "")
