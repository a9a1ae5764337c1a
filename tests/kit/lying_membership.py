"""A membership that says what a test wants: that this process leads everything, or everything and nothing in turn; or that comes and goes.

    PERDURE_FAULTY_LEADS="everything:60"

is LIE:SECONDS (`leads` makes it), told from the first call on; after that it is the truth that is told. Lies: `everything`; `flaps`
(everything and nothing in turn, a second each); `rejoins` (no lie, but this member leaves its group, and joins it anew, every two seconds).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from perdure._log.port import Log, Membership

VARIABLE = "PERDURE_FAULTY_LEADS"

_FLAP_S = 1.0
_REJOIN_S = 2.0
_TIMEOUT_MS = 30_000


def leads(lie: str, seconds: float) -> dict[str, str]:
    """The environment of an owner that is told who leads."""
    return {VARIABLE: f"{lie}:{seconds}"}


class LyingLog:
    """A Log whose memberships lie, as `lie` says."""

    def __init__(self, log: Log, lie: str) -> None:
        self._log = log
        self._lie, _, seconds = lie.partition(":")
        self._seconds = float(seconds)

    def membership(self, group: str, topic: str, session_timeout_ms: int) -> LyingMembership:
        def join() -> Membership:
            return self._log.membership(group, topic, session_timeout_ms)

        everything = frozenset(range(self._log.describe_topics([topic], _TIMEOUT_MS)[topic].partitions))
        return LyingMembership(join, everything, self._lie, self._seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


class LyingMembership:
    """A real membership beneath; what it says is asked for all the same, so that this process stays a member."""

    def __init__(self, join: Any, everything: frozenset[int], lie: str, seconds: float) -> None:
        assert lie in ("everything", "flaps", "rejoins"), lie
        self._join = join
        self._everything = everything
        self._lie = lie
        self._began = time.monotonic()
        self._ends = self._began + seconds
        self._rejoin_at = self._began + _REJOIN_S
        self._membership: Membership = join()

    def poll(self) -> frozenset[int]:
        now = time.monotonic()
        if self._lie == "rejoins" and self._rejoin_at <= now < self._ends:
            self._membership.leave()
            self._membership = self._join()
            self._rejoin_at = time.monotonic() + _REJOIN_S
        truth = self._membership.poll()
        if now >= self._ends or self._lie == "rejoins":
            return truth
        if self._lie == "flaps" and int((now - self._began) / _FLAP_S) % 2:
            return frozenset()
        return self._everything

    def show(self, positions: Mapping[int, int]) -> None:
        self._membership.show(positions)

    def leave(self) -> None:
        self._membership.leave()
