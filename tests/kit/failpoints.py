"""Failpoints at the port calls of a real process: what fails, at which call, and how.

    PERDURE_FAILPOINTS="log.acked:3:kill,store.write:1:eio"

is NAME:N:ACTION, with N the call that it strikes, from 1, or `N+` for that one and all later ones. Only `kit.faulty` reads it, which
wraps the ports of a real owner or worker; the product knows nothing of it. Each strike is written to the file in PERDURE_FAILPOINTS_LOG
first.

Names: log.append log.acked log.readback (commit and position records of the history), claim.append claim.seen, trim.forget trim.carried
trim.checkpoint trim.delete, effect.send effect.acked, log.poll log.end_offsets member.poll, store.get store.scan store.write store.open.
Actions: kill stop (this process), raise (unavailable), after (executed, then unavailable), delay=MS, drop, twice, and of the store eio
enospc damaged.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kit.ports import StoresPort
from perdure._log.errors import LogUnavailable
from perdure._log.port import Delivery, FailedAppend, Headers, Log, Record
from perdure_platform.store.port import StoreDamaged, StoreUnavailable
from perdure_schemas.codec import decode_history
from perdure_schemas.errors import CodecError
from perdure_schemas.history import Carried, Checkpoint, Claim, Forget

T = TypeVar("T")

VARIABLE = "PERDURE_FAILPOINTS"
LOG_VARIABLE = "PERDURE_FAILPOINTS_LOG"

_OF_RECORDS = {"log": ("append", "acked", "readback"), "claim": ("append", "seen"), "trim": ("forget", "carried", "checkpoint", "delete")}
_OF_CALLS = {
    "effect": ("send", "acked"),
    "log": ("poll", "end_offsets"),
    "member": ("poll",),
    "store": ("get", "scan", "write", "open"),
}
NAMES = frozenset(f"{port}.{call}" for names in (_OF_RECORDS, _OF_CALLS) for port, calls in names.items() for call in calls)
_NOTHING: Any = object()
"""What a call that was dropped returns: its caller knows what nothing is."""


@dataclass(frozen=True, slots=True)
class Point:
    """One failpoint."""

    name: str
    at: int
    action: str
    argument: int = 0
    lasts: bool = False


def parse(text: str) -> list[Point]:
    """The failpoints of a text. Raises ValueError."""
    points = []
    for one in filter(None, text.split(",")):
        name, number, action = one.split(":")
        action, _, argument = action.partition("=")
        if name not in NAMES or action not in {*_PROCESS, "raise", "after", "delay", "drop", "twice", *_STORE}:
            raise ValueError(f"{one!r} is no failpoint")
        points.append(Point(name, int(number.rstrip("+")), action, int(argument or 0), number.endswith("+")))
    return points


_PROCESS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_STORE: Mapping[str, Callable[[str], Exception]] = {
    "eio": lambda name: StoreUnavailable(f"{name}: Input/output error"),
    "enospc": lambda name: StoreUnavailable(f"{name}: No space left on device"),
    "damaged": lambda name: StoreDamaged(f"{name}: checksum mismatch"),
}


class Failpoints:
    """Counts calls by name and strikes where a point says so."""

    def __init__(self, points: list[Point], written_to: Path | None = None) -> None:
        self._points = points
        self._written_to = written_to
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()

    def __call__(self, name: str, call: Callable[[], T]) -> T:
        """Make one call, or what a point makes of it."""
        with self._lock:
            self.calls[name] += 1
            number = self.calls[name]
            hit = next((p for p in self._points if p.name == name and (number == p.at or (p.lasts and number > p.at))), None)
            if hit is not None:
                self._write(hit, number)
        if hit is None:
            return call()
        if hit.action in _PROCESS:
            os.kill(os.getpid(), _PROCESS[hit.action])
            return call()  # a stopped process goes on here
        if hit.action in _STORE:
            raise _STORE[hit.action](name)
        match hit.action:
            case "raise":
                raise LogUnavailable(f"failpoint {name}: not executed")
            case "after":
                call()
                raise LogUnavailable(f"failpoint {name}: executed, and reported as failed")
            case "delay":
                time.sleep(hit.argument / 1000)
            case "twice":
                call()
            case "drop":
                return _NOTHING  # type: ignore[no-any-return]
        return call()

    def _write(self, point: Point, number: int) -> None:
        if self._written_to is None:
            return
        descriptor = os.open(self._written_to, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, f"{os.getpid()} {point.name}:{number}:{point.action}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class FaultyLog:
    """A Log whose calls are failpoints; `session_timeout_ms` replaces that of its members, where given."""

    def __init__(self, log: Log, points: Failpoints, session_timeout_ms: int = 0) -> None:
        self._log = log
        self._points = points
        self._session_timeout_ms = session_timeout_ms

    def producer(self, delivery: Delivery) -> _Producer:
        return _Producer(self._log.producer(delivery), self._points)

    def consumer(self) -> _Consumer:
        return _Consumer(self._log.consumer(), self._points)

    def membership(self, group: str, topic: str, session_timeout_ms: int) -> _Membership:
        return _Membership(self._log.membership(group, topic, self._session_timeout_ms or session_timeout_ms), self._points)

    def group_consumer(self, group: str, topic: str, session_timeout_ms: int) -> Any:
        return self._log.group_consumer(group, topic, self._session_timeout_ms or session_timeout_ms)

    def request_end_offsets(self, partitions: Any) -> Any:
        return self._points("log.end_offsets", lambda: self._log.request_end_offsets(partitions))

    def truncate_before(self, topic: str, partition: int, offset: int, timeout_ms: int) -> None:
        self._points("trim.delete", lambda: self._log.truncate_before(topic, partition, offset, timeout_ms))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


class _Membership:
    def __init__(self, membership: Any, points: Failpoints) -> None:
        self._membership = membership
        self._points = points

    def poll(self) -> frozenset[int]:
        found = self._points("member.poll", lambda: self._membership.poll())
        return frozenset() if found is _NOTHING else found

    def show(self, positions: Mapping[int, int]) -> None:
        self._membership.show(positions)

    def leave(self) -> None:
        self._membership.leave()


class _Producer:
    def __init__(self, producer: Any, points: Failpoints) -> None:
        self._producer = producer
        self._points = points
        self._history = 0
        self._failed: list[FailedAppend] = []

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers = (), token: object = None) -> None:
        name = _name_of(value, "append") if topic.endswith(".history") else "effect.send"
        try:
            self._points(name, lambda: self._producer.append(topic, partition, key, value, headers, token))
        except LogUnavailable as error:  # an append fails by report, never by raising
            self._failed.append(FailedAppend(token, topic, partition, error))
        self._history += topic.endswith(".history")

    def poll(self, timeout_ms: int = 0) -> tuple[list[object], list[FailedAppend]]:
        before = self._producer.outstanding()
        tokens, failed = self._producer.poll(timeout_ms)
        failed, self._failed = failed + self._failed, []
        if tokens or (self._history and before > self._producer.outstanding()):
            found = self._points("log.acked" if self._history else "effect.acked", lambda: (tokens, failed))
            return ([], failed) if found is _NOTHING else found
        return tokens, failed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


class _Consumer:
    def __init__(self, consumer: Any, points: Failpoints) -> None:
        self._consumer = consumer
        self._points = points

    def poll(self, records_max: int, timeout_ms: int) -> list[Record]:
        found: list[Record] = self._points("log.poll", lambda: self._consumer.poll(records_max, timeout_ms))
        if found is _NOTHING:
            self._consumer.poll(records_max, timeout_ms)  # taken, and skipped
            return []
        kept = []
        for record in found:
            if record.topic.endswith(".history"):
                name = _name_of(record.value, "readback")
                if self._points(name, lambda record=record: record) is _NOTHING:  # type: ignore[misc]
                    continue
            kept.append(record)
        return kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


def _name_of(value: bytes, what: str) -> str:
    """The failpoint of a history record that is appended or read back."""
    try:
        record = decode_history(value)
    except CodecError:
        return f"log.{what}"
    if isinstance(record, Claim):
        return "claim.append" if what == "append" else "claim.seen"
    if what == "append" and isinstance(record, Forget | Carried | Checkpoint):
        return f"trim.{type(record).__name__.lower()}"
    return f"log.{what}"


class FaultyStores(StoresPort):
    """A StoreProvider whose stores' calls are failpoints."""

    def __init__(self, inner: Any, points: Failpoints) -> None:
        super().__init__(inner, lambda name, call, *arguments: points(_STORE_NAMES.get(name, name), lambda: call(*arguments)))  # type: ignore[arg-type]


_STORE_NAMES = {"stores.open": "store.open", "store.scan_back": "store.scan"}
