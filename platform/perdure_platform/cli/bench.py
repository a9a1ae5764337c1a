"""`perdure bench`: throughput and latency of whole processes."""

from __future__ import annotations

from typing import Annotated

import typer

from perdure_platform.cli.connection import connected, opened_log
from perdure_platform.cli.exits import ExitCode, run
from perdure_platform.cli.options import LogUrl
from perdure_platform.cli.output import print_json
from perdure_schemas.topics import namespace_topics

commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@commands.callback()
def group() -> None:
    """Measure."""


@commands.command("transfer")
def transfer(
    log_url: LogUrl,
    workflows: Annotated[int, typer.Option(min=1, help="How many transfers are measured.")] = 2000,
    in_flight: Annotated[int, typer.Option(min=1, help="How many of them run at once.")] = 200,
    owners: Annotated[int, typer.Option(min=1, help="Owner processes.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    partitions: Annotated[int, typer.Option(min=1, max=4096, help="Of the namespace, if it is not there yet.")] = 4,
    warm_up: Annotated[int, typer.Option(min=1, help="Transfers that go before and are not counted.")] = 500,
    namespace: Annotated[str, typer.Option(help="Its topics are made if absent, and stay.")] = "bench",
    broker_process_id: Annotated[int, typer.Option("--broker-pid", help="Count this process's CPU time as the broker's.")] = 0,
) -> None:
    """Measure a workflow of two activities that do nothing: progress on stderr, one line of JSON on stdout.

    Owners and workers run as processes of their own; this process is the client.
    """
    from perdure_platform.ops.bench.load import Plan, measure  # the code that is measured is no burden to other commands
    from perdure_platform.ops.bench.processes import crew

    async def work() -> None:
        with opened_log(log_url) as (log, _):
            log.create_topics(namespace_topics(namespace, partitions), 30_000)
        with crew(log_url, namespace, owners, workers, broker_process_id) as running:
            async with connected(log_url, namespace) as client:
                figures = await measure(client, running, Plan(workflows, in_flight, warm_up), lambda text: typer.echo(text, err=True))
        print_json({**figures, "owners": owners, "workers": workers, "log": log_url.partition(":")[0]})
        if figures["failed"]:
            raise typer.Exit(int(ExitCode.FAILED))

    run(work(), log_url)
