"""How values were written and read before TYPED_VALUES: for runs that began then, which must meet the same values on replay.

Nothing here is mended. The file goes when runs without that flag need not be replayed any more.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import types
import typing
import uuid
from collections import deque
from datetime import date, datetime, time, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, Union, get_args, get_origin

from perdure.converter import (
    AdvancedJSONEncoder,
    BinaryPlainPayloadConverter,
    CompositePayloadConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadConverter,
)
from perdure_schemas.payload import Payload

_LISTS: dict[Any, Any] = {
    list: list,
    set: set,
    frozenset: frozenset,
    deque: deque,
    collections.abc.Sequence: list,
    collections.abc.Iterable: list,
    collections.abc.Collection: list,
    collections.abc.Set: set,
    collections.abc.MutableSequence: list,
    collections.abc.MutableSet: set,
}


def converter_before(converter: PayloadConverter) -> PayloadConverter:
    """The converter as it was. One that a user wrote has not changed, but for the library's parts in it."""
    if type(converter) not in (CompositePayloadConverter, DefaultPayloadConverter):
        return converter
    return CompositePayloadConverter(*map(_part_before, converter.converters.values()))  # type: ignore[attr-defined]


def _part_before(part: EncodingPayloadConverter) -> EncodingPayloadConverter:
    if type(part) is BinaryPlainPayloadConverter:
        return _BytesBefore()
    if type(part) is JSONPlainPayloadConverter:
        return _JSONBefore(_EncoderBefore if part.encoder is AdvancedJSONEncoder else part.encoder)
    return part


class _BytesBefore(BinaryPlainPayloadConverter):
    def to_payload(self, value: Any) -> Payload | None:
        return None if isinstance(value, memoryview) else super().to_payload(value)

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:  # noqa: ARG002 - it was not looked at
        return payload.data


class _EncoderBefore(json.JSONEncoder):
    def default(self, o: Any) -> Any:
        if isinstance(o, datetime | date | time):
            return o.isoformat()
        if isinstance(o, uuid.UUID):
            return str(o)
        if dataclasses.is_dataclass(o) and not isinstance(o, type):
            return dataclasses.asdict(o)
        if isinstance(o, Enum):
            return o.value
        if isinstance(o, collections.abc.Iterable) and not isinstance(o, str | bytes | collections.abc.Mapping):
            return list(o)
        return super().default(o)


class _JSONBefore(EncodingPayloadConverter):
    encoding = "json/plain"

    def __init__(self, encoder: type[json.JSONEncoder]) -> None:
        self._encode = encoder(separators=(",", ":"), sort_keys=True).encode

    def to_payload(self, value: Any) -> Payload | None:
        return Payload({"encoding": b"json/plain"}, self._encode(value).encode())

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        try:
            value = json.loads(payload.data)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"a payload that should be JSON is not: {error}") from error
        return value if type_hint is None else value_to_type(type_hint, value)


def value_to_type(hint: Any, value: Any) -> Any:
    """`value` as `hint` says. Raises TypeError where that cannot be."""
    if hint is Any or hint is None or isinstance(hint, typing.TypeVar):
        return value
    if isinstance(hint, typing.NewType):
        return value_to_type(hint.__supertype__, value)
    origin = get_origin(hint)
    if origin is typing.Annotated:
        return value_to_type(get_args(hint)[0], value)
    if origin is Literal:
        if value not in get_args(hint):
            raise TypeError(f"expected one of {get_args(hint)}, got {value!r}")
        return value
    if origin in (Union, types.UnionType):
        return _to_union(hint, value)
    if origin is not None:
        return _to_generic(hint, origin, value)
    return _to_class(hint, value)


def _to_union(hint: Any, value: Any) -> Any:
    members = get_args(hint)
    if value is None and type(None) in members:
        return None
    for member in members:
        if member is type(None):
            continue
        try:
            return value_to_type(member, value)
        except (TypeError, ValueError):
            continue
    raise TypeError(f"{value!r} fits none of {hint}")


def _to_generic(hint: Any, origin: Any, value: Any) -> Any:
    arguments = get_args(hint)
    if origin is tuple:
        items = _items(hint, value)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(value_to_type(arguments[0], item) for item in items)
        if len(arguments) != len(items):
            raise TypeError(f"expected {len(arguments)} values for {hint}, got {len(items)}")
        return tuple(value_to_type(argument, item) for argument, item in zip(arguments, items, strict=True))
    if origin in _LISTS:
        return _LISTS[origin](value_to_type(arguments[0], item) for item in _items(hint, value))
    if isinstance(origin, type) and issubclass(origin, collections.abc.Mapping):
        if not isinstance(value, dict):
            raise TypeError(f"expected an object for {hint}, got {type(value).__name__}")
        key_hint, item_hint = arguments
        return {_key(key_hint, key): value_to_type(item_hint, item) for key, item in value.items()}
    if dataclasses.is_dataclass(origin):
        return _to_class(origin, value)
    return value


def _key(hint: Any, key: str) -> Any:
    if hint is int:
        return int(key)
    if hint is float:
        return float(key)
    if hint is bool:
        return {"true": True, "false": False}[key]
    return value_to_type(hint, key)


def _items(hint: Any, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list for {hint}, got {type(value).__name__}")
    return value


def _to_class(hint: Any, value: Any) -> Any:
    if not isinstance(hint, type):
        return value
    if hint is type(None):
        if value is not None:
            raise TypeError(f"expected nothing, got {value!r}")
        return None
    if hint in (bool, str):
        if not isinstance(value, hint):
            raise TypeError(f"expected {hint.__name__}, got {type(value).__name__}")
        return value
    if issubclass(hint, Enum):
        return hint(value)
    if hint in (int, float):
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError(f"expected {hint.__name__}, got {type(value).__name__}")
        return hint(value)
    if hint in (datetime, date, time):
        return hint.fromisoformat(_string(hint, value))
    if hint is timedelta:
        return timedelta(seconds=value)
    if hint is uuid.UUID:
        return uuid.UUID(_string(hint, value))
    if hint is bytes:
        return bytes(_items(hint, value))
    if hint in (list, set, frozenset, deque, tuple):
        return hint(_items(hint, value))
    if hint is dict:
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, got {type(value).__name__}")
        return value
    if dataclasses.is_dataclass(hint):
        return _to_dataclass(hint, value)
    if typing.is_typeddict(hint):
        fields = typing.get_type_hints(hint)
        return {name: value_to_type(fields[name], item) if name in fields else item for name, item in value.items()}
    return value


def _string(hint: Any, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string for {hint.__name__}, got {type(value).__name__}")
    return value


def _to_dataclass(hint: Any, value: Any) -> Any:
    """Unknown fields are ignored, so that a newer sender does not break an older reader."""
    if not isinstance(value, dict):
        raise TypeError(f"expected an object for {hint.__name__}, got {type(value).__name__}")
    fields = _fields(hint)
    arguments: dict[str, Any] = {}
    for name, item in value.items():
        if name in fields:
            try:
                arguments[name] = value_to_type(fields[name], item)
            except (TypeError, ValueError) as error:
                raise TypeError(f"{hint.__name__}.{name}: {error}") from error
    return hint(**arguments)


@lru_cache(maxsize=1024)
def _fields(hint: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(hint)
    return {field.name: hints[field.name] for field in dataclasses.fields(hint) if field.init}
