"""Values of every kind of hint: what is written is read back as the same value, or a TypeError says why not."""

# ruff: noqa: UP006, UP007, UP035, UP045 - the older spellings of hints are what is tested

import collections
import collections.abc
import sys
import typing
import uuid
from collections.abc import Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum, auto
from pathlib import Path, PurePosixPath
from typing import (
    AbstractSet,
    Annotated,
    Any,
    Deque,
    Dict,
    FrozenSet,
    Generic,
    List,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Set,
    Tuple,
    TypedDict,
    TypeVar,
    Union,
)

import pytest
from typing_extensions import TypeAliasType

from perdure.converter import DataConverter, value_to_type

CONVERTER = DataConverter.default.payload_converter

T = TypeVar("T")
BoundT = TypeVar("BoundT", bound="Item")
OneT = TypeVar("OneT", int, str)
UserId = NewType("UserId", int)


class Color(Enum):
    RED = "red"
    MIXED = (1, 2)


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Word(StrEnum):
    YES = "yes"


class Right(Flag):
    READ = auto()
    WRITE = auto()


@dataclass
class Item:
    name: str
    data: bytes = b""
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Order:
    id: uuid.UUID
    items: list[Item]
    by_size: dict[Size, tuple[Item, ...]] = field(default_factory=dict)
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    wait: timedelta = timedelta()
    tags: FrozenSet[str] = frozenset()


@dataclass
class Counted:
    words: list[str]
    count: int = field(init=False)

    def __post_init__(self) -> None:
        self.count = len(self.words)


@dataclass
class Box(Generic[T]):
    content: T
    more: List[T] = field(default_factory=list)


@dataclass
class BoxOfItems(Box[Item]):
    label: str = ""


@dataclass
class Tree:
    name: str
    children: "list[Tree]" = field(default_factory=list)


@dataclass
class Outer:
    @dataclass
    class Inner:
        x: int

    inner: "Outer.Inner"


class Point(NamedTuple):
    x: int
    item: Item
    y: int = 5


class Movie(TypedDict):
    title: str
    item: Item
    year: NotRequired[int]


class Person(TypedDict, total=False):
    first: str
    last: str


class Names(list[str]):
    """A list of one's own."""


class Money(str):
    """A text of one's own."""

    __slots__ = ()


@dataclass
class Base:
    x: int = 0


@dataclass
class Derived(Base):
    y: int = 0


ITEM = Item("a", b"\x00\xff", Decimal("1.10"))
ORDER = Order(
    uuid.UUID(int=7), [ITEM], {Size.SMALL: (ITEM,)}, datetime(2026, 5, 1, 12, 30, 1, 5, tzinfo=UTC), timedelta(days=3, microseconds=7)
)

CASES: list[tuple[Any, Any]] = [
    (Any, [1, "a", None, 2.5, True]),
    (object, {"a": [1]}),
    (T, [1]),
    (BoundT, ITEM),
    (OneT, "a"),
    (None, 5),
    (type(None), None),
    (int, 5),
    (int, 2**80),
    (float, 2.5),
    (float, float("inf")),
    (bool, True),
    (str, "name \udcff.txt"),
    (bytes, b"\x00\xff"),
    (bytearray, bytearray(b"\x00\xff")),
    (memoryview, memoryview(b"\x00\xff")),
    (Sequence[int], b"\x00\xff"),
    (UserId, 5),
    (Annotated[int, "of users"], 5),
    (Annotated[Item, "x"], ITEM),
    (Literal["a", 1, None], 1),
    (Literal[Color.RED, b"x"], Color.RED),
    (Literal[Color.RED, b"x"], b"x"),
    (Color, Color.RED),
    (Color, Color.MIXED),
    (Size, Size.LARGE),
    (Word, Word.YES),
    (Right, Right.READ | Right.WRITE),
    (uuid.UUID, uuid.UUID(int=5)),
    (datetime, datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)),
    (date, date(2026, 1, 2)),
    (time, time(3, 4, 5, 6)),
    (timedelta, timedelta(seconds=90)),
    (timedelta, timedelta(microseconds=-3)),
    (timedelta, timedelta(days=999_999_999)),
    (Decimal, Decimal("1.100")),
    (Path, Path("/tmp/a b")),
    (PurePosixPath, PurePosixPath("a")),
    # bare collections
    (list, [1, [2]]),
    (List, [1, [2]]),
    (dict, {"a": {"b": 1}}),
    (Dict, {"a": {"b": 1}}),
    (set, {1, 2}),
    (Set, {1, 2}),
    (frozenset, frozenset({1})),
    (FrozenSet, frozenset({1})),
    (tuple, (1, "a")),
    (Tuple, (1, "a")),
    (collections.deque, collections.deque([1])),
    (Deque, collections.deque([1])),
    (typing.Sequence, [1]),
    (Sequence, [1]),
    (MutableSequence, [1]),
    (typing.Iterable, [1]),
    (Iterable, [1]),
    (typing.Collection, [1]),
    (AbstractSet, {1}),
    (collections.abc.MutableSet, {1}),
    (typing.Mapping, {"a": 1}),
    (Mapping, {"a": 1}),
    (MutableMapping, {"a": 1}),
    (typing.OrderedDict, collections.OrderedDict(a=1)),
    (collections.Counter, collections.Counter("aab")),
    (typing.DefaultDict, {"a": 1}),
    # inside Optional and Union
    (Optional[List], [1]),
    (Optional[Dict], {"a": 1}),
    (Optional[Set], {1}),
    (Optional[Tuple], (1, 2)),
    (Optional[Sequence], [1]),
    (Optional[Mapping], {"a": 1}),
    (Optional[List], None),
    (Union[int, List, Dict], {"a": 1}),
    (list | None, [1]),
    (Union[str, Set], {1}),
    (str | int | None, 5),
    (float | int, 5),
    (int | float, 5.5),
    (bool | int, 1),
    (int | bool, True),
    (str | bytes, b"ab"),
    (str | bytes, "ab"),
    (Item | Movie | None, ITEM),
    (Base | Derived, Derived(1, 2)),
    (Derived | Base, Base(1)),
    (Optional["Base"], None),
    # of what
    (list[Item], [ITEM]),
    (List[Item], [ITEM]),
    (Sequence[Item], [ITEM]),
    (dict[str, Item], {"a": ITEM}),
    (Mapping[str, list[Item]], {"a": [ITEM]}),
    (set[Color], {Color.RED}),
    (frozenset[UserId], frozenset({5})),
    (collections.deque[Item], collections.deque([ITEM])),
    (tuple[int, Item], (1, ITEM)),
    (tuple[Item, ...], (ITEM, ITEM)),
    (tuple[()], ()),
    (Tuple[()], ()),
    (dict[int, str], {1: "a", 10: "b", 2: "c"}),
    (dict[bool, str], {True: "a"}),
    (dict[float, str], {1.5: "a"}),
    (dict[None, str], {None: "a"}),
    (dict[Color, int], {Color.RED: 1}),
    (dict[Size, int], {Size.SMALL: 1}),
    (dict[Word, int], {Word.YES: 1}),
    (dict[uuid.UUID, int], {uuid.UUID(int=5): 1}),
    (dict[date, int], {date(2026, 1, 2): 1}),
    (dict[int | None, int], {1: 1, None: 2}),
    (dict[UserId, int], {1: 1}),
    (collections.defaultdict[str, list[int]], collections.defaultdict(list, a=[1])),
    (collections.OrderedDict[str, Item], collections.OrderedDict(a=ITEM)),
    # classes
    (Item, ITEM),
    (Order, ORDER),
    (Counted, Counted(["a", "b"])),
    (Box[Item], Box(ITEM, [ITEM])),
    (Box[Box[int]], Box(Box(1), [Box(2)])),
    (Box, Box([1])),
    (BoxOfItems, BoxOfItems(ITEM, [ITEM], "x")),
    (Tree, Tree("a", [Tree("b", [Tree("c")])])),
    (Outer, Outer(Outer.Inner(1))),
    (Point, Point(1, ITEM)),
    (list[Point], [Point(1, ITEM, 2)]),
    (Movie, Movie(title="t", item=ITEM)),
    (Movie, Movie(title="t", item=ITEM, year=2026)),
    (Movie | None, Movie(title="t", item=ITEM)),
    (str | Movie, "t"),
    (int | Movie | str, "t"),
    (Person | Movie, Movie(title="t", item=ITEM)),
    (Person | Movie, Person(first="a")),
    (Names, Names(["a"])),
    (Money, Money("5 EUR")),
    (dict[str, bytes], {"a": b"\x00\xff"}),
    (list[bytes], [b"\x00\xff"]),
    (dict[str, bytearray], {"a": bytearray(b"a")}),
]


@pytest.mark.parametrize(("hint", "value"), CASES, ids=[f"{number}-{hint}"[:60] for number, (hint, _) in enumerate(CASES)])
def test_a_value_is_read_as_its_hint_says(hint: Any, value: Any) -> None:
    payload = CONVERTER.to_payload(value)
    read = CONVERTER.from_payload(payload, hint)
    assert read == value
    assert type(read) is type(value) or not isinstance(value, Enum | Item | str | int | tuple | set | bytes)
    assert CONVERTER.to_payload(read) == payload, "the same value has the same bytes"


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, "5", r"expected int, got '5' \(str\)"),
        (int, 2.5, "not whole"),
        (int, True, "expected int"),
        (bool, 1, "expected bool"),
        (str, b"ab", "expected str, got bytes"),
        (Item, [1], "expected an object for Item"),
        (Item, {"data": []}, "has no name"),
        (Item, {"name": 5}, r"Item\.name: expected str"),
        (list[int], {"a": 1}, r"expected a list for list\[int\]"),
        (List, 5, "expected a list for List"),
        (Movie, "x", "expected an object for Movie"),
        (Literal[1], True, r"expected one of Literal\[1\]"),
        (Literal["a"], "b", r"expected one of Literal\['a'\], got 'b'"),
        (Size, True, "not a value of Size"),
        (Size, 3, "not a value of Size"),
        (dict[int, str], {"a": "b"}, r"the key 'a' \(str\) is no int"),
        (dict[int, str], {"01": "b"}, "is no int"),
        (tuple[int, str], [1], "expected 2 values"),
        (Point, [1], "is no Point"),
        (datetime, 5, "expected a string for datetime"),
        (date, "yesterday", "yesterday"),
        (Decimal, "abc", "Decimal"),
        (timedelta, 1e300, "timedelta"),
        (uuid.UUID, "abc", "badly formed"),
        (set[dict[str, int]], [{"a": 1}], "unhashable"),
        (Counted, {"words": 5}, r"Counted\.words"),
    ],
)
def test_a_value_that_is_no_such_thing_is_refused_with_hint_and_value(hint: Any, value: Any, message: str) -> None:
    payload = CONVERTER.to_payload(value)
    with pytest.raises((TypeError, ValueError), match=message):
        CONVERTER.from_payload(payload, hint)


@pytest.mark.parametrize(
    "hint",
    [
        Optional[Movie],
        Union[Movie, Item],
        Union[int, datetime, Decimal],
        Union[dict[int, int], Item],
        Union[Color, timedelta],
        Union[List, Set],
    ],
)
def test_a_union_gives_one_error_that_names_hint_and_value(hint: Any) -> None:
    with pytest.raises(TypeError, match=r"'abc' \(str\) fits none of") as caught:
        value_to_type(hint, "abc")
    for member in typing.get_args(hint):
        if member is not type(None):
            assert getattr(member, "__name__", str(member)) in str(caught.value)


def test_whatever_a_member_of_a_union_raises_the_next_one_is_tried() -> None:
    @dataclass
    class Picky:
        name: str

        def __post_init__(self) -> None:
            raise OSError("no")

    assert value_to_type(Picky | Item, {"name": "a"}) == Item("a")
    with pytest.raises(TypeError, match=r"is no test_whatever.*Picky: OSError: no"):
        value_to_type(Picky, {"name": "a"})


def test_none_is_none_whatever_the_hint_says() -> None:
    """As it was: a program may say `name: str = None`."""

    @dataclass
    class Old:
        name: str = None  # type: ignore[assignment]

    assert CONVERTER.from_payload(CONVERTER.to_payload(None), str) is None
    assert value_to_type(Old, {"name": None}) == Old()


def test_a_field_that_the_class_makes_itself_is_restored() -> None:
    counted = Counted(["a"])
    counted.count = 7
    assert CONVERTER.from_payload(CONVERTER.to_payload(counted), Counted).count == 7


def test_fields_of_a_newer_sender_are_ignored() -> None:
    assert value_to_type(Item, {"name": "a", "new": 1}) == Item("a")


def test_a_class_that_takes_more_than_its_fields_is_named() -> None:
    @dataclass
    class Initialised:
        x: int
        factor: InitVar[int]

    with pytest.raises(TypeError, match=r"Initialised.*factor"):
        value_to_type(Initialised, {"x": 1})


def test_an_annotation_that_cannot_be_resolved_is_named_when_its_value_comes() -> None:
    @dataclass
    class Late:
        x: int
        later: "Nowhere | None" = None  # type: ignore[name-defined]  # noqa: F821

    assert value_to_type(Late, {"x": 1}) == Late(1)
    with pytest.raises(TypeError, match=r"Late\.later: the annotation 'Nowhere \| None'.*cannot be resolved.*TYPE_CHECKING"):
        value_to_type(Late, {"x": 1, "later": {"a": 1}})


A = TypeVar("A")
B = TypeVar("B")
Items = TypeAliasType("Items", list[Item])
Pair = TypeAliasType("Pair", tuple[B, A], type_params=(A, B))


def test_type_aliases_stand_for_their_values() -> None:
    assert value_to_type(Items, [{"name": "a"}]) == [Item("a")]
    assert value_to_type(Pair[int, Item], [{"name": "a"}, 5]) == (Item("a"), 5)
    if sys.version_info >= (3, 12):  # where the language has them, one may name itself
        scope: dict[str, Any] = {}
        exec("type Nested = dict[str, Nested] | int", scope)
        assert value_to_type(scope["Nested"], {"a": {"b": 1}}) == {"a": {"b": 1}}
