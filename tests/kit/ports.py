"""Every port call of a process as a place where it can die: before the call, or after it was executed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from perdure._log.errors import LogUnavailable


class Crash(BaseException):
    """The process is gone; nothing catches this."""


def crash(name: str) -> None:
    """The process dies in port call `name`."""
    raise Crash(name)


def unavailable(name: str) -> None:
    """Port call `name` was executed, and says that it failed."""
    raise LogUnavailable(f"{name} was cut off; it may have been executed")


class PortCalls:
    """Counts calls; at call number `at` (from 1), `before` it is made or after, does what `then` says: by default, crash.

    `only` narrows the calls that count to those whose name is in it.
    """

    def __init__(
        self, at: int = 0, *, before: bool = True, then: Callable[[str], None] = crash, only: frozenset[str] | None = None
    ) -> None:
        self.at = at
        self.before = before
        self.count = 0
        self.hit = ""
        self.is_dead = False
        """Whether the process has ended without a word: none of its calls is made any more."""
        self.names: list[str] = []
        self._then = then
        self._only = only

    def __call__(self, name: str, call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Make one call."""
        if self.is_dead:
            raise Crash(name)
        if self._only is not None and name not in self._only:
            return call(*arguments, **keywords)
        self.count += 1
        self.names.append(name)
        here = self.count == self.at
        if here:
            self.hit = name
        if here and self.before:
            self._then(name)
        outcome = call(*arguments, **keywords)
        if here and not self.before:
            self._then(name)
        return outcome


class Port:
    """A port whose every call is counted; what it makes is a port again."""

    _MAKES = frozenset({"producer", "consumer", "membership", "group_consumer", "request_end_offsets", "open"})
    _PLAIN = frozenset({"now_ms", "url", "creates_namespaces", "default_partitions", "outstanding"})

    def __init__(self, inner: Any, calls: PortCalls, name: str) -> None:
        self._inner = inner
        self._calls = calls
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._inner, attribute)
        if attribute in Port._PLAIN or not callable(found):
            return found
        calls, name = self._calls, f"{self._name}.{attribute}"

        def counted(*arguments: Any, **keywords: Any) -> Any:
            made = calls(name, found, *arguments, **keywords)
            return Port(made, calls, attribute) if attribute in Port._MAKES else made

        self.__dict__[attribute] = counted  # and not asked for again
        return counted


class StorePort:
    """A Store whose writes and reads are counted; a scan counts once."""

    def __init__(self, inner: Any, calls: PortCalls) -> None:
        self._inner = inner
        self._calls = calls

    def get(self, key: bytes) -> bytes | None:
        found: bytes | None = self._calls("store.get", self._inner.get, key)
        return found

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        rows: Iterator[tuple[bytes, bytes]] = self._calls("store.scan", self._inner.scan, prefix, start)
        return rows

    def scan_back(self, prefix: bytes, before: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        rows: Iterator[tuple[bytes, bytes]] = self._calls("store.scan_back", self._inner.scan_back, prefix, before)
        return rows

    def write(self, batch: Mapping[bytes, bytes | None]) -> None:
        self._calls("store.write", self._inner.write, batch)

    def flush(self) -> None:
        self._calls("store.flush", self._inner.flush)

    def close(self) -> None:
        self._inner.close()


class StoresPort:
    """A StoreProvider whose stores are counted."""

    def __init__(self, inner: Any, calls: PortCalls) -> None:
        self._inner = inner
        self._calls = calls

    def open(self, partition: int) -> StorePort:
        return StorePort(self._calls("stores.open", self._inner.open, partition), self._calls)

    def set_aside(self, partition: int, reason: str) -> str:
        kept: str = self._calls("stores.set_aside", self._inner.set_aside, partition, reason)
        return kept
