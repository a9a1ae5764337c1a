"""`perdure worker`: a process that runs activities."""

from __future__ import annotations

import typer

from perdure_platform.cli.connection import opened_log
from perdure_platform.cli.exits import run
from perdure_platform.cli.options import DEFAULT_LOG, LogUrl, MaxConcurrentActivities, Namespace, RegistryName
from perdure_platform.cli.serving import code_names, running_worker, until_stopped, user_registry, watch


def worker(
    registry_name: RegistryName,
    max_concurrent_activities: MaxConcurrentActivities = None,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
) -> None:
    """Run the activities of one task queue until SIGTERM or Ctrl-C; those under way are finished first."""

    async def work() -> None:
        registry = user_registry(registry_name)
        watch("worker")
        with opened_log(log_url, namespace) as (log, name):
            async with running_worker(log, name, registry, max_concurrent_activities) as task:
                _, activities = code_names(registry)
                typer.echo(
                    f"worker of namespace {name!r} at {log.url}: {', '.join(activities)} from task queue {registry.task_queue!r}", err=True
                )
                await until_stopped(None, task)
            typer.echo("finished what was under way; bye", err=True)

    run(work(), log_url)
