import asyncio
import shlex

import pytest
import typer

from perdure._log.errors import LogMisconfigured, LogUnauthorized, LogUnavailable, TopicNotFound
from perdure._replay.registry import RegistryError
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.service import RPCError, RPCStatusCode, RPCTimeoutOrCancelledError
from perdure_platform.cli.exits import ExitCode, ending_of, fail, reporting, run, typed
from perdure_schemas.errors import LimitExceeded, PerdureError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PerdureError("x"), ExitCode.FAILED),
        (LimitExceeded("x"), ExitCode.USAGE),
        (RegistryError("x"), ExitCode.USAGE),
        (LogMisconfigured("x"), ExitCode.USAGE),
        (LogUnauthorized("x"), ExitCode.USAGE),
        (TopicNotFound("x"), ExitCode.NOT_FOUND),
        (LogUnavailable("x"), ExitCode.UNAVAILABLE),
        (RPCTimeoutOrCancelledError("x"), ExitCode.UNAVAILABLE),
        (RPCError("x", RPCStatusCode.NOT_FOUND), ExitCode.NOT_FOUND),
        (RPCError("x", RPCStatusCode.INVALID_ARGUMENT), ExitCode.USAGE),
        (RPCError("x", RPCStatusCode.DATA_LOSS), ExitCode.FAILED),
        (WorkflowAlreadyStartedError("id", "Type"), ExitCode.CONFLICT),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.name,
)
def test_each_error_has_its_exit_code_and_one_line(error: Exception, code: ExitCode, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as exit_, reporting("sqlite:///x.db"):
        raise error
    assert exit_.value.exit_code == code
    assert capsys.readouterr().err.startswith(f"perdure: {error}\n")


def test_hints_can_be_typed_as_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("perdure workflow show", "it's $HOME; rm") == """perdure workflow show 'it'"'"'s $HOME; rm'"""
    assert typed("perdure workflow show", "-x") == "perdure workflow show -- -x"
    assert shlex.split(typed("perdure workflow show", "a\tb c"))[-1] == "a\tb c"
    with pytest.raises(typer.Exit), reporting():
        raise WorkflowAlreadyStartedError("order 7", "Type")
    assert "perdure workflow describe 'order 7'\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "says"),
    [(PermissionError(13, "Permission denied", "x.db"), "x.db: Permission denied"), (OSError(28, "No space left"), "No space left")],
)
def test_what_the_machine_refuses_is_one_line(error: OSError, says: str) -> None:
    assert ending_of(error) == (ExitCode.FAILED, says, "")


def test_an_error_that_is_not_the_users_keeps_its_traceback() -> None:
    assert ending_of(KeyError("x")) is None
    with pytest.raises(KeyError), reporting():
        raise KeyError("x")


def test_an_owner_that_does_not_answer_is_hinted_at(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), reporting("kafka://there"):
        raise RPCTimeoutOrCancelledError("no answer")
    assert "perdure owner MODULE:NAME --log kafka://there" in capsys.readouterr().err


def test_ctrl_c_is_not_a_failure_of_perdure() -> None:
    with pytest.raises(typer.Exit) as exit_, reporting():
        raise KeyboardInterrupt
    assert exit_.value.exit_code == ExitCode.INTERRUPTED


def test_an_exit_inside_a_coroutine_keeps_its_code() -> None:
    async def leave() -> None:
        await asyncio.sleep(0)
        fail(ExitCode.CONFLICT, "it is there already")

    with pytest.raises(typer.Exit) as exit_:
        run(leave())
    assert exit_.value.exit_code == ExitCode.CONFLICT


def test_tracebacks_can_be_had_for_bug_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_TRACEBACK", "1")
    with pytest.raises(LogUnavailable), reporting():
        raise LogUnavailable("x")
