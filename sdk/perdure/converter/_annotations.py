"""Annotations -> hints. One that cannot be resolved becomes a hint that says so, instead of none at all."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Unresolved:
    """The hint of an annotation whose names are not there at run time; no value can be read by it."""

    annotation: str
    place: str
    problem: str

    def __str__(self) -> str:
        return (
            f"the annotation {self.annotation!r} of {self.place} cannot be resolved ({self.problem}): import the name where the module "
            "is run, not only under TYPE_CHECKING, and define it at the top level"
        )


def annotations_of(thing: Callable[..., Any] | type) -> dict[str, Any]:
    """The hints of a function or a class by name, `return` among them."""
    try:
        return typing.get_type_hints(thing)
    except Exception:  # noqa: BLE001 - whatever an annotation raises, the others are still known
        return _one_by_one(thing)


def _one_by_one(thing: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for owner in reversed(thing.__mro__) if isinstance(thing, type) else [thing]:
        if isinstance(owner, type):
            scope: dict[str, Any] = vars(sys.modules.get(owner.__module__, typing))
            names: dict[str, Any] = {**vars(owner), owner.__name__: owner}
        else:
            scope, names = getattr(inspect.unwrap(owner), "__globals__", {}), {}
        for name, annotation in _as_written(owner).items():
            found[name] = resolved(annotation, scope, names, f"{getattr(thing, '__qualname__', thing)}, {name!r}")
    return found


def _as_written(thing: Any) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return dict(annotationlib.get_annotations(thing, format=annotationlib.Format.FORWARDREF))
    return dict(inspect.get_annotations(thing))


def resolved(annotation: Any, scope: dict[str, Any], names: dict[str, Any], place: str) -> Any:
    """The hint that one annotation stands for, or Unresolved."""

    def carrier() -> None: ...

    carrier.__annotations__ = {"hint": annotation}
    try:
        return typing.get_type_hints(carrier, scope, names)["hint"]
    except Exception as error:  # noqa: BLE001 - annotations are any expressions
        return Unresolved(annotation if isinstance(annotation, str) else repr(annotation), place, str(error))
