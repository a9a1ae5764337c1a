"""The `perdure` command: its groups, and nothing else."""

from __future__ import annotations

import typer

from perdure_platform.cli import bench, dead_letters, dev, namespace, owner, partition, worker, workflow
from perdure_platform.cli.exits import EXIT_CODES_HELP

app = typer.Typer(
    help="Durable execution on Kafka: workflows are ordinary Python functions that survive crashes.",
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("dev", help="Run log, owner and worker in one process: the way to start.")(dev.dev)
app.command("owner", help="Run the workflow code of the partitions that fall to this process.")(owner.owner)
app.command("worker", help="Run activities.")(worker.worker)
app.add_typer(workflow.commands, name="workflow", help="Start workflows, talk to them and look at them.")
app.add_typer(namespace.commands, name="namespace", help="Create a namespace, or look at its topics.")
app.add_typer(partition.commands, name="partition", help="Look at partitions, verify them against the log, rebuild them.")
app.add_typer(dead_letters.commands, name="dead-letters", help="List what could not be used, and send it again.")
app.add_typer(bench.commands, name="bench", help="Measure.")


def main() -> None:
    """Entry point of the `perdure` script."""
    app()


if __name__ == "__main__":
    main()
