"""The client's side of a measurement: starts transfers, waits for their results, and counts."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from perdure.client import Client
from perdure_platform.ops.bench import interpreter
from perdure_platform.ops.bench.code import TASK_QUEUE, BenchTransfer, Transfer
from perdure_platform.ops.bench.processes import Crew

FIRST_RESULT_SECONDS = 120
IDLE_TRANSFERS = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured. `warm_up` transfers go before and are not counted."""

    workflows: int
    in_flight: int
    warm_up: int


@dataclass(slots=True)
class Tally:
    """Latencies of the transfers that completed, and the errors of those that did not."""

    latencies_ms: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def quantile_ms(self, share: float) -> float:
        """The latency that `share` of the transfers did not exceed; 0 without any."""
        ordered = sorted(self.latencies_ms)
        return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 2) if ordered else 0.0


async def measure(client: Client, crew: Crew, plan: Plan, say: Callable[[str], None]) -> dict[str, object]:
    """Warm up, measure one transfer at a time, then many at once; returns the figures."""
    say(interpreter.this_one()[0])
    say("waiting for the first transfer …")
    await _first(client, crew)
    say(f"warming up with {plan.warm_up} transfers …")
    await _load(client, crew, plan.warm_up, plan.in_flight)
    say(f"{IDLE_TRANSFERS} transfers one after the other …")
    idle = await _load(client, crew, IDLE_TRANSFERS, 1)
    say(f"{plan.workflows} transfers, {plan.in_flight} in flight …")
    cpu_before, began = crew.cpu_seconds(), time.perf_counter()
    loaded = await _load(client, crew, plan.workflows, plan.in_flight, say)
    seconds, cpu_after = time.perf_counter() - began, crew.cpu_seconds()
    completed = len(loaded.latencies_ms)
    cpu = {role: round(cpu_after[role] - cpu_before[role], 2) for role in cpu_after}
    return {
        "workflows_per_s": round(completed / seconds, 1),
        "p50_ms": loaded.quantile_ms(0.50),
        "p99_ms": loaded.quantile_ms(0.99),
        "idle_p50_ms": idle.quantile_ms(0.50),
        "idle_p99_ms": idle.quantile_ms(0.99),
        "seconds": round(seconds, 2),
        "workflows": plan.workflows,
        "in_flight": plan.in_flight,
        "completed": completed,
        "failed": sum(loaded.errors.values()),
        "errors": dict(loaded.errors + idle.errors),
        "cpu_seconds": cpu,
        "owner_cpu_ms_per_workflow": round(1000 * cpu["owner"] / completed, 3) if completed else None,
        "cpus": len(os.sched_getaffinity(0)),
        "interpreter": interpreter.this_one()[0],
    }


async def _first(client: Client, crew: Crew) -> None:
    """One transfer, so that owners and workers have found each other. Raises BenchFailed, TimeoutError."""
    task = asyncio.create_task(_transfer(client, f"first-{uuid.uuid4().hex}"))
    try:
        async with asyncio.timeout(FIRST_RESULT_SECONDS):
            while not task.done():
                crew.check()
                await asyncio.wait([task], timeout=0.2)
            await task
    finally:
        task.cancel()


async def _load(client: Client, crew: Crew, count: int, in_flight: int, say: Callable[[str], None] | None = None) -> Tally:
    tally = Tally()
    prefix = uuid.uuid4().hex[:12]
    numbers = iter(range(count))

    async def one_after_the_other() -> None:
        for number in numbers:
            began = time.perf_counter()
            try:
                await _transfer(client, f"{prefix}-{number}")
                tally.latencies_ms.append((time.perf_counter() - began) * 1000)
            except Exception as error:  # noqa: BLE001 (whatever goes wrong is counted and shown)
                tally.errors[type(error).__name__] += 1

    lanes = [asyncio.create_task(one_after_the_other()) for _ in range(min(in_flight, count))]
    pending = set(lanes)
    while pending:
        _, pending = await asyncio.wait(pending, timeout=2.0)
        crew.check()
        if say and pending:
            say(f"  {len(tally.latencies_ms)} of {count}")
    return tally


async def _transfer(client: Client, workflow_id: str) -> None:
    transfer = Transfer("account-1", "account-2", 100)
    await client.execute_workflow(BenchTransfer.run, transfer, id=workflow_id, task_queue=TASK_QUEUE)
