"""Whatever is written by a hint is read back by it, and nothing is read as something else."""

from __future__ import annotations

import dataclasses
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple, Optional, TypedDict

from hypothesis import given
from hypothesis import strategies as st

from perdure.converter import DataConverter, value_to_type

CONVERTER = DataConverter.default.payload_converter


class Color(Enum):
    RED = "red"
    ONE = 1
    BOTH = (1, "a")


@dataclasses.dataclass(frozen=True)
class Part:
    name: str
    data: bytes = b""
    size: int | None = None


class Pair(NamedTuple):
    first: Part
    second: float = 0.0


class Row(TypedDict, total=False):
    part: Part
    at: datetime


Typed = tuple[Any, Any]
"""A hint and a value of it."""

parts = st.builds(Part, st.text(), st.binary(), st.none() | st.integers())
moments = st.datetimes(timezones=st.just(UTC))
rows = st.fixed_dictionaries({}, optional={"part": parts, "at": moments})

_LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, st.floats(allow_nan=False)),
    (bool, st.booleans()),
    (str, st.text(st.characters(exclude_categories=()))),
    (bytes, st.binary()),
    (type(None), st.none()),
    (Color, st.sampled_from(Color)),
    (uuid.UUID, st.uuids()),
    (datetime, moments),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas(timedelta(days=-50_000), timedelta(days=50_000))),
    (Decimal, st.decimals(allow_nan=False)),
    (Part, parts),
    (Pair, st.builds(Pair, parts, st.floats(allow_nan=False))),
    (Row, rows),
]
_KEYS = [leaf for leaf in _LEAVES if leaf[0] in (int, float, bool, str, uuid.UUID, date, datetime, Decimal)]


def _leaf(known: list[tuple[Any, st.SearchStrategy[Any]]]) -> st.SearchStrategy[Typed]:
    return st.sampled_from(known).flatmap(lambda one: st.tuples(st.just(one[0]), st.lists(one[1], max_size=3)))


def _of(generic: Any, arguments: Any) -> Any:
    return generic[arguments]


@st.composite
def _nested(draw: st.DrawFn, inner: st.SearchStrategy[Typed]) -> Typed:
    """Several values of one hint become several values of a hint around it."""
    hint, values = draw(inner)
    match draw(st.sampled_from(["list", "sequence", "tuple", "fixed", "deque", "dict", "optional", "field"])):
        case "list":
            return _of(list, hint), [values]
        case "sequence":
            return _of(Sequence, hint), [values]
        case "tuple":
            return _of(tuple, (hint, ...)), [tuple(values)]
        case "fixed":
            return _of(tuple, tuple(hint for _ in values)), [tuple(values)]
        case "deque":
            return _of(deque, hint), [deque(values)]
        case "optional":
            return _of(Optional, hint), [*values, None]
        case "field":
            holder = dataclasses.make_dataclass("Holder", [("value", hint)])
            return holder, [holder(value) for value in values]
    key_hint, keys = draw(_leaf(_KEYS))
    mapped = dict(zip(keys, values, strict=False))
    return _of(draw(st.sampled_from([dict, Mapping])), (key_hint, hint)), [mapped]


typed = st.recursive(_leaf(_LEAVES), _nested, max_leaves=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(typed)
def test_what_is_written_is_read_back(pair: Typed) -> None:
    hint, values = pair
    for value in values:
        payload = CONVERTER.to_payload(value)
        read = CONVERTER.from_payload(payload, hint)
        assert read == value
        assert CONVERTER.to_payload(read) == payload


@given(typed, json_values)
def test_a_strangers_value_fits_or_is_a_typed_error(pair: Typed, found: Any) -> None:
    """One that fits is read again as the same."""
    hint, _ = pair
    try:
        read = value_to_type(hint, found)
    except (TypeError, ValueError):
        return
    assert CONVERTER.from_payload(CONVERTER.to_payload(read), hint) == read


@given(json_values)
def test_without_a_hint_json_is_given_as_it_is(value: Any) -> None:
    assert CONVERTER.from_payload(CONVERTER.to_payload(value)) == value
