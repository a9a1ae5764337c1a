"""Classes that are no plain data: models are written and read by themselves, others are refused at both ends."""

from __future__ import annotations

import asyncio
import io
import itertools
import math
import types
from collections import ChainMap, UserDict, UserList, UserString
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import pytest

from perdure.converter import AdvancedJSONEncoder, CompositePayloadConverter, DataConverter, JSONPlainPayloadConverter, value_to_type

CONVERTER = DataConverter.default.payload_converter
T = TypeVar("T")


class Model:
    """As pydantic's of version 2: iterating gives pairs, and the class writes and reads itself."""

    model_fields: ClassVar[dict[str, Any]] = {"name": None, "at": None}

    def __init__(self, name: str, at: datetime) -> None:
        self.name, self.at = name, at

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        yield from vars(self).items()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self.name)

    def model_dump(self, *, mode: str = "python", by_alias: bool = False) -> dict[str, Any]:
        assert by_alias
        return {"name": self.name, "at": self.at.isoformat() if mode == "json" else self.at}

    @classmethod
    def model_validate(cls, value: Any) -> Model:
        if not isinstance(value, dict):
            raise ValueError("an object is wanted")
        return cls(value["name"], datetime.fromisoformat(value["at"]))


class StrictModel(Model):
    """One that takes a text for a time only if it is told that it reads JSON."""

    @classmethod
    def model_validate(cls, value: Any) -> Model:
        raise ValueError("a datetime is wanted")

    @classmethod
    def model_validate_json(cls, text: str) -> Model:
        assert '"at"' in text
        return cls("strict", datetime(2026, 1, 1, tzinfo=UTC))


class OldModel:
    """As pydantic's of version 1."""

    def __init__(self, name: str, at: datetime) -> None:
        self.name, self.at = name, at

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        yield from vars(self).items()

    def dict(self, *, by_alias: bool = False) -> dict[str, Any]:
        assert by_alias
        return dict(vars(self))

    @classmethod
    def parse_obj(cls, value: Any) -> OldModel:
        return cls(value["name"], datetime.fromisoformat(value["at"]))


@dataclass
class Holder:
    model: Model
    models: list[Model | None] = field(default_factory=list)
    by_name: dict[str, Model] = field(default_factory=dict)


MODEL = Model("a", datetime(2026, 1, 1, tzinfo=UTC))


class Unknown:
    """Iterating gives some of what it holds."""

    def __init__(self) -> None:
        self.items = [1, 2]
        self.secret = 3

    def __iter__(self) -> Iterator[int]:
        return iter(self.items)


class Drawable(Protocol):
    def draw(self) -> None: ...


class Plain(Generic[T]):
    """A class without a way into JSON."""


class TestModels:
    def test_a_model_writes_and_reads_itself(self) -> None:
        payload = CONVERTER.to_payload(MODEL)
        assert payload.data == b'{"at":"2026-01-01T00:00:00+00:00","name":"a"}'
        assert CONVERTER.from_payload(payload, Model) == MODEL

    def test_so_do_models_in_collections_dataclasses_and_unions(self) -> None:
        for hint, value in [
            (Holder, Holder(MODEL, [MODEL, None], {"a": MODEL})),
            (list[Model], [MODEL]),
            (Model | None, MODEL),
            (str | Model, MODEL),
            (int | str | Model, "a"),
        ]:
            assert CONVERTER.from_payload(CONVERTER.to_payload(value), hint) == value

    def test_a_model_of_version_one_does_too(self) -> None:
        read = CONVERTER.from_payload(CONVERTER.to_payload(OldModel("a", MODEL.at)), OldModel)
        assert (type(read), read.name, read.at) == (OldModel, "a", MODEL.at)

    def test_a_strict_model_is_told_that_it_reads_json(self) -> None:
        assert CONVERTER.from_payload(CONVERTER.to_payload(StrictModel("a", MODEL.at)), StrictModel).name == "strict"

    def test_what_a_model_finds_wrong_is_told_with_its_name(self) -> None:
        with pytest.raises(TypeError, match=r"5 \(int\) is no Model: ValueError: an object is wanted"):
            value_to_type(Model, 5)


class TestUnknownClasses:
    @pytest.mark.parametrize(
        ("value", "named"),
        [
            (Unknown(), "test_classes.Unknown"),
            ([{"a": (Unknown(),)}], "test_classes.Unknown"),
            ({Unknown: 1}, "the class Unknown is not a value"),
            (object(), "builtins.object"),
            (Unknown, "the class Unknown is not a value"),
            (io.StringIO("a\nb"), "StringIO"),
            (ValueError("a"), "ValueError"),
            (lambda: 1, "function"),
            (1j, "complex"),
            (asyncio, "module"),
            ({(1, 2): 3}, "a key of class tuple"),
            ({1: "a", "1": "b"}, "two keys of one dict are both '1'"),
        ],
    )
    def test_one_is_not_written_as_what_it_happens_to_hold(self, value: Any, named: str) -> None:
        with pytest.raises(TypeError, match=named):
            CONVERTER.to_payload(value)

    def test_the_error_says_what_to_use(self) -> None:
        for attempt in (lambda: CONVERTER.to_payload(Unknown()), lambda: value_to_type(Unknown, [1, 2])):
            with pytest.raises(TypeError, match=r"Unknown.*use a dataclass.*model_validate.*DataConverter"):
                attempt()

    @pytest.mark.parametrize(
        "hint", [Unknown, Plain, Plain[int], Drawable, Callable[[], int], type[int], complex, "Unknown", tuple[int, *tuple[str, ...]]]
    )
    def test_one_is_not_read_as_whatever_json_gives(self, hint: Any) -> None:
        for value in ([1, 2], {"a": 1}, "a"):
            with pytest.raises(TypeError, match="does not say how it is made of JSON"):
                value_to_type(hint, value)

    async def test_what_was_not_awaited_is_named(self) -> None:
        async def later() -> int:
            return 1

        coroutine = later()
        with pytest.raises(TypeError, match="a coroutine is not a value: await it"):
            CONVERTER.to_payload([coroutine])
        await coroutine

    def test_of_several_arguments_the_error_names_the_one(self) -> None:
        with pytest.raises(TypeError, match=r"^argument 2: a value of class .*Unknown"):
            CONVERTER.to_payloads([1, Unknown(), 3])
        with pytest.raises(TypeError, match=r"^argument 2: expected int, got 'a'"):
            CONVERTER.from_payloads(CONVERTER.to_payloads([1, "a"]), [int, int])

    def test_a_converter_of_ones_own_may_write_and_read_it(self) -> None:
        class Encoder(AdvancedJSONEncoder):
            def default(self, o: Any) -> Any:
                return {"items": o.items} if isinstance(o, Unknown) else super().default(o)

        converter = CompositePayloadConverter(JSONPlainPayloadConverter(Encoder))
        for value in (Unknown(), {1: Unknown(), "a": {Size.SMALL: Unknown()}}):
            assert b'{"items":[1,2]}' in converter.to_payload(value).data
        with pytest.raises(TypeError, match="StringIO"):
            converter.to_payload(io.StringIO())


class Size(Enum):
    SMALL = "small"


class TestCollections:
    @pytest.mark.parametrize(
        ("value", "written"),
        [
            (range(3), b"[0,1,2]"),
            ((number for number in range(3)), b"[0,1,2]"),
            (map(str, [1]), b'["1"]'),
            (itertools.chain([1], [2]), b"[1,2]"),
            ({"a": 1}.keys(), b'["a"]'),
            ({"a": 1}.values(), b"[1]"),
            ({"a": 1}.items(), b'[["a",1]]'),
            (types.MappingProxyType({"a": 1}), b'{"a":1}'),
            (ChainMap({"a": 1}, {"b": 2}), b'{"a":1,"b":2}'),
            (UserDict(a=1), b'{"a":1}'),
            (UserList([1]), b"[1]"),
            (UserString("abc"), b'"abc"'),
            ({2: "b", 10: "a"}, b'{"2":"b","10":"a"}'),
            ({Size.SMALL: {1: 2, "a": 3}}, b'{"small":{"1":2,"a":3}}'),
            ({"small": Size.SMALL, "path": Path("a"), "wait": timedelta(seconds=1)}, b'{"path":"a","small":"small","wait":1}'),
            ([b"\x00\xff"], b"[[0,255]]"),
        ],
    )
    def test_the_standard_librarys_are_written_as_what_they_are(self, value: Any, written: bytes) -> None:
        assert CONVERTER.to_payload(value).data == written

    def test_an_iterator_beside_a_key_that_is_no_text_loses_nothing(self) -> None:
        value = {"first": iter([1, 2]), "second": {Size.SMALL: iter([3]), None: [iter([4])]}}
        assert CONVERTER.to_payload(value).data == b'{"first":[1,2],"second":{"null":[[4]],"small":[3]}}'

    def test_their_hints_are_read(self) -> None:
        assert value_to_type(UserDict, {"a": 1}) == UserDict(a=1)
        assert value_to_type(UserList, [1]) == UserList([1])
        assert value_to_type(types.MappingProxyType[str, int], {"a": 1}) == {"a": 1}
        assert list(value_to_type(Iterator[int], [1, 2])) == [1, 2]

    def test_what_is_no_number_comes_back(self) -> None:
        read = CONVERTER.from_payload(CONVERTER.to_payload([math.nan, -math.inf]), list[float])
        assert math.isnan(read[0])
        assert read[1] == -math.inf

    def test_what_holds_itself_or_is_too_deep_is_an_error(self) -> None:
        endless: list[Any] = []
        endless.append(endless)
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        for value in (endless, deep, {1: endless, "a": 1}):
            with pytest.raises(ValueError, match=r"Circular|too deeply"):
                CONVERTER.to_payload(value)

    def test_a_duration_that_no_number_of_seconds_says_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="round it"):
            CONVERTER.to_payload(timedelta.max)
