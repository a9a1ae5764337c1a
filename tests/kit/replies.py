"""Scripts for the owner's end: what to answer, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from perdure_schemas.commands import Command, CommandBody
from perdure_schemas.replies import ReplyBody


def always(kind: type[CommandBody], *bodies: ReplyBody) -> Callable[[Command], Iterable[ReplyBody]]:
    """Answer each command of one kind with the same replies."""
    return lambda command: bodies if isinstance(command.body, kind) else ()


def in_turn(kind: type[CommandBody], *answers: Iterable[ReplyBody]) -> Callable[[Command], Iterable[ReplyBody]]:
    """Answer the first command of one kind with the first replies, and so on; the last go on for ever."""
    left = [tuple(answer) for answer in answers]

    def script(command: Command) -> Iterable[ReplyBody]:
        if not isinstance(command.body, kind):
            return ()
        return left.pop(0) if len(left) > 1 else left[0]

    return script
