"""The commands as typed: what is accepted, what is refused and with which exit code. Nothing here needs an owner."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perdure_platform import __version__
from perdure_platform.cli.app import app

COMMANDS = [
    "dev",
    "owner",
    "worker",
    "namespace create",
    "namespace describe",
    *(f"workflow {name}" for name in ("start", "result", "show", "list", "describe", "signal", "query", "cancel", "terminate")),
    *(f"partition {name}" for name in ("list", "verify", "rebuild")),
    "workflow resume",
    "workflow skip",
    "task-queue list",
    "task-queue describe",
    "bench transfer",
]

TIMED = [command for command in COMMANDS if command.startswith(("workflow", "task-queue"))]


@pytest.fixture
def log_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'log.db'}"


def typed(line: str, *more: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    result = CliRunner().invoke(app, [*line.split(), *more])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    code, out, _ = typed(command, "--help")
    assert code == 0
    assert "Usage:" in out
    assert "--log" in out


def test_the_version_is_printed() -> None:
    assert typed("--version") == (0, f"perdure {__version__}\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_commands(shell: str) -> None:
    asking = {**os.environ, "_PERDURE_COMPLETE": f"complete_{shell}", "COMP_WORDS": "perdure work", "COMP_CWORD": "1"}
    asking |= {"_TYPER_COMPLETE_ARGS": "perdure work", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    script = Path(sys.executable).with_name("perdure")
    answered = subprocess.run([script], env=asking, capture_output=True, text=True, timeout=100, check=False)
    assert "worker" in answered.stdout
    assert "workflow" in answered.stdout
    assert "dead-letters" not in answered.stdout


@pytest.mark.parametrize("store", ["a-file", "a-file/below", "/proc/no-such-place/store"])
@pytest.mark.parametrize("command", ["owner json:x", "dev json:x", "partition rebuild"])
def test_a_store_directory_that_cannot_be_used_is_wrong_usage(command: str, store: str, log_url: str, tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    (tmp_path / "app_with_a_store.py").write_text("from perdure import Registry\n\nregistry = Registry(task_queue='q')\n")
    typed("namespace create --log", log_url)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        code, _, err = typed(command.replace("json:x", "app_with_a_store:registry"), "--log", log_url, "--store", str(tmp_path / store))
    assert code == 2, err
    assert f"the store directory {tmp_path / store} cannot be used: " in err
    assert "--store" in err


@pytest.mark.parametrize("command", TIMED)
def test_every_command_that_waits_has_a_timeout(command: str) -> None:
    _, out, _ = typed(command, "--help")
    assert "--timeout DURATION" in out
    arguments = {"start": ["T", "-q", "q"], "list": []}.get(
        command.split()[1], ["id"] if "signal" not in command and "query" not in command else ["id", "name"]
    )
    code, _, err = typed(command, *arguments, "--timeout", "soon", "--log", "memory://")
    assert (code, "'soon' is not a duration" in err) == (2, True)


def test_the_exit_codes_are_in_the_help() -> None:
    code, out, _ = typed("--help")
    assert code == 0
    assert "Exit codes: 0 done; 1" in " ".join(out.split())


def test_an_unknown_command_is_wrong_usage() -> None:
    assert typed("workflow frobnicate")[0] == 2


def test_a_namespace_is_created_once_and_described(log_url: str) -> None:
    assert typed("namespace create shop --partitions 3 --log", log_url)[0] == 0
    code, out, _ = typed("namespace create shop --json --log", log_url)
    assert (code, json.loads(out)["created"], json.loads(out)["partitions"]) == (0, False, 3)
    code, out, _ = typed("namespace describe shop --log", log_url)
    assert code == 0
    assert "shop.history" in out
    code, out, _ = typed("namespace describe shop --json --log", log_url)
    assert {topic["topic"]: topic["partitions"] for topic in json.loads(out)["topics"]}["shop.commands"] == 3


def test_the_partition_count_of_a_namespace_never_changes(log_url: str) -> None:
    typed("namespace create shop --partitions 3 --log", log_url)
    code, _, err = typed("namespace create shop --partitions 4 --log", log_url)
    assert code == 5
    assert "has 3 partitions" in err


def test_a_namespace_that_is_not_there_is_not_found(log_url: str) -> None:
    code, _, err = typed("namespace describe nowhere --log", log_url)
    assert code == 4
    assert f"perdure namespace create --log {log_url} nowhere" in err


def test_an_unknown_scheme_is_wrong_usage() -> None:
    code, _, err = typed("namespace describe --log mysql://there")
    assert code == 2
    assert "mysql" in err


@pytest.mark.parametrize("command", ["owner", "worker", "dev"])
@pytest.mark.parametrize("registry", ["no_such_module_here:registry", "json:no_such_attribute", "json:dumps", "json"])
def test_a_registry_that_cannot_be_loaded_is_wrong_usage(command: str, registry: str, log_url: str, tmp_path: Path) -> None:
    store = [] if command == "worker" else ["--store", str(tmp_path / "store")]
    code, _, err = typed(command, registry, "--log", log_url, *store)
    assert code == 2
    assert err.startswith("perdure: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "line",
    [
        "workflow start T --task-queue q --input {broken",
        "namespace create ba/d",
        "workflow list --namespace ba/d",
        "workflow start T --task-queue q --run-timeout soon",
        "workflow start T --task-queue q --id-reuse never",
        "workflow start T",
        "workflow result",
        "workflow result id --timeout 5",
        "bench transfer --workflows 0 --log memory://",
    ],
)
def test_wrong_arguments_are_wrong_usage(line: str, log_url: str) -> None:
    code, out, err = typed(line, "--log", log_url)
    assert code == 2
    assert out == ""
    assert "Error" in err or "perdure:" in err
