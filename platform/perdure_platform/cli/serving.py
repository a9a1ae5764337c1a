"""Keeps an owner, a worker or both up until a signal or a failure, and takes them down in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import typer

from perdure._activity_worker import ActivityWorker
from perdure._channel import Channel
from perdure._log.port import Log
from perdure._replay.registry import Registry, load_registry
from perdure._replay.runtime import CodeHost
from perdure._telemetry.logs import configure_logging
from perdure._telemetry.setup import setup_from_environment
from perdure.workflow._activities import ACTIVITY_DEFINITION
from perdure.workflow._definition import WorkflowDefinition
from perdure_platform.cli.exits import ExitCode, fail
from perdure_platform.cli.garbage import collect_seldom
from perdure_platform.config import DEFAULT_LIMITS, SESSION_TIMEOUT_MS, OwnerLimits
from perdure_platform.node.embedded import EmbeddedOwner

HAND_OVER_TIMEOUT_MS = 10_000


def user_registry(name: str) -> Registry:
    """The registry `module:attribute`, looked for in the current directory first. Raises RegistryError."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    return load_registry(name)


def code_names(registry: Registry) -> tuple[list[str], list[str]]:
    """The names of the workflows and of the activities, sorted; those that take every name are shown as dynamic."""
    workflows = (WorkflowDefinition.must_of(one).name or "(dynamic)" for one in registry.workflows)
    definitions = (
        getattr(one, ACTIVITY_DEFINITION, None) or getattr(type(one).__call__, ACTIVITY_DEFINITION) for one in registry.activities
    )
    return sorted(workflows), sorted(definition.name or "(dynamic)" for definition in definitions)


def watch(role: str) -> None:
    """Log to stderr as PERDURE_LOG_LEVEL and PERDURE_LOG_FORMAT (text or json) say, and export where the OTEL_* variables ask for it."""
    level = os.environ.get("PERDURE_LOG_LEVEL", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        fail(ExitCode.USAGE, f"PERDURE_LOG_LEVEL is {level!r}", f"use one of {', '.join(logging.getLevelNamesMapping())}")
    style = os.environ.get("PERDURE_LOG_FORMAT", "text").lower()
    if style not in ("text", "json"):
        fail(ExitCode.USAGE, f"PERDURE_LOG_FORMAT is {style!r}", "use text or json")
    configure_logging(level, as_json=style == "json")
    setup_from_environment(role)


def owner_limits(
    retention: timedelta | None, store_memory_bytes: int | None = None, cached_runs: int = DEFAULT_LIMITS.cached_runs_max
) -> OwnerLimits:
    """The limits of an owner with this retention; None keeps everything. Checkpoints follow each other eight times as often."""
    retention_ms = round(retention.total_seconds() * 1000) if retention is not None else 0
    interval_ms = min(max(retention_ms // 8, 100), DEFAULT_LIMITS.checkpoint_interval_ms)
    memory_bytes = store_memory_bytes or DEFAULT_LIMITS.store_memory_bytes
    return replace(
        DEFAULT_LIMITS,
        retention_ms=retention_ms,
        checkpoint_interval_ms=interval_ms,
        store_memory_bytes=memory_bytes,
        cached_runs_max=cached_runs,
    )


def session_timeout_of(timeout: timedelta | None) -> int:
    """Milliseconds; the default for None. Raises typer.BadParameter for less than a second, in which no owner can be heard of."""
    if timeout is None:
        return SESSION_TIMEOUT_MS
    if timeout < timedelta(seconds=1):
        raise typer.BadParameter("at least 1s", param_hint="--session-timeout")
    return round(timeout.total_seconds() * 1000)


@asynccontextmanager
async def running_owner(
    log: Log,
    namespace: str,
    registry: Registry,
    store: Path,
    limits: OwnerLimits,
    token_keys: Path | None,
    session_timeout_ms: int = SESSION_TIMEOUT_MS,
) -> AsyncIterator[EmbeddedOwner]:
    """An owner that serves; at the end it hands its partitions over."""
    collect_seldom()
    host = CodeHost(
        registry.workflows,
        data_converter=registry.data_converter,
        workflow_failure_exception_types=registry.workflow_failure_exception_types,
    )
    owner = EmbeddedOwner(
        log, namespace, host, store_directory=store, limits=limits, session_timeout_ms=session_timeout_ms, token_keys=token_keys
    )
    owner.start()
    try:
        yield owner
    finally:
        await owner.stop(HAND_OVER_TIMEOUT_MS)


@asynccontextmanager
async def running_worker(
    log: Log, namespace: str, registry: Registry, max_concurrent_activities: int | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """A worker that takes tasks; at the end it finishes what it has taken. The registry says how many at once if nobody else does."""
    channel = await Channel.open(log, namespace)
    worker = ActivityWorker(
        channel,
        registry.task_queue,
        registry.activities,
        data_converter=registry.data_converter,
        executor=registry.activity_executor,
        max_concurrent_activities=max_concurrent_activities or registry.max_concurrent_activities,
    )
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        await worker.shutdown()
        await asyncio.wait([task])
        await channel.close()


async def until_stopped(owner: EmbeddedOwner | None, worker: asyncio.Task[None] | None) -> None:
    """Return at SIGTERM or SIGINT; raise what the owner or the worker failed with, should one fail before."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    while not stop.is_set():
        if owner is not None and owner.failure is not None:
            raise owner.failure
        if worker is not None and worker.done():
            await worker
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.2)
