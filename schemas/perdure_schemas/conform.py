"""Does a value hold what the fields of its dataclass say? Asked wherever values of foreign code become records.

Annotations say what a field holds, and nothing enforces them: a UUID in a field of type `str` would be noticed by the codec, long
after the call that put it there. `conformed` gives the value back as the codec takes it: subclasses of str, int and bytes, and
enumerations of them, as plain values, lists as tuples. What the codec would refuse is a Misfit that names the field.
"""

from __future__ import annotations

import dataclasses
import operator
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Any, TypeVar, Union, get_args, get_origin

from perdure_schemas.text import described

T = TypeVar("T")
_Check = Callable[[Any], Any]

_INT_MIN, _INT_MAX = -(1 << 63), (1 << 63) - 1
"""An Avro long."""


class Misfit(ValueError):
    """A field cannot hold a value. `path` names the field from the outermost value on: `retry_options.maximum_attempts`.

    `is_kind` tells a value of a wrong type from one of the right type that has no place on the wire.
    """

    def __init__(self, value: object, wanted: str, *, is_kind: bool = True, path: str = "") -> None:
        super().__init__(f"{path or 'it'} is {described(value)}, and must be {wanted}")
        self.value = value
        self.wanted = wanted
        self.is_kind = is_kind
        self.path = path

    def within(self, name: str) -> Misfit:
        """The same, seen from the value around it."""
        path = f"{name}{self.path}" if not self.path or self.path.startswith("[") else f"{name}.{self.path}"
        return Misfit(self.value, self.wanted, is_kind=self.is_kind, path=path)


def conformed(value: T, kind: Any = None) -> T:
    """`value`, the same object where nothing had to be changed, as a value of `kind` (its own type unless given). Raises Misfit."""
    checked: T = _check_of(type(value) if kind is None else kind)(value)
    return checked


_checks: dict[Any, _Check] = {}


def _check_of(kind: Any) -> _Check:
    check = _checks.get(kind)
    if check is None:
        check = _checks[kind] = _made(kind)
    return check


def _made(kind: Any) -> _Check:
    if isinstance(kind, typing.NewType):
        return _check_of(kind.__supertype__)
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _union(get_args(kind))
    if origin is tuple:
        return _items(get_args(kind)[0])
    if origin is dict:
        return _entries(get_args(kind)[1])
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _record(kind)
    if isinstance(kind, type) and issubclass(kind, IntEnum | StrEnum):
        return _member(kind)
    raise TypeError(f"{kind!r} has no place on the wire")


def _text(value: Any) -> str:
    if type(value) is not str:
        if not isinstance(value, str):
            raise Misfit(value, "text (a str)")
        value = str.__str__(value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            wanted = "text of whole characters: it has lone surrogates, as os.fsdecode() and json.loads() may give"
            raise Misfit(value, wanted, is_kind=False) from None
    return value  # type: ignore[no-any-return]


def _whole_number(value: Any) -> int:
    if type(value) is not int:
        try:
            value = int(operator.index(value))
        except Exception:  # noqa: BLE001 - foreign code
            raise Misfit(value, "a whole number (an int)") from None
    if not _INT_MIN <= value <= _INT_MAX:
        raise Misfit(value, "a number of at most 64 bits", is_kind=False)
    return value  # type: ignore[no-any-return]


def _number(value: Any) -> float:
    if type(value) is float:
        return value
    if not isinstance(value, float | int):
        raise Misfit(value, "a number (a float)")
    try:
        return float(value)
    except OverflowError:
        raise Misfit(value, "a number that a float can hold", is_kind=False) from None


def _truth(value: Any) -> bool:
    if not isinstance(value, int):
        raise Misfit(value, "True or False")
    return bool(value)


def _octets(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    if not isinstance(value, bytes | bytearray | memoryview):
        raise Misfit(value, "bytes")
    return bytes(value)


_PLAIN: dict[Any, _Check] = {str: _text, int: _whole_number, float: _number, bool: _truth, bytes: _octets}


def _member(kind: type[IntEnum] | type[StrEnum]) -> _Check:
    wanted = f"a {kind.__name__}: {', '.join(member.name for member in kind)}"

    def check(value: Any) -> Any:
        if type(value) is kind:
            return value
        try:
            return kind(value)
        except Exception:  # noqa: BLE001 - foreign code
            raise Misfit(value, wanted) from None

    return check


def _items(item: Any) -> _Check:
    check_item = _check_of(item)

    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray | memoryview):
            raise Misfit(value, "a sequence (a tuple)")
        checked = []
        for at, one in enumerate(value):
            try:
                checked.append(check_item(one))
            except Misfit as misfit:
                raise misfit.within(f"[{at}]") from None
        return value if type(value) is tuple and all(map(operator.is_, value, checked)) else tuple(checked)

    return check


def _entries(item: Any) -> _Check:
    check_item = _check_of(item)

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Misfit(value, "a mapping (a dict)")
        checked: dict[str, Any] = {}
        is_plain = type(value) is dict
        for name, one in value.items():
            try:
                plain = _text(name)
            except Misfit as misfit:
                raise misfit.within("[a name in it]") from None
            try:
                checked[plain] = item = check_item(one)
            except Misfit as misfit:
                raise misfit.within(f"[{plain!r}]") from None
            is_plain = is_plain and plain is name and item is one
        return value if is_plain else checked  # type: ignore[return-value]  # a dict, where it is plain

    return check


def _union(members: tuple[Any, ...]) -> _Check:
    nullable = types.NoneType in members
    kinds = [member for member in members if member is not types.NoneType]
    checks = {member: _check_of(member) for member in kinds}
    wanted = " or ".join([*(getattr(member, "__name__", str(member)) for member in kinds), *(["None"] if nullable else [])])

    def check(value: Any) -> Any:
        if value is None and nullable:
            return None
        if len(kinds) == 1:
            return checks[kinds[0]](value)
        for member in kinds:
            if isinstance(value, member):
                return checks[member](value)
        raise Misfit(value, wanted)

    return check


def _record(kind: type) -> _Check:
    checks: list[tuple[str, _Check]] = []

    def check(value: Any) -> Any:
        if not isinstance(value, kind):
            raise Misfit(value, f"a {kind.__name__}")
        changed: dict[str, Any] = {}
        for name, check_field in checks:
            held = getattr(value, name)
            try:
                checked = check_field(held)
            except Misfit as misfit:
                raise misfit.within(name) from None
            if checked is not held:
                changed[name] = checked
        if type(value) is kind and not changed:
            return value
        return kind(**{name: changed.get(name, getattr(value, name)) for name, _ in checks})

    _checks[kind] = check  # before its fields: a Failure has a cause
    hints = typing.get_type_hints(kind)
    checks.extend((field.name, _check_of(hints[field.name])) for field in dataclasses.fields(kind))
    return check
