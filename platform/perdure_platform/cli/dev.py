"""`perdure dev`: everything in one process, for the first hour with Perdure and for every day's work on workflows."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from perdure._replay.registry import Registry
from perdure_platform.cli.connection import opened_log
from perdure_platform.cli.exits import run
from perdure_platform.cli.options import (
    DEFAULT_LOG,
    DEFAULT_STORE,
    CachedRuns,
    LogUrl,
    MaxConcurrentActivities,
    Namespace,
    RegistryName,
    Retention,
    StoreDirectory,
    TokenKeys,
    duration,
)
from perdure_platform.cli.serving import code_names, owner_limits, running_owner, running_worker, until_stopped, user_registry, watch
from perdure_platform.cli.store_directory import held_directory
from perdure_platform.config import DEFAULT_LIMITS


def dev(
    registry_name: RegistryName,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    store: StoreDirectory = DEFAULT_STORE,
    cached_runs: CachedRuns = DEFAULT_LIMITS.cached_runs_max,
    max_concurrent_activities: MaxConcurrentActivities = None,
    retention: Retention = "",
    token_keys: TokenKeys = None,
) -> None:
    """Run log, owner and worker in one process until Ctrl-C. Nothing else needs to be installed or started.

    What was started before and has not ended goes on where it was.
    """

    limits = owner_limits(duration("--retention", retention), cached_runs=cached_runs)

    async def work() -> None:
        registry = user_registry(registry_name)
        watch("dev")
        with opened_log(log_url, namespace) as (log, name), held_directory(Path(store)) as directory:
            async with (
                running_owner(log, name, registry, directory, limits, token_keys) as running,
                running_worker(log, name, registry, max_concurrent_activities) as task,
            ):
                typer.echo(
                    _banner(
                        registry_name,
                        registry,
                        log.url,
                        name,
                        directory,
                        "" if log_url == DEFAULT_LOG else f" --log {shlex.quote(log.url)}",
                    )
                )
                await until_stopped(running, task)
            typer.echo("stopped; everything is in the log and goes on with the next start")

    run(work(), log_url)


def _banner(registry_name: str, registry: Registry, url: str, namespace: str, store: Path, target: str) -> str:
    workflows, activities = code_names(registry)
    first = workflows[0] if workflows else "TYPE"
    return f"""\
Perdure runs {registry_name}; Ctrl-C stops it
  workflows   {", ".join(workflows) or "none"}
  activities  {", ".join(activities) or "none"}, from task queue {registry.task_queue!r}
  log         {url}, namespace {namespace!r}
  store       {store} (derived from the log; deleting it loses nothing)
In another terminal, in this directory:
  perdure workflow start {shlex.quote(first)} --task-queue {shlex.quote(registry.task_queue)} --input JSON --wait{target}
  perdure workflow list{target}
"""
