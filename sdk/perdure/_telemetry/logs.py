"""Structured logs: what a line is about (workflow id, run id, partition, claim number ...) stands in fields of its own.

The fields are those that code passes as `extra`; the ids of the current span are added, so that a line leads to its trace.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from opentelemetry import trace

from perdure._telemetry import names
from perdure._telemetry.terminal import harmless_lines

Field = str | int | float | bool

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every log record has; whatever else is on one came from `extra`."""

_FIRST = (names.LOG_NAMESPACE, names.LOG_PARTITION, names.LOG_CLAIM_NUMBER, names.LOG_WORKFLOW_ID, names.LOG_RUN_ID)
_RENAMED = {"workflow_run_id": names.LOG_RUN_ID}
"""Temporal's name on an activity's lines; one name here, so that a run is found by one search."""


def configure_logging(level: int | str = logging.INFO, *, as_json: bool = False) -> None:
    """Write log lines to stderr from `level` on. Handlers that the program has put up itself are left alone, and then nothing is added."""
    root = logging.getLogger()
    root.setLevel(level)
    for handler in [found for found in root.handlers if isinstance(found, _StructuredHandler)]:
        root.removeHandler(handler)
    if not root.handlers:
        handler = _StructuredHandler(sys.stderr)
        handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
        root.addHandler(handler)


class _StructuredHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Ours, to be told from others."""


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        line: dict[str, Field] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in fields(record).items() if name not in line)
        if trouble := _trouble(self, record):
            line["exception"] = trouble
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For people: time, level, logger and message, then the fields as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        found = "".join(f" {name}={_shown(value)}" for name, value in fields(record).items())
        text = f"{_time(record)} {record.levelname:<7} {record.name}: {harmless_lines(record.getMessage())}{found}"
        trouble = _trouble(self, record)
        return f"{text}\n  {harmless_lines(trouble)}" if trouble else text


def fields(record: logging.LogRecord) -> dict[str, Field]:
    """The fields of a record, those that name partition and run first."""
    given: dict[str, Field] = {}
    for name, value in vars(record).items():
        if name not in _PLAIN and isinstance(value, Field):
            given.setdefault(_RENAMED.get(name, name), value)
    found = {name: given.pop(name) for name in _FIRST if name in given}
    found.update(sorted(given.items()))
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        found[names.LOG_TRACE_ID] = trace.format_trace_id(span.trace_id)
        found[names.LOG_SPAN_ID] = trace.format_span_id(span.span_id)
    return found


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _trouble(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info) if record.exc_info else record.exc_text or ""]
    parts.append(formatter.formatStack(record.stack_info) if record.stack_info else "")
    return "\n".join(part for part in parts if part)


def _shown(value: Field) -> str:
    """Quoted where a reader could take it for something else."""
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text, ensure_ascii=False)
