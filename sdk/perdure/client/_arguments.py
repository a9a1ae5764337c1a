"""`arg` against `args`: the two ways in which every call takes its arguments (semantics 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

UNSET: Any = object()
"""Default of every `arg`, so that None is an argument like any other."""


def arguments(arg: Any, args: Sequence[Any]) -> Sequence[Any]:
    """The arguments of a call. Raises ValueError if both forms are used, TypeError for a lone string in place of a list."""
    if isinstance(args, str | bytes):
        raise TypeError("args must be a list or tuple of arguments; pass a single one as arg")
    if arg is UNSET:
        return args
    if args:
        raise ValueError("arg and args cannot both be given")
    return (arg,)
