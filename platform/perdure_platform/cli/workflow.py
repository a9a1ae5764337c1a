"""`perdure workflow`: what the client can do, for people and scripts."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar

import typer

from perdure._telemetry.terminal import harmless
from perdure.client import WorkflowFailureError, WorkflowHandle, WorkflowHistory
from perdure.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure_platform.cli.connection import connected
from perdure_platform.cli.description_text import print_description, status_text
from perdure_platform.cli.exits import ExitCode, fail, run, typed
from perdure_platform.cli.history_text import HistoryRows, history_rows
from perdure_platform.cli.options import (
    DEFAULT_LOG,
    AsJson,
    InputFiles,
    Inputs,
    LogUrl,
    Namespace,
    RunIdOption,
    WorkflowIdArgument,
    arguments,
    duration,
)
from perdure_platform.cli.output import (
    duration_text,
    print_fields,
    print_json,
    print_table,
    print_text,
    time_text,
)

commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
T = TypeVar("T")

NOTICE_SECONDS = 10.0
FOLLOWED_ROW = "{:>6}  {:<10}  {:<40}  {}"
"""A row of a history that is followed: the widths fit the names of nearly all events."""
REUSE = {policy.name.lower().replace("_", "-"): policy for policy in WorkflowIDReusePolicy if policy.name != "TERMINATE_IF_RUNNING"}
CONFLICT = {policy.name.lower().replace("_", "-"): policy for policy in WorkflowIDConflictPolicy if policy.name != "UNSPECIFIED"}

Timeout = Annotated[
    str,
    typer.Option(
        "--timeout", metavar="DURATION", help="Give up after this long, as 30s or 5m (exit code 3). [default: never]", show_default=False
    ),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the history.")]


@commands.command("start")
def start(
    workflow_type: Annotated[str, typer.Argument(metavar="TYPE", help="The workflow's name, by default that of its class.")],
    task_queue: Annotated[str, typer.Option("--task-queue", "-q", metavar="NAME", help="Where workers take its activities from.")],
    inputs: Inputs = None,
    input_files: InputFiles = None,
    workflow_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The workflow id. [default: the type and a random number]", show_default=False)
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for the end and print the result, like `perdure workflow result`.")
    ] = False,
    reuse: Annotated[
        str, typer.Option("--id-reuse", metavar="POLICY", help=f"If the id was used before: {', '.join(REUSE)}.")
    ] = "allow-duplicate",
    conflict: Annotated[
        str, typer.Option("--id-conflict", metavar="POLICY", help=f"If the id is open now: {', '.join(CONFLICT)}.")
    ] = "fail",
    execution_timeout: Annotated[str, typer.Option(metavar="DURATION", help="For all its runs together, as 30s or 2h.")] = "",
    run_timeout: Annotated[str, typer.Option(metavar="DURATION", help="For one run.")] = "",
    start_delay: Annotated[str, typer.Option(metavar="DURATION", help="Hold its code back for so long.")] = "",
    timeout: Timeout = "",
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Start a workflow."""
    values = arguments(inputs, input_files)
    reuse_policy, conflict_policy = _choice("--id-reuse", reuse, REUSE), _choice("--id-conflict", conflict, CONFLICT)
    execution_span, run_span = duration("--execution-timeout", execution_timeout), duration("--run-timeout", run_timeout)
    delay = duration("--start-delay", start_delay)
    patience = duration("--timeout", timeout)

    async def work() -> None:
        async with connected(log_url, namespace) as client:
            handle: WorkflowHandle[Any, Any] = await client.start_workflow(
                workflow_type,
                args=values,
                id=f"{workflow_type}-{uuid.uuid4().hex[:8]}" if workflow_id is None else workflow_id,
                task_queue=task_queue,
                id_reuse_policy=reuse_policy,
                id_conflict_policy=conflict_policy,
                execution_timeout=execution_span,
                run_timeout=run_span,
                start_delay=delay,
            )
            if wait:
                await _print_result(handle, patience.total_seconds() if patience else None, as_json)
            elif as_json:
                print_json({"workflow_id": handle.id, "run_id": handle.result_run_id})
            else:
                print_fields([("workflow id", handle.id), ("run id", handle.result_run_id)])

    run(work(), log_url)


@commands.command("result")
def result(
    workflow_id: WorkflowIdArgument,
    run_id: RunIdOption = "",
    timeout: Timeout = "",
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Wait for the end of a workflow and print its result. Exit code 1 if it failed, was canceled or terminated, or timed out."""
    patience = duration("--timeout", timeout)

    async def work() -> None:
        async with connected(log_url, namespace) as client:
            await _print_result(
                client.get_workflow_handle(workflow_id, run_id=run_id or None), patience.total_seconds() if patience else None, as_json
            )

    run(work(), log_url)


@commands.command("show")
def show(
    workflow_id: WorkflowIdArgument,
    run_id: RunIdOption = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with each event as it comes, until the run ends. With --json: one per line.")
    ] = False,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show the history of a run, one line per event."""

    async def work() -> None:
        async with connected(log_url, namespace) as client:
            handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(workflow_id, run_id=run_id or None)
            if follow:
                await _follow(handle, as_json)
                return
            history = await handle.fetch_history()
            if as_json:
                typer.echo(history.to_json())
            else:
                print_table(("id", "time", "event", "what"), history_rows(history.events))

    run(work(), log_url)


@commands.command("describe")
def describe(
    workflow_id: WorkflowIdArgument,
    run_id: RunIdOption = "",
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show the state of a run: what it waits for, and what blocks it."""

    async def work() -> None:
        async with connected(log_url, namespace) as client:
            described = (await client.get_workflow_handle(workflow_id, run_id=run_id or None).describe()).raw_description
            if as_json:
                print_json(described)
            else:
                print_description(described)

    run(work(), log_url)


@commands.command("list")
def list_(
    query: Annotated[
        str, typer.Option("--query", metavar="FILTER", help="Such as: WorkflowType = 'MoneyTransfer' AND ExecutionStatus = 'running'")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List workflows, the latest start first."""

    async def work() -> None:
        async with connected(log_url, namespace) as client:
            found = [execution.raw_info async for execution in client.list_workflows(query or None, limit=limit)]
        if as_json:
            print_json(found)
            return
        rows = [
            (
                one.workflow_id,
                one.workflow_type,
                status_text(one.status),
                time_text(one.start_time_ms),
                _took(one.start_time_ms, one.close_time_ms),
            )
            for one in found
        ]
        print_table(("workflow id", "type", "status", "started", "took"), rows)
        if len(found) == limit:
            typer.echo(f"the first {limit}; --limit shows more", err=True)

    run(work(), log_url)


@commands.command("signal")
def signal(
    workflow_id: WorkflowIdArgument,
    name: Annotated[str, typer.Argument(metavar="SIGNAL", help="The signal's name.")],
    inputs: Inputs = None,
    input_files: InputFiles = None,
    run_id: RunIdOption = "",
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Send a signal. It is in the log when this returns."""
    values = arguments(inputs, input_files)

    async def work() -> None:
        async with connected(log_url, namespace) as client:
            await client.get_workflow_handle(workflow_id, run_id=run_id or None).signal(name, args=values)
        _done(as_json, workflow_id, f"signal {name!r} sent to {workflow_id!r}")

    run(work(), log_url)


@commands.command("query")
def query(
    workflow_id: WorkflowIdArgument,
    name: Annotated[str, typer.Argument(metavar="QUERY", help="The query's name.")],
    inputs: Inputs = None,
    input_files: InputFiles = None,
    run_id: RunIdOption = "",
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Ask a workflow; the answer is printed as JSON in either form."""
    values = arguments(inputs, input_files)
    del as_json  # an answer is JSON already

    async def work() -> None:
        async with connected(log_url, namespace) as client:
            handle = client.get_workflow_handle(workflow_id, run_id=run_id or None)
            print_json(await _noticed(handle.query(name, args=values), "an answer"))

    run(work(), log_url)


@commands.command("cancel")
def cancel(
    workflow_id: WorkflowIdArgument,
    reason: Reason = "",
    run_id: RunIdOption = "",
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Ask a workflow to cancel itself; its code decides what that means."""

    async def work() -> None:
        async with connected(log_url, namespace) as client:
            await client.get_workflow_handle(workflow_id, run_id=run_id or None).cancel(reason=reason)
        _done(as_json, workflow_id, f"cancellation of {workflow_id!r} requested")

    run(work(), log_url)


@commands.command("terminate")
def terminate(
    workflow_id: WorkflowIdArgument,
    reason: Reason = "",
    run_id: RunIdOption = "",
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """End a workflow at once; its code is not asked."""

    async def work() -> None:
        async with connected(log_url, namespace) as client:
            await client.get_workflow_handle(workflow_id, run_id=run_id or None).terminate(reason=reason or None)
        _done(as_json, workflow_id, f"{workflow_id!r} terminated")

    run(work(), log_url)


@commands.command("resume")
def resume(
    workflow_id: WorkflowIdArgument,
    run_id: RunIdOption = "",
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Let a parked workflow run again, or a blocked one at once. Parked are those whose inputs ended several owners in a row."""
    _resume(workflow_id, run_id, log_url, namespace, as_json, skip_signals=False)


@commands.command("skip")
def skip(
    workflow_id: WorkflowIdArgument,
    run_id: RunIdOption = "",
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Let a parked or blocked workflow go on without the signals that wait for it: its code never sees them."""
    _resume(workflow_id, run_id, log_url, namespace, as_json, skip_signals=True)


def _resume(workflow_id: str, run_id: str, log_url: str, namespace: str | None, as_json: bool, *, skip_signals: bool) -> None:
    async def work() -> None:
        async with connected(log_url, namespace) as client:
            await client.get_workflow_handle(workflow_id, run_id=run_id or None).resume(skip_signals=skip_signals)
        _done(as_json, workflow_id, f"{workflow_id!r} goes on" + " without the signals that waited" * skip_signals)

    run(work(), log_url)


async def _follow(handle: WorkflowHandle[Any, Any], as_json: bool) -> None:
    """Print a run's events as they come. Columns have fixed widths, because nobody knows what is still to come."""
    rows = HistoryRows()
    if not as_json:
        print_text(FOLLOWED_ROW.format("ID", "TIME", "EVENT", "WHAT"))
    async for event in handle.fetch_history_events(wait_new_event=True):
        if as_json:
            print_json(WorkflowHistory(handle.id, (event,)).to_json_dict()["events"][0])
        else:
            print_text(FOLLOWED_ROW.format(*map(harmless, map(str, rows.row(event)))).rstrip())


async def _print_result(handle: WorkflowHandle[Any, Any], seconds: float | None, as_json: bool) -> None:
    try:
        async with asyncio.timeout(seconds):
            value = await _noticed(handle.result(), f"the end of {handle.id!r}")
    except TimeoutError:
        fail(
            ExitCode.UNAVAILABLE,
            f"workflow {handle.id!r} had not ended after {seconds:g} s",
            f"look at it: {typed('perdure workflow describe', handle.id)}",
        )
    except WorkflowFailureError as error:
        if as_json:
            print_json({"workflow_id": handle.id, "status": _ending(error), "failure": _causes(error)})
            raise typer.Exit(int(ExitCode.FAILED)) from None
        fail(
            ExitCode.FAILED,
            f"workflow {handle.id!r} {_ending(error)}: {' <- '.join(_causes(error))}",
            f"its history: {typed('perdure workflow show', handle.id)}",
        )
    print_json({"workflow_id": handle.id, "status": "completed", "result": value} if as_json else value)


def _ending(error: WorkflowFailureError) -> str:
    return {"CancelledError": "was canceled", "TerminatedError": "was terminated", "TimeoutError": "timed out"}.get(
        type(error.cause).__name__, "failed"
    )


def _causes(error: BaseException) -> list[str]:
    causes = []
    cause = error.__cause__
    while cause is not None:
        causes.append(str(cause) or type(cause).__name__)
        cause = cause.__cause__
    return causes


async def _noticed(awaitable: Awaitable[T], what: str) -> T:
    """Await; say on stderr after a while that this is still going on, so that nobody stares at a silent screen."""
    task = asyncio.ensure_future(awaitable)
    try:
        done, _ = await asyncio.wait([task], timeout=NOTICE_SECONDS)
        if not done:
            typer.echo(f"still waiting for {what} (Ctrl-C ends the waiting, not the workflow)", err=True)
        return await task
    finally:
        task.cancel()


def _done(as_json: bool, workflow_id: str, text: str) -> None:
    if as_json:
        print_json({"workflow_id": workflow_id})
    else:
        print_text(text)


def _choice(option: str, text: str, choices: dict[str, Any]) -> Any:
    if text not in choices:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(choices)}", param_hint=option)
    return choices[text]


def _took(start_ms: int, close_ms: int) -> str:
    return duration_text(close_ms - start_ms) if close_ms else ""
