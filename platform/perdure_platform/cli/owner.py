"""`perdure owner`: a process that runs the workflow code of its partitions."""

from __future__ import annotations

from pathlib import Path

import typer

from perdure_platform.cli.connection import opened_log
from perdure_platform.cli.exits import run
from perdure_platform.cli.options import (
    DEFAULT_LOG,
    DEFAULT_STORE,
    CachedRuns,
    LogUrl,
    Namespace,
    RegistryName,
    Retention,
    SessionTimeout,
    StoreDirectory,
    StoreMemory,
    TokenKeys,
    duration,
    size_bytes,
)
from perdure_platform.cli.serving import code_names, owner_limits, running_owner, session_timeout_of, until_stopped, user_registry, watch
from perdure_platform.cli.store_directory import held_directory
from perdure_platform.config import DEFAULT_LIMITS


def owner(
    registry_name: RegistryName,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    store: StoreDirectory = DEFAULT_STORE,
    store_memory: StoreMemory = "",
    cached_runs: CachedRuns = DEFAULT_LIMITS.cached_runs_max,
    retention: Retention = "",
    session_timeout: SessionTimeout = "",
    token_keys: TokenKeys = None,
) -> None:
    """Run an owner until SIGTERM or Ctrl-C; it then hands its partitions over and exits with code 0.

    Start as many as you like, on one machine or several: they share the partitions of the namespace out among themselves.
    """

    limits = owner_limits(duration("--retention", retention), size_bytes("--store-memory", store_memory), cached_runs)
    session_timeout_ms = session_timeout_of(duration("--session-timeout", session_timeout))

    async def work() -> None:
        registry = user_registry(registry_name)
        watch("owner")
        with opened_log(log_url, namespace) as (log, name), held_directory(Path(store)) as directory:
            async with running_owner(log, name, registry, directory, limits, token_keys, session_timeout_ms) as running:
                workflows, _ = code_names(registry)
                typer.echo(f"owner of namespace {name!r} at {log.url}: {', '.join(workflows)}; store in {directory}", err=True)
                await until_stopped(running, None)
            typer.echo("handed over; bye", err=True)

    run(work(), log_url)
