"""The `perdure` command: its groups, and nothing else."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from perdure_platform import __version__
from perdure_platform.cli import bench, dead_letters, dev, namespace, owner, partition, task_queue, worker, workflow
from perdure_platform.cli.exits import EXIT_CODES_HELP, until_reader_leaves


class Commands(TyperGroup):
    """The commands; each ends quietly where nobody reads its output any more."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """See click. Here help is printed."""
        with until_reader_leaves():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """See click."""
        with until_reader_leaves():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Commands,
    help="Durable execution on Kafka: workflows are ordinary Python functions that survive crashes.",
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"perdure {__version__}")
        raise typer.Exit


@app.callback()
def everywhere(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Durable execution on Kafka: workflows are ordinary Python functions that survive crashes."""
    del version


app.command("dev", help="Run log, owner and worker in one process: the way to start.")(dev.dev)
app.command("owner", help="Run the workflow code of the partitions that fall to this process.")(owner.owner)
app.command("worker", help="Run activities.")(worker.worker)
app.add_typer(workflow.commands, name="workflow", help="Start workflows, talk to them and look at them.")
app.add_typer(namespace.commands, name="namespace", help="Create a namespace, or look at its topics.")
app.add_typer(partition.commands, name="partition", help="Look at partitions, verify them against the log, rebuild them.")
app.add_typer(task_queue.commands, name="task-queue", help="See who polls a task queue, and how much waits there.")
app.add_typer(dead_letters.commands, name="dead-letters", help="List what could not be used, and send it again.")
app.add_typer(bench.commands, name="bench", help="Measure.")


def main() -> None:
    """Entry point of the `perdure` script."""
    app()


if __name__ == "__main__":
    main()
