"""What calls of the client are given: `arg` against `args`, and the type of everything else, before anything is sent (semantics 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from perdure.common import RetryPolicy

UNSET: Any = object()
"""Default of every `arg`, so that None is an argument like any other."""

_FIXES: dict[type, str] = {
    str: "give text, for example str(…) of it",
    timedelta: "give timedelta(seconds=…)",
    RetryPolicy: "give RetryPolicy(…)",
    Sequence: "give a list",
    Mapping: "give a dict",
    Callable: "give a function",  # type: ignore[dict-item]
}


def arguments(arg: Any, args: Sequence[Any]) -> Sequence[Any]:
    """The arguments of a call. Raises ValueError if both forms are used, TypeError for what is no list or tuple."""
    if isinstance(args, str | bytes) or not isinstance(args, Sequence):
        raise TypeError(f"args is {_shown(args)}, and must be a list or tuple of arguments; pass a single one as arg")
    if arg is UNSET:
        return args
    if args:
        raise ValueError("arg and args cannot both be given")
    return (arg,)


def expect(argument: str, value: Any, kind: type, *, optional: bool = False, names: str = "") -> None:
    """Raise TypeError that names the argument unless `value` is a `kind`. `names` is what users call the kind."""
    if isinstance(value, kind) or (optional and value is None):
        return
    wanted = f"{names or kind.__name__}{' or None' if optional else ''}"
    raise TypeError(f"{argument} is {_shown(value)}, and must be a {wanted}: {_FIXES.get(kind, f'give a {names or kind.__name__}')}")


def expect_call(*, rpc_timeout: Any = None, request_id: Any = None, **texts: Any) -> None:
    """The same for what most calls take: a timeout, a request id, and texts that may be None."""
    expect("rpc_timeout", rpc_timeout, timedelta, optional=True)
    expect("request_id", request_id, str, optional=True)
    for name, value in texts.items():
        expect(name, value, str, optional=True)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if value is None else f"{text if len(text) <= 100 else text[:100] + '…'} ({type(value).__name__})"
