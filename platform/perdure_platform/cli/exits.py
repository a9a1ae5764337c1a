"""How a command ends: exit codes for scripts, one line on stderr for people, never a traceback for a user's mistake."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NoReturn, TypeVar

import typer

from perdure._log.errors import LogBusy, LogError, LogMisconfigured, LogUnauthorized, LogUnavailable, TopicNotFound
from perdure._replay.registry import RegistryError
from perdure._telemetry.terminal import harmless_lines
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.service import PartitionStoppedError, RPCError, RPCStatusCode, RPCTimeoutOrCancelledError
from perdure_platform.node.topics import NamespaceNotFound
from perdure_platform.partition.tokens import TokenKeysUnusable
from perdure_schemas.errors import LimitExceeded, PerdureError

T = TypeVar("T")


class ExitCode(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    NOT_FOUND = 4
    CONFLICT = 5
    INTERRUPTED = 130
    READER_GONE = 141


_CODES = {
    RPCStatusCode.INVALID_ARGUMENT: ExitCode.USAGE,
    RPCStatusCode.UNAUTHENTICATED: ExitCode.USAGE,
    RPCStatusCode.PERMISSION_DENIED: ExitCode.USAGE,
    RPCStatusCode.DEADLINE_EXCEEDED: ExitCode.UNAVAILABLE,
    RPCStatusCode.UNAVAILABLE: ExitCode.UNAVAILABLE,
    RPCStatusCode.RESOURCE_EXHAUSTED: ExitCode.UNAVAILABLE,
    RPCStatusCode.NOT_FOUND: ExitCode.NOT_FOUND,
    RPCStatusCode.ALREADY_EXISTS: ExitCode.CONFLICT,
    RPCStatusCode.FAILED_PRECONDITION: ExitCode.CONFLICT,
    RPCStatusCode.ABORTED: ExitCode.CONFLICT,
}

EXIT_CODES_HELP = (
    "Exit codes: 0 done; 1 the workflow or the operation failed; 2 wrong usage or configuration; 3 the log or an owner did not answer "
    "in time, try again; 4 not found; 5 refused because something exists, or stands, that contradicts it; 130 interrupted; 141 whoever "
    "read the output has gone (as in `perdure workflow list | head -1`)."
)


def fail(code: ExitCode, message: str, hint: str = "") -> NoReturn:
    """Print what happened and what to do, and leave with `code`."""
    typer.echo(f"perdure: {harmless_lines(message)}", err=True)
    if hint:
        typer.echo(f"  hint: {harmless_lines(hint)}", err=True)
    raise typer.Exit(int(code))


def typed(command: str, *names: str) -> str:
    """A command as one types it: names that a shell, or the command itself, would take for something else are quoted."""
    end_of_options = ["--"] if any(name.startswith("-") for name in names) else []
    return " ".join([command, *end_of_options, *map(shlex.quote, names)])


@contextmanager
def until_reader_leaves() -> Iterator[None]:
    """End quietly where whoever reads the output has read enough: with READER_GONE, and without a word at the interpreter's end."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:
                os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        raise typer.Exit(int(ExitCode.READER_GONE)) from None


@contextmanager
def reporting(log_url: str = "") -> Iterator[None]:
    """Turn the errors of the body into a line and an exit code. PERDURE_TRACEBACK=1 lets them through, for bug reports."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
    except Exception as error:
        if os.environ.get("PERDURE_TRACEBACK") == "1" or isinstance(error, typer.Exit):
            raise
        if (ending := ending_of(error, log_url)) is None:
            raise  # not a user's mistake but ours: the traceback belongs in a bug report
        fail(*ending)


def ending_of(error: Exception, log_url: str = "") -> tuple[ExitCode, str, str] | None:
    """Exit code, message and hint for an error that a user can cause; None for any other."""
    log_url = log_url.partition("?")[0]  # what follows may hold passwords
    message = str(error) or type(error).__name__
    match error:
        case RPCTimeoutOrCancelledError() if isinstance(error.__cause__, PartitionStoppedError):
            return ExitCode.UNAVAILABLE, message, "perdure partition list"
        case RPCTimeoutOrCancelledError():
            return ExitCode.UNAVAILABLE, message, _no_answer(log_url)
        case RPCError():
            return _CODES.get(error.status, ExitCode.FAILED), message, ""
        case WorkflowAlreadyStartedError():
            return (
                ExitCode.CONFLICT,
                message,
                f"choose another --id, or look at it: {typed('perdure workflow describe', error.workflow_id)}",
            )
        case RegistryError() | LimitExceeded() | LogUnauthorized() | TokenKeysUnusable():
            return ExitCode.USAGE, message, ""
        case TopicNotFound() | NamespaceNotFound():
            return ExitCode.NOT_FOUND, message, ""
        case LogMisconfigured():
            return ExitCode.USAGE, message, ""
        case LogUnavailable() | LogBusy():
            return ExitCode.UNAVAILABLE, message, f"is {log_url} the right address, and is it up?" if log_url else ""
        case TimeoutError():
            return ExitCode.UNAVAILABLE, message, _no_answer(log_url)
        case LogError() | PerdureError():
            return ExitCode.FAILED, message, ""
        case BrokenPipeError():
            return None
        case OSError() if error.strerror:  # a file or a disk of this machine, which the user can look after
            return ExitCode.FAILED, f"{error.filename}: {error.strerror}" if error.filename else error.strerror, ""
        case _:
            return None


def _no_answer(log_url: str) -> str:
    return f"is an owner running there? perdure owner MODULE:NAME --log {shlex.quote(log_url) if log_url else 'URL'}"


def run(coroutine: Coroutine[Any, Any, T], log_url: str = "") -> T:
    """Run one command's coroutine under `reporting`."""
    with reporting(log_url):
        return asyncio.run(coroutine)
