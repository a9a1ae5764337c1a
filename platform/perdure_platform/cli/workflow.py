"""`perdure workflow`: what the client can do, for people and scripts."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, TypeVar

import typer

from perdure._log.errors import LogError
from perdure._telemetry.terminal import harmless
from perdure.client import (
    Client,
    RPCError,
    WorkflowExecution,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowQueryFailedError,
)
from perdure.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure_platform.cli.connection import connected
from perdure_platform.cli.description_text import described_json, print_description, status_text
from perdure_platform.cli.exits import ExitCode, fail, run
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
    failure_text,
    print_fields,
    print_json,
    print_table,
    print_text,
    time_text,
)
from perdure_platform.cli.patience import DEFAULT_TIMEOUT, Patience, Timeout, WaitTimeout
from perdure_platform.cli.waiting import Notices, answered, idle_queues, no_worker, place_of, watched
from perdure_schemas.replies import RunSummary

commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
T = TypeVar("T")

FOLLOWED_ROW = "{:>6}  {:<10}  {:<40}  {}"
"""A row of a history that is followed: the widths fit the names of nearly all events."""
BLOCKED_SECONDS = 5.0
"""What the question may take whether a run that was just started is blocked."""

REUSE = {policy.name.lower().replace("_", "-"): policy for policy in WorkflowIDReusePolicy if policy.name != "TERMINATE_IF_RUNNING"}
CONFLICT = {policy.name.lower().replace("_", "-"): policy for policy in WorkflowIDConflictPolicy if policy.name != "UNSPECIFIED"}

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
    timeout: WaitTimeout = "",
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Start a workflow. What keeps it from going on is said on stderr: a type that the owner does not know, code that fails, no owner."""
    values = arguments(inputs, input_files)
    reuse_policy, conflict_policy = _choice("--id-reuse", reuse, REUSE), _choice("--id-conflict", conflict, CONFLICT)
    execution_span, run_span = duration("--execution-timeout", execution_timeout), duration("--run-timeout", run_timeout)
    delay = duration("--start-delay", start_delay)
    patience, notices = Patience(timeout), Notices(log_url, namespace)
    name = f"{workflow_type}-{uuid.uuid4().hex[:8]}" if workflow_id is None else workflow_id

    async def work() -> None:
        async with connected(log_url, namespace, patience.call()) as client:
            call = client.start_workflow(
                workflow_type,
                args=values,
                id=name,
                task_queue=task_queue,
                id_reuse_policy=reuse_policy,
                id_conflict_policy=conflict_policy,
                execution_timeout=execution_span,
                run_timeout=run_span,
                start_delay=delay,
                rpc_timeout=patience.call(),
            )
            try:
                handle: WorkflowHandle[Any, Any] = await answered(call, notices, place_of(client, name))
            except asyncio.CancelledError:
                notices.say(f"it is not known whether workflow {name!r} was started; look: {notices.typed('workflow describe', name)}")
                raise
            if wait:
                notices.say(f"started workflow {name!r}, run {handle.result_run_id}")
                await _print_result(client, handle, patience, notices, as_json)
                return
            blocked_by = await _blocked_by(client, handle, patience)
            if blocked_by:
                look = notices.typed("workflow describe", name)
                notices.say(f"workflow {name!r} is blocked, and goes on once its code is put right: {blocked_by}. Look at it: {look}")
            if as_json:
                print_json({"workflow_id": handle.id, "run_id": handle.result_run_id, "blocked_by": blocked_by or None})
            else:
                print_fields([("workflow id", handle.id), ("run id", handle.result_run_id)])

    run(work(), log_url)


@commands.command("result")
def result(
    workflow_id: WorkflowIdArgument,
    run_id: RunIdOption = "",
    timeout: WaitTimeout = "",
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Wait for the end of a workflow and print its result. Exit code 1 if it failed, was canceled or terminated, or timed out.

    What keeps it from going on is said on stderr: code that fails, activities that fail, a queue without a worker, no owner.
    """
    patience, notices = Patience(timeout), Notices(log_url, namespace)

    async def work() -> None:
        async with connected(log_url, namespace, patience.call()) as client:
            await _print_result(client, client.get_workflow_handle(workflow_id, run_id=run_id or None), patience, notices, as_json)

    run(work(), log_url)


@commands.command("show")
def show(
    workflow_id: WorkflowIdArgument,
    run_id: RunIdOption = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with each event as it comes, until the run ends. With --json: one per line.")
    ] = False,
    timeout: Annotated[
        str,
        typer.Option(
            "--timeout",
            metavar="DURATION",
            help="Give up after this long in all, as 5s or 2m (exit code 3). [default: 30s; never with --follow]",
            show_default=False,
        ),
    ] = "",
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show the history of a run, one line per event."""
    target = _Target(workflow_id, run_id, timeout if follow else timeout or DEFAULT_TIMEOUT, log_url, namespace)
    if follow:
        _followed(target, as_json)
        return
    history = _asked(target, lambda handle, left: handle.fetch_history(rpc_timeout=left))
    if as_json:
        typer.echo(history.to_json())
    else:
        print_table(("id", "time", "event", "what"), history_rows(history.events))


@commands.command("describe")
def describe(
    workflow_id: WorkflowIdArgument,
    run_id: RunIdOption = "",
    timeout: Timeout = DEFAULT_TIMEOUT,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show the state of a run: what it waits for, what blocks it, and which of its task queues no worker polls."""
    patience, notices = Patience(timeout), Notices(log_url, namespace)

    async def work() -> None:
        async with connected(log_url, namespace, patience.call()) as client:
            call = client.get_workflow_handle(workflow_id, run_id=run_id or None).describe(rpc_timeout=patience.call())
            described = (await answered(call, notices, place_of(client, workflow_id))).raw_description
            idle = sorted(await idle_queues(client, described, patience))
        if as_json:
            print_json(described_json(described, idle))
        else:
            print_description(described, [no_worker(notices, queue) for queue in idle])

    run(work(), log_url)


@commands.command("list")
def list_(
    query: Annotated[
        str, typer.Option("--query", metavar="FILTER", help="Such as: WorkflowType = 'MoneyTransfer' AND ExecutionStatus = 'running'")
    ] = "",
    blocked: Annotated[
        bool, typer.Option("--blocked", help="Only those whose code does not go on: it failed and is tried again, or is parked.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    timeout: Timeout = DEFAULT_TIMEOUT,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List workflows, the latest start first. The status of those whose code does not go on is `running (blocked)`."""
    patience, notices = Patience(timeout), Notices(log_url, namespace)
    wanted = " AND ".join(
        part for part in (f"({query})" if query.strip() and blocked else query, "Blocked = true" if blocked else "") if part
    )

    async def work() -> None:
        async with connected(log_url, namespace, patience.call()) as client, patience.bounding("the list"):
            rows = client.list_workflows(wanted or None, limit=limit, rpc_timeout=patience.call())
            found = await answered(_all(rows), notices, f"every partition of namespace {client.namespace!r}")
        if as_json:
            print_json(found)
            return
        cells = [
            (
                one.workflow_id,
                one.workflow_type,
                status_text(one.status) + " (blocked)" * one.blocked,
                time_text(one.start_time_ms),
                _took(one.start_time_ms, one.close_time_ms),
            )
            for one in found
        ]
        print_table(("workflow id", "type", "status", "started", "took"), cells)
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
    timeout: Timeout = DEFAULT_TIMEOUT,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Send a signal. It is in the log when this returns."""
    values = arguments(inputs, input_files)
    _asked(
        _Target(workflow_id, run_id, timeout, log_url, namespace), lambda handle, left: handle.signal(name, args=values, rpc_timeout=left)
    )
    _done(as_json, workflow_id, f"signal {name!r} sent to {workflow_id!r}")


@commands.command("query")
def query(
    workflow_id: WorkflowIdArgument,
    name: Annotated[str, typer.Argument(metavar="QUERY", help="The query's name.")],
    inputs: Inputs = None,
    input_files: InputFiles = None,
    run_id: RunIdOption = "",
    timeout: Timeout = DEFAULT_TIMEOUT,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Ask a workflow; the answer is printed as JSON in either form."""
    values = arguments(inputs, input_files)
    del as_json  # an answer is JSON already
    target = _Target(workflow_id, run_id, timeout, log_url, namespace)

    async def ask(handle: WorkflowHandle[Any, Any], left: timedelta) -> Any:
        try:
            return await handle.query(name, args=values, rpc_timeout=left)
        except WorkflowQueryFailedError as error:
            raise WorkflowQueryFailedError(f"query {name!r} of workflow {workflow_id!r} failed: {error}") from error

    print_json(_asked(target, ask))


@commands.command("cancel")
def cancel(
    workflow_id: WorkflowIdArgument,
    reason: Reason = "",
    run_id: RunIdOption = "",
    timeout: Timeout = DEFAULT_TIMEOUT,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Ask a workflow to cancel itself; its code decides what that means."""
    target = _Target(workflow_id, run_id, timeout, log_url, namespace)
    _asked(target, lambda handle, left: handle.cancel(reason=reason, rpc_timeout=left))
    _done(as_json, workflow_id, f"cancellation of {workflow_id!r} requested")


@commands.command("terminate")
def terminate(
    workflow_id: WorkflowIdArgument,
    reason: Reason = "",
    run_id: RunIdOption = "",
    timeout: Timeout = DEFAULT_TIMEOUT,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """End a workflow at once; its code is not asked."""
    target = _Target(workflow_id, run_id, timeout, log_url, namespace)
    _asked(target, lambda handle, left: handle.terminate(reason=reason or None, rpc_timeout=left))
    _done(as_json, workflow_id, f"{workflow_id!r} terminated")


@commands.command("resume")
def resume(
    workflow_id: WorkflowIdArgument,
    run_id: RunIdOption = "",
    timeout: Timeout = DEFAULT_TIMEOUT,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Let a parked workflow run again, or a blocked one at once. Parked are those whose inputs ended several owners in a row."""
    _resume(_Target(workflow_id, run_id, timeout, log_url, namespace), as_json, skip_signals=False)


@commands.command("skip")
def skip(
    workflow_id: WorkflowIdArgument,
    run_id: RunIdOption = "",
    timeout: Timeout = DEFAULT_TIMEOUT,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Let a parked or blocked workflow go on without the signals that wait for it: its code never sees them."""
    _resume(_Target(workflow_id, run_id, timeout, log_url, namespace), as_json, skip_signals=True)


def _resume(target: _Target, as_json: bool, *, skip_signals: bool) -> None:
    _asked(target, lambda handle, left: handle.resume(skip_signals=skip_signals, rpc_timeout=left))
    _done(as_json, target.workflow_id, f"{target.workflow_id!r} goes on" + " without the signals that waited" * skip_signals)


@dataclass(frozen=True, slots=True)
class _Target:
    """What a command is for, and how long it may take, as it was typed."""

    workflow_id: str
    run_id: str
    timeout: str
    log_url: str
    namespace: str | None


def _asked(target: _Target, call: Callable[[WorkflowHandle[Any, Any], timedelta], Coroutine[Any, Any, T]]) -> T:
    """What a call of a handle returns, within the command's time."""
    patience, notices = Patience(target.timeout), Notices(target.log_url, target.namespace)

    async def work() -> T:
        async with connected(target.log_url, target.namespace, patience.call()) as client, patience.bounding("the answer"):
            handle = client.get_workflow_handle(target.workflow_id, run_id=target.run_id or None)
            return await answered(call(handle, patience.call()), notices, place_of(client, target.workflow_id))

    return run(work(), target.log_url)


def _followed(target: _Target, as_json: bool) -> None:
    """Print a run's events as they come, until it ends or the command's time is over."""
    patience, notices = Patience(target.timeout), Notices(target.log_url, target.namespace)

    async def work() -> None:
        async with connected(target.log_url, target.namespace, patience.call()) as client, patience.bounding("following the run"):
            handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(target.workflow_id, run_id=target.run_id or None)
            await answered(handle.describe(rpc_timeout=patience.call()), notices, place_of(client, target.workflow_id))
            await _follow(handle, as_json)

    run(work(), target.log_url)


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


async def _all(rows: AsyncIterator[WorkflowExecution]) -> list[RunSummary]:
    return [row.raw_info async for row in rows]


async def _blocked_by(client: Client, handle: WorkflowHandle[Any, Any], patience: Patience) -> str:
    """What blocks the code of a run that has just been started, if it has been tried; empty where that cannot be learned now."""
    try:
        started = client.get_workflow_handle(handle.id, run_id=handle.result_run_id)
        described = await started.describe(rpc_timeout=patience.call(BLOCKED_SECONDS))
    except (RPCError, LogError):
        return ""
    return failure_text(described.raw_description.activation_failure)


async def _print_result(client: Client, handle: WorkflowHandle[Any, Any], patience: Patience, notices: Notices, as_json: bool) -> None:
    goes_on = notices.typed("workflow result", handle.id)
    try:
        async with asyncio.timeout(patience.left_s), watched(client, notices, handle.id, handle.run_id):
            value = await handle.result()
    except TimeoutError:
        look = f"look at it: {notices.typed('workflow describe', handle.id)}"
        if not notices.has_heard_owner:
            notices.say(notices.no_owner(place_of(client, handle.id)))
            unknown = f"it is not known whether workflow {handle.id!r} exists"
            fail(ExitCode.UNAVAILABLE, f"no owner answered within {patience.text}; {unknown}", look)
        fail(ExitCode.UNAVAILABLE, f"workflow {handle.id!r} had not ended after {patience.text}; it goes on", look)
    except asyncio.CancelledError:  # Ctrl-C
        notices.say(f"workflow {handle.id!r} goes on without this command. Its result: {goes_on}")
        raise
    except WorkflowFailureError as error:
        if as_json:
            print_json({"workflow_id": handle.id, "status": _ending(error), "failure": _causes(error)})
            raise typer.Exit(int(ExitCode.FAILED)) from None
        fail(
            ExitCode.FAILED,
            f"workflow {handle.id!r} {_ending(error)}: {' <- '.join(_causes(error))}",
            f"its history: {notices.typed('workflow show', handle.id)}",
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
