"""Values -> what JSON can say. A class is written only if its kind says how; no other class is written as what it happens to hold."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import uuid
from collections import UserString
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any

FIX = (
    "use a dataclass, a TypedDict, a NamedTuple, a pydantic model, or a class with model_dump and model_validate; or give the worker, "
    "the owner and the client a DataConverter that knows the class"
)
"""What to do about a class that is not known."""

_COLLECTIONS = (collections.abc.Sequence, collections.abc.Set, collections.abc.ValuesView)
_ITERATORS_OF = ("builtins", "itertools")
"""Modules whose iterators hold nothing but items; a file is an iterator too."""


def jsonable(value: Any) -> Any:
    """One step towards JSON for a value that JSON does not know. Raises TypeError for a class whose kind does not say how.

    Bytes become a list of numbers, as in Temporal's SDK: unlike base64 it cannot be taken for a text in a union.
    """
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case uuid.UUID() | Decimal() | PurePath() | UserString():
            return str(value)
        case timedelta():
            return _seconds(value)
        case Enum():
            return value.value
        case bytes() | bytearray() | memoryview():
            return list(bytes(value))
        case type():
            raise TypeError(f"the class {value.__qualname__} is not a value: pass an instance of it")
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    kind = type(value)
    if is_model(kind):
        return value.model_dump(mode="json", by_alias=True)
    if is_old_model(kind):
        return value.dict(by_alias=True)
    if isinstance(value, collections.abc.Mapping):
        return dict(value)
    if isinstance(value, _COLLECTIONS):
        return [*value]
    if inspect.isawaitable(value):
        raise TypeError(f"a {kind.__qualname__} is not a value: await it, and pass its result")
    raise TypeError(f"a value of class {kind.__module__}.{kind.__qualname__} cannot be written as JSON: {FIX}")


_EXACT_SPAN = timedelta(days=50_000)
"""Span up to which a float of seconds tells microseconds apart."""


def is_model(kind: type) -> bool:
    """Whether a class writes and reads itself as pydantic's models of version 2 do."""
    return callable(getattr(kind, "model_dump", None)) and callable(getattr(kind, "model_validate", None))


def is_old_model(kind: type) -> bool:
    """The same of version 1."""
    return callable(getattr(kind, "dict", None)) and callable(getattr(kind, "parse_obj", None))


def plain(value: Any, step: Callable[[Any], Any] = jsonable) -> Any:
    """The whole value as JSON's own types, with keys as text: for what the standard library's encoder refuses or would confuse."""
    if isinstance(value, dict):
        written: dict[str, Any] = {}
        for key, item in value.items():
            name = _key(key, step)
            if name in written:
                raise TypeError(f"two keys of one dict are both {name!r} in JSON; give them different texts")
            written[name] = plain(item, step)
        return written
    if isinstance(value, list | tuple) or (isinstance(value, collections.abc.Iterator) and type(value).__module__ in _ITERATORS_OF):
        return [plain(item, step) for item in value]  # an iterator gives its items once, so nothing else may have asked it before
    if value is None or isinstance(value, str | int | float):
        return value
    return plain(step(value), step)


def _key(key: Any, step: Callable[[Any], Any]) -> str:
    while not isinstance(key, str | int | float | None):
        written = step(key)
        if isinstance(written, list | dict):
            raise TypeError(f"a key of class {type(key).__qualname__} has no text in JSON: use str, int, an Enum, a UUID or a date")
        key = written
    match key:
        case str():
            return str.__str__(key)
        case bool():
            return "true" if key else "false"
        case None:
            return "null"
        case int():
            return int.__repr__(key)
    return float.__repr__(key)


def _seconds(span: timedelta) -> int | float:
    seconds = span // timedelta(seconds=1)
    if span == timedelta(seconds=seconds):
        return seconds
    if abs(span) > _EXACT_SPAN:
        raise ValueError(f"the duration {span!r} is too long to be written to the microsecond; round it to seconds")
    return span.total_seconds()
