"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

DEFAULT_LOG = "sqlite:///perdure.db"
DEFAULT_NAMESPACE = "default"

LogUrl = Annotated[
    str,
    typer.Option(
        "--log",
        envvar="PERDURE_LOG",
        metavar="URL",
        help="Where the log is: sqlite:///FILE (made if absent; the default is perdure.db in the current directory) or kafka://HOST:PORT.",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        envvar="PERDURE_NAMESPACE",
        metavar="NAME",
        help='The namespace. [default: the one that the URL names, or "default"]',
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
RegistryName = Annotated[str, typer.Argument(metavar="MODULE:NAME", help="Your code: a perdure.Registry, as in app:registry.")]
StoreDirectory = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="PERDURE_STORE",
        metavar="DIR",
        help="Directory of the owner's RocksDB; derived from the log, so that deleting it loses nothing. One owner process per directory.",
    ),
]
DEFAULT_STORE = "perdure.store"
Retention = Annotated[
    str,
    typer.Option(
        "--retention",
        envvar="PERDURE_RETENTION",
        metavar="DURATION",
        help="Drop closed workflows, and the history that nothing else needs, after this long: 12h, 30d. Give it to every owner of the "
        "namespace. [default: keep everything]",
        show_default=False,
    ),
]
SessionTimeout = Annotated[
    str,
    typer.Option(
        "--session-timeout",
        envvar="PERDURE_SESSION_TIMEOUT",
        metavar="DURATION",
        help="An owner that is not heard of for this long loses its partitions to others. Kafka brokers allow 6s to 30m by default. "
        "[default: 10s]",
        show_default=False,
    ),
]
CachedRuns = Annotated[
    int,
    typer.Option(
        "--cached-runs",
        envvar="PERDURE_CACHED_RUNS",
        metavar="N",
        min=0,
        help="How many workflows of each partition stay in memory between their steps. Others are rebuilt from their history to go on.",
    ),
]
MaxConcurrentActivities = Annotated[
    int | None,
    typer.Option(
        "--max-concurrent-activities",
        metavar="N",
        min=1,
        help="How many activities run at once. [default: what the registry says, or 100]",
        show_default=False,
    ),
]
StoreMemory = Annotated[
    str,
    typer.Option(
        "--store-memory",
        envvar="PERDURE_STORE_MEMORY",
        metavar="SIZE",
        help="What the owner's RocksDB may hold in memory, over all partitions: 32M, 1G. The process itself takes some 100M besides. "
        "[default: 128M]",
        show_default=False,
    ),
]
TokenKeys = Annotated[
    Path | None,
    typer.Option(
        "--token-keys",
        envvar="PERDURE_TOKEN_KEYS",
        metavar="FILE",
        help="A file of secret keys, one a line (openssl rand -hex 32): tasks and messages between workflows are signed, and results and "
        "messages without a right signature are set aside. Give the same file to every owner of the namespace. [default: nothing is "
        "signed]",
        show_default=False,
    ),
]
RunIdOption = Annotated[str, typer.Option("--run-id", metavar="ID", help="A certain run; the latest one if not given.")]
WorkflowIdArgument = Annotated[str, typer.Argument(metavar="WORKFLOW_ID", help="The workflow id.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", metavar="JSON", help="One argument as JSON; repeat it for several. Text that is not JSON is an error."),
]
InputFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--input-file",
        metavar="FILE",
        help="One argument as JSON in a file, - for stdin; repeat it for several. They follow those of --input.",
    ),
]
Duration = Annotated[str, typer.Option(metavar="DURATION")]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_STDIN = Path("-")
_SHOWN_CHARACTERS_MAX = 200
_SIZE = re.compile(r"([1-9]\d{0,8})([KMG])")
_MULTIPLES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def duration(option: str, text: str) -> timedelta | None:
    """A span from text such as 500ms, 30s, 1h30m; None for the empty text. Raises typer.BadParameter that names `option`."""
    if not text:
        return None
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise typer.BadParameter(f"{text!r} is not a duration; write 500ms, 30s, 10m or 1h30m", param_hint=option)
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is too long; leave the option out for no limit", param_hint=option) from None


def size_bytes(option: str, text: str) -> int | None:
    """Bytes from text such as 512K, 64M, 1G; None for the empty text. Raises typer.BadParameter that names `option`."""
    if not text:
        return None
    if (found := _SIZE.fullmatch(text)) is None:
        raise typer.BadParameter(f"{text!r} is not a size; write 512K, 64M or 1G", param_hint=option)
    return int(found[1]) * _MULTIPLES[found[2]]


def arguments(texts: Sequence[str] | None, files: Sequence[Path] | None = None) -> list[Any]:
    """The values of `--input` and of `--input-file`. Raises typer.BadParameter that shows where the JSON ends to be JSON."""
    if (files or []).count(_STDIN) > 1:
        raise typer.BadParameter("stdin can be read once", param_hint="--input-file")
    values = [_value(text, _shown(text), "--input") for text in texts or ()]
    return [*values, *(_value(_read(file), "stdin" if file == _STDIN else str(file), "--input-file") for file in files or ())]


def _value(text: str, shown: str, option: str) -> Any:
    """The value of one JSON text, which an error names as `shown`."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise typer.BadParameter(f"{shown} is nested too deeply", param_hint=option) from None
    except UnicodeEncodeError as error:
        raise typer.BadParameter(f"{shown} holds half a character: {error.reason}", param_hint=option) from None
    except ValueError as error:
        hint = f" (for a text, put it in double quotes: '\"{text.strip()}\"')" if re.fullmatch(r"[\w .-]{1,100}\n?", text) else ""
        raise typer.BadParameter(f"{shown} is not JSON: {error}{hint}", param_hint=option) from None
    return value


def _read(file: Path) -> str:
    try:
        return (sys.stdin.buffer.read() if file == _STDIN else file.read_bytes()).decode("utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror or error}", param_hint="--input-file") from None
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file} is not UTF-8: {error.reason} at byte {error.start}", param_hint="--input-file") from None


def _shown(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN_CHARACTERS_MAX else f"{text[:_SHOWN_CHARACTERS_MAX]!r} …"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it has no {name}")
