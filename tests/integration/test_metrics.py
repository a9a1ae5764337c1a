"""The metrics of design.md 9 as an exporter sees them, from a namespace that works and a worker that has something to do."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator

import opentelemetry.metrics
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from kit.activity_bench import Bench
from kit.scripted_owner import ScriptedOwner, eventually
from kit.world import NAMESPACE, STEP_MS, World, open_account, transfer
from perdure import activity
from perdure._log.memory import MemoryLog, MemoryMedium
from perdure._telemetry import metrics, names
from perdure_schemas.commands import StartWorkflow

ABOUT = {"namespace": NAMESPACE, "partition": 0}


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """Reads our instruments, made anew on a provider of this test's own; the process' provider stays as it is."""
    found = InMemoryMetricReader()
    provider = MeterProvider([found], shutdown_on_exit=False)
    with monkeypatch.context() as patch:
        patch.setattr(opentelemetry.metrics, "get_meter", provider.get_meter)
        importlib.reload(metrics)
    yield found
    importlib.reload(metrics)
    provider.shutdown()


def points(reader: InMemoryMetricReader, name: str, **about: object) -> list[float]:
    """The values under a name whose attributes are at least these; of a histogram its sum."""
    data = reader.get_metrics_data()  # None where nothing at all is there
    return [
        point.sum if hasattr(point, "sum") else point.value
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
        if about.items() <= dict(point.attributes or {}).items()
    ]


def test_an_owner_shows_its_latencies_its_cache_its_lag_and_what_does_not_count(reader: InMemoryMetricReader) -> None:
    world = World(partitions=1)
    process = world.start()
    for account in ("account-0", "account-1"):
        world.ask(account, open_account())
    world.ask("transfer-1", transfer("account-0", "account-1", 2))
    world.run_until_done()
    assert points(reader, names.COMMIT_LATENCY, **ABOUT)[0] >= STEP_MS
    assert points(reader, names.END_TO_END_DELAY, **ABOUT)[0] >= STEP_MS
    assert points(reader, names.ACTIVATION_TIME, namespace=NAMESPACE)[0] > 0
    assert points(reader, names.CACHE_LOOKUPS, **ABOUT, hit=True)[0] > points(reader, names.CACHE_LOOKUPS, **ABOUT, hit=False)[0] >= 3
    assert points(reader, names.CACHED_RUNS, **ABOUT) == [2], "the transfer is closed, and closed runs hold no places"
    assert points(reader, names.IN_FLIGHT, **ABOUT) == points(reader, names.LAG, **ABOUT) == [0]
    assert points(reader, names.DEAD_RECORDS) == []

    last = world.medium.read(f"{NAMESPACE}.history", 0, 0, 10_000)[-1]
    world.medium.append(f"{NAMESPACE}.history", 0, last.key, last.value)
    world.paused.add(process.name)
    world.ask("brief-1", StartWorkflow("SimBrief", "sim"))
    world.clients()
    assert points(reader, names.LAG, **ABOUT) == [1]
    world.paused.clear()
    world.run_until_done()
    assert points(reader, names.DEAD_RECORDS, **ABOUT, cause="copy") == [1]

    process.node.close(0)
    assert points(reader, names.LAG) == points(reader, names.IN_FLIGHT) == points(reader, names.CACHED_RUNS) == []


async def test_a_worker_shows_what_it_has_taken_and_not_finished(reader: InMemoryMetricReader) -> None:
    released = asyncio.Event()

    @activity.defn
    async def wait() -> None:
        await released.wait()

    log = MemoryLog(MemoryMedium())
    with ScriptedOwner(log) as owner:
        bench = Bench(log, owner)
        async with bench.worker(wait, max_concurrent_activities=2):
            for _ in range(3):
                bench.dispatch("wait")
            await eventually(lambda: points(reader, names.QUEUE_DEPTH) == [3], "three tasks are taken")
            released.set()
            await eventually(lambda: points(reader, names.QUEUE_DEPTH) == [0], "all are done")
    log.close()
    assert points(reader, names.QUEUE_DEPTH) == []
