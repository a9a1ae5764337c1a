"""What drivers of a load write down while they ask: the one thing that no topic shows is what a client was told.

A file of JSON lines, each made durable before the driver goes on (write, flush, fsync). One operation is two lines: `intent` before the
call, then `ok`, `fail` or `unknown`; an intent without a second line is unknown, since the driver may have died. Fields:

    kind        intent | ok | fail | unknown
    id          name of the operation, the same in both lines and unique in all files
    operation   start | signal | cancel | terminate | query | ...
    workflow_id whom it is about
    request_id  the request's id where the driver chose it; it is looked for among the settled requests
    signal      the signal's name, for signals
    input       the signal's first argument; with signal and workflow_id it must name the operation (an amount, a counter)
    sender, number   for order: who sent it and its how-manieth it is; a sender waits for each answer
    run_id      in `ok` lines of starts: the run that was promised
    time_ms     when the line was written

`ok` means that the caller was told so, `fail` that it was told that nothing happened, and `unknown` that it was told neither.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure_check.log import Unreadable

KINDS = ("intent", "ok", "fail", "unknown")


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that a driver asked, and what it was told."""

    operation_id: str
    kind: str
    operation: str
    workflow_id: str
    request_id: str = ""
    signal: str = ""
    input: Any = None
    sender: str = ""
    number: int = 0
    run_id: str = ""


def read_operations(places: Iterable[Path]) -> tuple[Operation, ...]:
    """The operations of several files, in the order in which they were begun. Raises Unreadable.

    A last line that is cut short counts for nothing: its driver died while it wrote.
    """
    found: dict[str, dict[str, Any]] = {}
    for place in places:
        try:
            text = place.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Unreadable(f"the record of operations {place} cannot be read: {error}") from error
        lines = text.split("\n")
        for number, line in enumerate(lines[:-1], 1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
                operation_id, kind = fields["id"], fields["kind"]
            except (ValueError, KeyError, TypeError) as error:
                raise Unreadable(f"line {number} of {place} is no operation: {error!r}") from error
            if kind not in KINDS:
                raise Unreadable(f"line {number} of {place} has the kind {kind!r}; known are {', '.join(KINDS)}")
            known = found.setdefault(operation_id, {})
            known.update(fields)
    return tuple(_operation(operation_id, fields) for operation_id, fields in found.items())


def _operation(operation_id: str, fields: dict[str, Any]) -> Operation:
    kind = fields["kind"]
    return Operation(
        operation_id,
        "unknown" if kind == "intent" else kind,
        str(fields.get("operation", "")),
        str(fields.get("workflow_id", "")),
        str(fields.get("request_id", "")),
        str(fields.get("signal", "")),
        fields.get("input"),
        str(fields.get("sender", "")),
        int(fields.get("number", 0)),
        str(fields.get("run_id", "")),
    )
