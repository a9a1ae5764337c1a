"""JSON values -> values of a hinted type. Only the hint says what is made; nothing that the wire names is looked up.

A hint that does not say how a value is made is a TypeError that names it: a value is never handed on as something else.
"""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import json
import numbers
import sys
import types
import typing
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, Literal, Union, get_args, get_origin

from perdure.converter._annotations import Unresolved, annotations_of, resolved
from perdure.converter._plain import FIX, is_model, is_old_model, plain
from perdure.exceptions import FailureError

_EXACT = frozenset({str, int, float, bool})
_SCALARS = (int, float)
_WRAPPERS = (typing.Annotated, typing.ClassVar, typing.Final, typing.Required, typing.NotRequired)

_ABSTRACT: dict[Any, Callable[[Iterable[Any]], Any]] = {
    collections.abc.Iterable: list,
    collections.abc.Reversible: list,
    collections.abc.Container: list,
    collections.abc.Collection: list,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
    collections.abc.Iterator: iter,
    collections.abc.Generator: lambda items: (item for item in items),
    collections.abc.KeysView: lambda items: dict.fromkeys(items).keys(),
    collections.abc.ValuesView: lambda items: dict(enumerate(items)).values(),
}
"""What is made for an interface of collections that hints name."""

_BYTES: dict[Any, Callable[[bytes], Any]] = {bytes: bytes, bytearray: bytearray, memoryview: memoryview}
_COLLECTIONS = (collections.abc.Sequence, collections.abc.Set)

_Bindings = Mapping[Any, Any]
"""What the type variables of a generic class stand for."""


@dataclasses.dataclass(frozen=True)
class _Shape:
    """The named fields of a class: their hints, those without which none can be made, and those that may be None all the same."""

    hints: dict[str, Any]
    required: frozenset[str]
    nullable: frozenset[str] = frozenset()
    set_after: frozenset[str] = frozenset()


def value_to_type(hint: Any, value: Any) -> Any:
    """`value`, as JSON gave it, as `hint` says. Raises TypeError or ValueError where that cannot be."""
    try:
        return _read(hint, value, {})
    except (ArithmeticError, AttributeError, LookupError, RecursionError) as error:
        raise TypeError(f"{_shown(value)} cannot be read as {_named(hint)}: {type(error).__name__}: {error}") from error


def _read(hint: Any, value: Any, bindings: _Bindings) -> Any:
    if type(value) is hint and hint in _EXACT:
        return value
    if hint is Any or hint is None or hint is object:
        return value
    if isinstance(hint, Unresolved):
        raise TypeError(str(hint))
    if isinstance(hint, typing.TypeVar):
        return _read_variable(hint, value, bindings)
    if isinstance(hint, typing.NewType):
        return _read(hint.__supertype__, value, bindings)
    origin, arguments = get_origin(hint), get_args(hint)
    if _is_alias(hint) or _is_alias(origin):
        alias = hint if origin is None else origin
        return _read(alias.__value__, value, _bound(alias.__type_params__, arguments, bindings))
    if origin in _WRAPPERS:
        return _read(arguments[0], value, bindings)
    if isinstance(hint, dataclasses.InitVar):
        return _read(hint.type, value, bindings)
    if origin is Literal:
        return _read_literal(hint, arguments, value)
    if origin in (Union, types.UnionType):
        return _read_union(hint, arguments, value, bindings)
    cls = hint if origin is None else origin
    if not isinstance(cls, type):
        raise _unknown(hint, value)
    # typing.List alone has an origin, and is generic in nothing
    given = tuple(type(None) if argument is None else argument for argument in arguments) if hasattr(hint, "__args__") else None
    return _read_class(hint, cls, given, value, bindings)


def _read_variable(variable: typing.TypeVar, value: Any, bindings: _Bindings) -> Any:
    if variable in bindings:
        return _read(bindings[variable], value, {})
    if variable.__constraints__:
        return _read_union(variable, variable.__constraints__, value, {})
    bound = variable.__bound__
    if isinstance(bound, typing.ForwardRef):
        bound = resolved(bound, vars(sys.modules[variable.__module__]), {}, f"the type variable {variable}")
    return _read(bound, value, {})


def _read_literal(hint: Any, members: tuple[Any, ...], value: Any) -> Any:
    for member in members:
        written = plain(member)
        if any(type(one) is type(value) and one == value for one in (written, member)):
            return member
    raise TypeError(f"expected one of {_named(hint)}, got {_shown(value)}")


def _read_union(hint: Any, members: tuple[Any, ...], value: Any, bindings: _Bindings) -> Any:
    """The first member that fits, in declared order; but a number's own type first, and of classes those that lose no key."""
    if value is None and any(member in (type(None), None) for member in members):
        return None
    if isinstance(value, bool | int | float) and type(value) in members:
        return value
    possible = [member for member in members if member is not type(None)]
    if isinstance(value, dict) and len(possible) > 1:
        possible.sort(key=lambda member: _misfit(member, value))
    problems = []
    for member in possible:
        try:
            return _read(member, value, bindings)
        except Exception as error:  # noqa: BLE001 - whatever one member raises, another may fit
            problems.append(f"{_named(member)}: {error}")
    raise TypeError(f"{_shown(value)} fits none of {_named(hint)} ({'; '.join(problems)})")


def _misfit(member: Any, value: dict[str, Any]) -> tuple[int, int]:
    """How many keys of `value` a class would drop or miss, and how many of those it could do without are not there."""
    cls = get_origin(member) or member
    if not isinstance(cls, type):
        return 0, 0
    if dataclasses.is_dataclass(cls) or typing.is_typeddict(cls):
        shape = _shape(cls)
        wrong = len(value.keys() - shape.hints.keys()) + len(shape.required - value.keys())
        return wrong, len(shape.hints.keys() - value.keys())
    fields = getattr(cls, "model_fields", None) if is_model(cls) else getattr(cls, "__fields__", None) if is_old_model(cls) else None
    if not isinstance(fields, dict):
        return 0, 0
    names = [{name, getattr(field, "alias", None) or name} for name, field in fields.items()]
    return len(value.keys() - set().union(*names)), sum(not value.keys() & either for either in names)


def _read_class(hint: Any, cls: type, arguments: tuple[Any, ...] | None, value: Any, bindings: _Bindings) -> Any:
    """`arguments` are those of a generic class, None where none are given."""
    if isinstance(value, bytes):  # a payload of its own: JSON has none
        return _read_bytes(hint, cls, value)
    if cls is type(None):
        if value is not None:
            raise TypeError(f"expected nothing, got {_shown(value)}")
        return None
    if issubclass(cls, Enum):
        return _read_enum(cls, value)
    if issubclass(cls, bool | str | int | float):
        return _read_scalar(cls, value)
    if cls in _BYTES:
        return _BYTES[cls](bytes(_items(hint, value)))
    if cls in _ABSTRACT:
        return _ABSTRACT[cls](_each(arguments, _items(hint, value), bindings))
    if issubclass(cls, tuple):
        return _read_tuple(hint, cls, arguments, value, bindings)
    if typing.is_typeddict(cls):
        return _read_typed_dict(cls, _bound_class(cls, arguments, bindings), value)
    if dataclasses.is_dataclass(cls):
        return _read_dataclass(cls, _bound_class(cls, arguments, bindings), value)
    if is_model(cls) or is_old_model(cls):
        return _checked(cls, value, lambda: _read_model(cls, value))
    if issubclass(cls, collections.UserString):
        return cls(_text(hint, value))
    if issubclass(cls, collections.abc.Mapping):
        return _read_mapping(hint, cls, arguments, value, bindings)
    if issubclass(cls, _COLLECTIONS):
        return _made(cls, _each(arguments, _items(hint, value), bindings))
    return _read_known(hint, cls, value)


def _read_model(cls: Any, value: Any) -> Any:
    """A strict model takes a text for a time only where it knows that it reads JSON."""
    if not is_model(cls):
        return cls.parse_obj(value)
    if callable(getattr(cls, "model_validate_json", None)):
        return cls.model_validate_json(json.dumps(value))
    return cls.model_validate(value)


def _read_known(hint: Any, cls: type, value: Any) -> Any:
    """Classes of the standard library that are written as one text or number; and interfaces that the value has as it is."""
    if issubclass(cls, datetime | date | time):
        return cls.fromisoformat(_text(hint, value))
    if cls is timedelta:
        return timedelta(seconds=_read_scalar(float, value))
    if cls is uuid.UUID:
        return uuid.UUID(_text(hint, value))
    if cls is Decimal:
        return Decimal(_text(hint, value)) if isinstance(value, str) else Decimal(_read_scalar(int, value))
    if issubclass(cls, PurePath):
        return cls(_text(hint, value))
    if cls.__module__ == "os" and cls.__name__ == "PathLike":
        return Path(_text(hint, value))
    if cls in (numbers.Number, numbers.Complex, numbers.Real, collections.abc.Hashable, collections.abc.Sized):
        if isinstance(value, cls):
            return value
        raise TypeError(f"expected {_named(hint)}, got {_shown(value)}")
    raise _unknown(hint, value)


def _read_bytes(hint: Any, cls: type, value: bytes) -> Any:
    if cls in _BYTES:
        return _BYTES[cls](value)
    if isinstance(value, cls):
        return value
    raise TypeError(f"expected {_named(hint)}, got bytes")


def _read_enum(cls: type[Enum], value: Any) -> Enum:
    for member in cls:
        if type(member.value) is type(value) and member.value == value:
            return member
    for member in cls:
        if isinstance(value, list | dict) and plain(member.value) == value:
            return member
    try:
        if not isinstance(value, bool | float):  # which equal numbers, and are none
            return cls(value)  # a flag of several members, or what _missing_ finds
    except (ValueError, TypeError):
        pass
    raise TypeError(f"{_shown(value)} is not a value of {cls.__qualname__}")


def _read_scalar(cls: type[Any], value: Any) -> Any:
    """A float that is whole may be given for an int, and an int for a float; text and truth values are only themselves."""
    base = next(base for base in (bool, str, int, float) if issubclass(cls, base))
    if not isinstance(value, _SCALARS if base in _SCALARS else base) or (isinstance(value, bool) and base is not bool):
        raise TypeError(f"expected {cls.__qualname__}, got {_shown(value)}")
    if base is int and value != int(value):
        raise TypeError(f"expected {cls.__qualname__}, got {value!r}, which is not whole")
    if base is float and isinstance(value, int) and (abs(value) >= 2**1023 or int(float(value)) != value):
        return value  # no float says it; an int stands for one everywhere
    return base(value) if cls is base else _made(cls, base(value))


def _read_tuple(hint: Any, cls: type, arguments: tuple[Any, ...] | None, value: Any, bindings: _Bindings) -> Any:
    if any(get_origin(argument) is typing.Unpack or getattr(argument, "__unpacked__", False) for argument in arguments or ()):
        raise _unknown(hint, value)
    items = _items(hint, value)
    names = getattr(cls, "_fields", None)
    if names is not None:
        bindings = _bound_class(cls, arguments, bindings)
        hints = [_shape(cls).hints.get(name) for name in names] + [Any] * (len(items) - len(names))
        read = [_read(one, item, bindings) for one, item in zip(hints, items, strict=False)]
        return _checked(cls, value, lambda: cls(*read))
    if arguments is None:
        return _made(cls, items)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return _made(cls, [_read(arguments[0], item, bindings) for item in items])
    if len(arguments) != len(items):
        raise TypeError(f"expected {len(arguments)} values for {_named(hint)}, got {len(items)}")
    return _made(cls, [_read(argument, item, bindings) for argument, item in zip(arguments, items, strict=True)])


def _read_mapping(hint: Any, cls: type, arguments: tuple[Any, ...] | None, value: Any, bindings: _Bindings) -> Any:
    fields = _object(hint, value)
    key_hint, item_hint = arguments if arguments is not None and len(arguments) == 2 else (Any, arguments[0] if arguments else Any)
    if issubclass(cls, collections.Counter) and item_hint is Any:
        item_hint = int
    read = {_read_key(key_hint, key, bindings): _read(item_hint, item, bindings) for key, item in fields.items()}
    if len(read) != len(fields):
        raise TypeError(f"two keys of {_shown(value)} are the same as {_named(key_hint)}")
    if cls in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
        return read
    if issubclass(cls, collections.defaultdict):
        factory = get_origin(item_hint) or item_hint
        return cls(factory if factory in (int, float, str, bool, list, dict, set) else None, read)
    return _made(cls, read)


def _read_key(hint: Any, key: str, bindings: _Bindings) -> Any:
    """A key as text, or as what JSON's text of another kind of key stands for."""
    if hint is str or hint is Any:
        return key
    try:
        return _read(hint, key, bindings)
    except (TypeError, ValueError) as error:
        other: Any = {"true": True, "false": False, "null": None}.get(key, key)
        for attempt in (int, float):
            if other is key:
                try:
                    other = attempt(key)
                except ValueError:
                    continue
        if other is key or plain({other: None}).keys() != {key}:
            raise TypeError(f"the key {_shown(key)} is no {_named(hint)}: {error}") from error
        return _read(hint, other, bindings)


def _read_typed_dict(cls: type, bindings: _Bindings, value: Any) -> dict[str, Any]:
    """Unknown keys are kept, and those that are missing stay so: the value is the dict that was sent."""
    shape = _shape(cls)
    return {
        name: _field(cls, name, shape.hints[name], item, bindings) if name in shape.hints else item
        for name, item in _object(cls, value).items()
    }


def _read_dataclass(cls: type, bindings: _Bindings, value: Any) -> Any:
    """Unknown fields are ignored, so that a newer sender does not break an older reader."""
    fields = _object(cls, value)
    shape = _shape(cls)
    read = {
        name: None if item is None and name in shape.nullable else _field(cls, name, shape.hints[name], item, bindings)
        for name, item in fields.items()
        if name in shape.hints
    }
    if missing := sorted(shape.required - read.keys()):
        raise TypeError(f"{_shown(value)} is no {cls.__qualname__}: it has no {', '.join(missing)}; give new fields a default")
    made = _checked(cls, value, lambda: cls(**{name: item for name, item in read.items() if name not in shape.set_after}))
    for name in shape.set_after & read.keys():
        object.__setattr__(made, name, read[name])
    return made


def _field(cls: type, name: str, hint: Any, value: Any, bindings: _Bindings) -> Any:
    try:
        return _read(hint, value, bindings)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise TypeError(f"{cls.__qualname__}.{name}: {error}") from error


@lru_cache(maxsize=1024)
def _shape(cls: Any) -> _Shape:
    hints = annotations_of(cls)
    if typing.is_typeddict(cls):
        return _Shape(hints, frozenset(cls.__required_keys__))
    if not dataclasses.is_dataclass(cls):
        return _Shape(hints, frozenset())
    fields = dataclasses.fields(cls)
    missing = dataclasses.MISSING
    return _Shape(
        {field.name: hints.get(field.name, Any) for field in fields},
        frozenset(field.name for field in fields if field.init and field.default is missing and field.default_factory is missing),
        frozenset(field.name for field in fields if field.default is None),
        frozenset(field.name for field in fields if not field.init),
    )


def _each(arguments: tuple[Any, ...] | None, items: list[Any], bindings: _Bindings) -> list[Any]:
    return items if not arguments else [_read(arguments[0], item, bindings) for item in items]


def _made(cls: type[Any], *arguments: Any) -> Any:
    return cls(*arguments) if cls.__module__ in ("builtins", "collections") else _checked(cls, arguments[0], lambda: cls(*arguments))


def _checked(cls: type, value: Any, make: Callable[[], Any]) -> Any:
    """What `make` gives. What the class itself finds wrong is told with its name; an error that fails a workflow stays what it is."""
    try:
        return make()
    except FailureError:
        raise
    except Exception as error:
        raise TypeError(f"{_shown(value)} is no {cls.__qualname__}: {type(error).__name__}: {error}") from error


def _items(hint: Any, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list for {_named(hint)}, got {_shown(value)}")
    return value


def _object(hint: Any, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object for {_named(hint)}, got {_shown(value)}")
    return value


def _text(hint: Any, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string for {_named(hint)}, got {_shown(value)}")
    return value


def _unknown(hint: Any, value: Any) -> TypeError:
    return TypeError(f"the hint {_named(hint)} does not say how it is made of JSON (here {_shown(value)}): {FIX}")


def _is_alias(hint: Any) -> bool:
    return type(hint).__name__ == "TypeAliasType"


def _bound(parameters: tuple[Any, ...], arguments: tuple[Any, ...], bindings: _Bindings) -> _Bindings:
    given = dict(zip(parameters, arguments, strict=False))
    return {parameter: _substituted(argument, bindings) for parameter, argument in given.items()}


def _bound_class(cls: type, arguments: tuple[Any, ...] | None, bindings: _Bindings) -> _Bindings:
    """The class's own type variables, and those of its generic bases, by what they stand for."""
    bound = dict(_bound(getattr(cls, "__parameters__", ()), arguments or (), bindings))
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and origin is not typing.Generic:
            bound.update({key: item for key, item in _bound_class(origin, get_args(base), bound).items() if key not in bound})
    return bound


def _substituted(hint: Any, bindings: _Bindings) -> Any:
    """`hint` with the type variables that are known put in."""
    if isinstance(hint, typing.TypeVar):
        return bindings.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if isinstance(hint, type) or not parameters:
        return hint
    return hint[tuple(bindings.get(parameter, parameter) for parameter in parameters)]


def _named(hint: Any) -> str:
    if isinstance(hint, type) and get_origin(hint) is None:
        return hint.__qualname__
    return str(hint).replace("typing.", "")


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 100 else text[:100] + '…'} ({type(value).__name__})"
