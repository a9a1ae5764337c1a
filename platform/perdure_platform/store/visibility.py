"""List filters: text -> a tree of conditions -> does a run match? The language is the one that Temporal's users type.

    WorkflowType = 'MoneyTransfer' AND (ExecutionStatus = 'Running' OR CloseTime > '2026-01-01T00:00:00Z')

Fields: WorkflowId, RunId, WorkflowType, TaskQueue (text); ExecutionStatus (a name such as TimedOut or timed_out, or its number);
StartTime, CloseTime, ExecutionTime (an ISO time or milliseconds since 1970); HistoryLength (a number); Blocked (true or false): whether
the code of an open run does not go on, because its last activation failed or the run is parked. Operators: = != < <= > >=, IN (…),
BETWEEN … AND …, STARTS_WITH (texts); AND, OR, NOT and parentheses. A quote within a text is written twice. A time that a run does not
have yet compares with nothing: an open run is neither before nor after a CloseTime.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from perdure_schemas.errors import PerdureError
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.replies import RunSummary

Value = str | int

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class FilterError(PerdureError):
    """The filter cannot be understood; the message shows where and what is allowed."""


class Filter:
    """A condition on a run. The plain one matches every run."""

    def matches(self, run: RunSummary) -> bool:  # noqa: ARG002 - every run
        """Whether the run is in the list."""
        return True

    @property
    def conditions(self) -> int:
        """How many conditions it takes at most to tell."""
        return 1


@dataclass(frozen=True, slots=True)
class _Compare(Filter):
    field: str
    test: Callable[[Value, Value], bool]
    value: Value

    def matches(self, run: RunSummary) -> bool:
        found = _FIELDS[self.field][1](run)
        return found is not None and self.test(found, self.value)


@dataclass(frozen=True, slots=True)
class _In(Filter):
    field: str
    values: frozenset[Value]

    def matches(self, run: RunSummary) -> bool:
        return _FIELDS[self.field][1](run) in self.values


@dataclass(frozen=True, slots=True)
class _Several(Filter):
    """Flat, so that a long chain of ANDs, or of ORs, is no deep tree."""

    parts: tuple[Filter, ...]

    @property
    def conditions(self) -> int:
        return sum(part.conditions for part in self.parts)


class _All(_Several):
    __slots__ = ()

    def matches(self, run: RunSummary) -> bool:
        return all(part.matches(run) for part in self.parts)


class _Any(_Several):
    __slots__ = ()

    def matches(self, run: RunSummary) -> bool:
        return any(part.matches(run) for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Not(Filter):
    inner: Filter

    def matches(self, run: RunSummary) -> bool:
        return not self.inner.matches(run)

    @property
    def conditions(self) -> int:
        return self.inner.conditions


_FIELDS: dict[str, tuple[str, Callable[[RunSummary], Value | None]]] = {
    "WorkflowId": ("text", lambda run: run.workflow_id),
    "RunId": ("text", lambda run: run.run_id),
    "WorkflowType": ("text", lambda run: run.workflow_type),
    "TaskQueue": ("text", lambda run: run.task_queue),
    "ExecutionStatus": ("status", lambda run: int(run.status)),
    "StartTime": ("time", lambda run: run.start_time_ms or None),
    "CloseTime": ("time", lambda run: run.close_time_ms or None),
    "ExecutionTime": ("time", lambda run: run.execution_time_ms or None),
    "HistoryLength": ("number", lambda run: run.history_length),
    "Blocked": ("truth", lambda run: int(run.blocked)),
}

_STATUSES = {"".join(part.capitalize() for part in status.name.split("_")): status for status in WorkflowStatus}

_OPERATORS: dict[str, Callable[[Value, Value], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")|(?P<number>-?\d+)|(?P<word>[A-Za-z_]\w*)|(?P<sign><=|>=|!=|[=<>(),]))"""
)

NUMBER_DIGITS_MAX = 18
"""More than any time or length has."""

NESTED_MAX = 50
"""How deep parentheses and NOTs may go."""


def parse_filter(query: str) -> Filter:
    """The condition that `query` states; an empty one matches every run. Raises FilterError."""
    parser = _Parser(query)
    if parser.is_at_end:
        return Filter()
    found = parser.either(0)
    if not parser.is_at_end:
        parser.fail("AND, OR or the end")
    return found


class _Parser:
    def __init__(self, query: str) -> None:
        self._query = query
        self._tokens: list[tuple[str, str, int]] = []
        position = 0
        while query[position:].strip():
            found = _TOKEN.match(query, position)
            if found is None:
                raise FilterError(f"filter {query!r}, position {position + 1}: {query[position:].strip()[:20]!r} is not understood")
            kind = found.lastgroup or ""
            self._tokens.append((kind, found.group(kind), found.start(kind)))
            position = found.end()
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._tokens)

    def fail(self, expected: str) -> None:
        place = self._tokens[self._at][2] + 1 if not self.is_at_end else len(self._query) + 1
        found = repr(self._tokens[self._at][1]) if not self.is_at_end else "the end"
        raise FilterError(f"filter {self._query!r}, position {place}: expected {expected}, found {found}")

    def either(self, depth: int) -> Filter:
        parts = [self._both(depth)]
        while self._word("OR"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else _Any(tuple(parts))

    def _both(self, depth: int) -> Filter:
        parts = [self._single(depth)]
        while self._word("AND"):
            parts.append(self._single(depth))
        return parts[0] if len(parts) == 1 else _All(tuple(parts))

    def _single(self, depth: int) -> Filter:
        if depth > NESTED_MAX:
            self.fail(f"at most {NESTED_MAX} parentheses within each other")
        if self._word("NOT"):
            return _Not(self._single(depth + 1))
        if self._sign("("):
            inner = self.either(depth + 1)
            self._must_sign(")")
            return inner
        return self._condition()

    def _condition(self) -> Filter:
        name = self._take("word")
        if name is None or name not in _FIELDS:
            self._at -= name is not None
            self.fail("one of " + ", ".join(_FIELDS))
        assert name is not None
        if self._word("IN"):
            self._must_sign("(")
            values = [self._value(name)]
            while self._sign(","):
                values.append(self._value(name))
            self._must_sign(")")
            return _In(name, frozenset(values))
        if self._word("BETWEEN"):
            low = self._value(name)
            if not self._word("AND"):
                self.fail("AND")
            return _All((_Compare(name, operator.ge, low), _Compare(name, operator.le, self._value(name))))
        if self._word("STARTS_WITH"):
            if _FIELDS[name][0] != "text":
                self._at -= 1
                self.fail(f"another operator for {name}")
            return _Compare(name, lambda found, start: str(found).startswith(str(start)), self._value(name))
        for sign, test in _OPERATORS.items():
            if self._sign(sign):
                return _Compare(name, test, self._value(name))
        self.fail("an operator: = != < <= > >= IN BETWEEN STARTS_WITH")
        raise AssertionError

    def _value(self, name: str) -> Value:
        kind = _FIELDS[name][0]
        if kind == "truth":
            return self._truth()
        number = self._take("number")
        if number is not None:
            if kind == "text":
                self._at -= 1
                self.fail(f"a text in quotes for {name}")
            if len(number) > NUMBER_DIGITS_MAX:
                self._at -= 1
                self.fail(f"a number of at most {NUMBER_DIGITS_MAX} digits for {name}")
            return int(number)
        text = self._take("text")
        if text is None:
            self.fail(f"a value for {name}")
        assert text is not None
        text = text[1:-1].replace(2 * text[0], text[0])
        if kind == "status":
            return self._status(text)
        if kind == "time":
            return self._time(text)
        if kind == "number":
            self._at -= 1
            self.fail(f"a number for {name}")
        return text

    def _status(self, text: str) -> int:
        status = _STATUSES.get(text) or _STATUSES.get("".join(part.capitalize() for part in re.split(r"[_ ]", text)))
        if status is None:
            self._at -= 1
            self.fail("one of " + ", ".join(repr(name) for name in _STATUSES))
        assert status is not None
        return int(status)

    def _truth(self) -> int:
        text = self._take("text") or self._take("word") or ""
        if (word := text.strip("'\"").lower()) not in ("true", "false"):
            self._at -= bool(text)
            self.fail("true or false")
        return int(word == "true")

    def _time(self, text: str) -> int:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self._at -= 1
            self.fail("a time like '2026-01-31T12:00:00Z'")
            raise
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND

    def _take(self, kind: str) -> str | None:
        if not self.is_at_end and self._tokens[self._at][0] == kind:
            self._at += 1
            return self._tokens[self._at - 1][1]
        return None

    def _word(self, word: str) -> bool:
        if not self.is_at_end and self._tokens[self._at][0] == "word" and self._tokens[self._at][1].upper() == word:
            self._at += 1
            return True
        return False

    def _sign(self, sign: str) -> bool:
        if not self.is_at_end and self._tokens[self._at][:2] == ("sign", sign):
            self._at += 1
            return True
        return False

    def _must_sign(self, sign: str) -> None:
        if not self._sign(sign):
            self.fail(repr(sign))
