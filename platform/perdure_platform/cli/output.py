"""What commands print: aligned text for people, JSON for scripts."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import typer

from perdure._telemetry.terminal import harmless
from perdure_platform.cli.exits import ExitCode, fail
from perdure_schemas.failure import Failure, TimeoutFailureInfo
from perdure_schemas.payload import Payload


def print_json(value: object) -> None:
    """Print one JSON document on one line, whatever others have put into it."""
    try:
        plain = jsonable(value)
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    except RecursionError:
        fail(ExitCode.FAILED, "this value is nested too deeply to be shown as JSON")
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, which only an escape can say
        text = json.dumps(plain, allow_nan=False)
    typer.echo(text)


def print_text(text: str, *, err: bool = False) -> None:
    """Print a sentence, or lines, in which there may be such text."""
    typer.echo(harmless(text, keep="\n\t"), err=err)


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their heads, columns aligned by spaces; numbers to the right."""
    table = [tuple(harmless(str(cell)) for cell in row) for row in rows]
    widths = [max(len(name), *(len(row[index]) for row in table)) if table else len(name) for index, name in enumerate(head)]
    right = [bool(table) and all(row[index].replace(",", "").lstrip("-").isdigit() for row in table) for index in range(len(head))]
    for row in (tuple(name.upper() for name in head), *table):
        cells = (cell.rjust(width) if at_right else cell.ljust(width) for cell, width, at_right in zip(row, widths, right, strict=True))
        typer.echo("  ".join(cells).rstrip())


def print_fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns; an empty or absent value is left out."""
    filled = [(name, harmless(str(value))) for name, value in pairs if value not in (None, "", ())]
    width = max((len(name) for name, _ in filled), default=0)
    for name, value in filled:
        typer.echo(f"{name.ljust(width)}  {value}")


def jsonable(value: object) -> Any:
    """The value as JSON types: records by their fields, payloads as the value they hold, enums by name, times as ISO strings."""
    if isinstance(value, Payload):
        return payload_value(value)
    if isinstance(value, Enum):
        return value.name.lower()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no word for it
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def payload_value(payload: Payload) -> Any:
    """What a payload holds, if it is null or JSON that can be said again; otherwise its encoding and its bytes in base64."""
    encoding = payload.metadata.get("encoding", b"").decode("utf-8", "replace")
    if encoding == "binary/null":
        return None
    if encoding.startswith("json/"):
        try:
            value = json.loads(payload.data)
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError):  # no JSON, too deep, NaN, half a character
            pass
        else:
            return value
    return {"encoding": encoding, "base64": base64.b64encode(payload.data).decode()}


def payloads_text(payloads: Sequence[Payload], length_max: int = 100) -> str:
    """Values as in a call, cut to `length_max` characters."""
    text = ", ".join(json.dumps(payload_value(payload), ensure_ascii=False) for payload in payloads)
    return text if len(text) <= length_max else text[: length_max - 1] + "…"


def failure_text(failure: Failure | None) -> str:
    """A failure and its causes in one line, the outermost first."""
    parts: list[str] = []
    while failure is not None:
        kind = getattr(failure.info, "type", "")
        if isinstance(failure.info, TimeoutFailureInfo):
            kind = failure.info.timeout_type.name.lower().replace("_", "-") + " timeout"
        parts.append(f"{kind}: {failure.message}" if kind and kind != failure.message else failure.message)
        failure = failure.cause
    return " <- ".join(part for part in parts if part)


def time_text(time_ms: int) -> str:
    """A point in time in UTC, to the millisecond; empty where there is none."""
    if not time_ms:
        return ""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")


def duration_text(duration_ms: int) -> str:
    """A span as a person would say it: 20 ms, 1.5 s, 2 m 5 s, 3 h 10 m."""
    if duration_ms < 1000:
        return f"{duration_ms} ms"
    if duration_ms < 60_000:
        return f"{duration_ms / 1000:.3g} s"
    minutes, seconds = divmod(duration_ms // 1000, 60)
    return f"{minutes} m {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} m"
