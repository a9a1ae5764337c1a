"""How a command ends: exit codes for scripts, one line on stderr for people, never a traceback for a user's mistake."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NoReturn, TypeVar

import typer

from perdure._log.errors import LogBusy, LogError, LogMisconfigured, LogUnauthorized, LogUnavailable, TopicNotFound
from perdure._replay.registry import RegistryError
from perdure._telemetry.terminal import harmless_lines
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.service import RPCError, RPCStatusCode, RPCTimeoutOrCancelledError
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
    "in time, try again; 4 not found; 5 refused because something exists, or stands, that contradicts it; 130 interrupted."
)


def fail(code: ExitCode, message: str, hint: str = "") -> NoReturn:
    """Print what happened and what to do, and leave with `code`."""
    typer.echo(f"perdure: {harmless_lines(message)}", err=True)
    if hint:
        typer.echo(f"  hint: {harmless_lines(hint)}", err=True)
    raise typer.Exit(int(code))


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
        case RPCTimeoutOrCancelledError():
            return ExitCode.UNAVAILABLE, message, _no_answer(log_url)
        case RPCError():
            return _CODES.get(error.status, ExitCode.FAILED), message, ""
        case WorkflowAlreadyStartedError():
            return ExitCode.CONFLICT, message, f"choose another --id, or look at it: perdure workflow describe {error.workflow_id}"
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
        case _:
            return None


def _no_answer(log_url: str) -> str:
    return f"is an owner running there? perdure owner MODULE:NAME --log {log_url or 'URL'}"


def run(coroutine: Coroutine[Any, Any, T], log_url: str = "") -> T:
    """Run one command's coroutine under `reporting`."""
    with reporting(log_url):
        return asyncio.run(coroutine)
