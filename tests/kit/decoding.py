"""The same bytes are read by many in one simulation: by owners and those that were, by stores, by who checks. They are decoded once.

Only the kit does so. Records are frozen, and a test looks that nobody changes what lies within them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from perdure_check.schemas import COMMANDS, DEAD_LETTERS, HISTORY, REPLIES, TASKS, decoder
from perdure_platform.partition import confirm, decode
from perdure_platform.store import tables
from perdure_schemas import codec

REMEMBERED_MAX = 20_000

_DECODE_HERE: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (codec, ("decode_history", "decode_command", "decode_task", "decode_reply")),
    (confirm, ("decode_history",)),
    (decode, ("decode_command",)),
    (tables, ("decode_history", "decode_request")),
    *((decoder(topic), ("decode",)) for topic in (HISTORY, COMMANDS, TASKS, REPLIES, DEAD_LETTERS)),
)


class Remembered:
    """A decoder that remembers."""

    def __init__(self, decode: Callable[[bytes], Any]) -> None:
        self._decode = decode
        self._known: dict[bytes, Any] = {}

    def __call__(self, data: bytes) -> Any:
        value = self._known.get(data)
        if value is None:
            if len(self._known) > REMEMBERED_MAX:
                self._known.clear()
            value = self._known[data] = self._decode(data)
        return value

    def changed(self) -> list[Any]:
        """Records that are not any more what their bytes say."""
        return [value for data, value in self._known.items() if self._decode(data) != value]


_REMEMBERED: dict[Callable[[bytes], Any], Remembered] = {}


@contextmanager
def decoded_once() -> Iterator[None]:
    """Decode the same bytes once, here and in what follows."""
    before: list[tuple[Any, str, Any]] = [(module, name, getattr(module, name)) for module, names in _DECODE_HERE for name in names]
    for module, name, found in before:
        if not isinstance(found, Remembered):
            setattr(module, name, _REMEMBERED.setdefault(found, Remembered(found)))
    try:
        yield
    finally:
        for module, name, found in before:
            setattr(module, name, found)


def changed_since_decoded() -> list[Any]:
    """Records that somebody has changed after they were decoded."""
    return [value for remembered in _REMEMBERED.values() for value in remembered.changed()]
