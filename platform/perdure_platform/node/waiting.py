"""What an owner says while it leads nothing: who does, since when nobody has heard of them, and until when this process waits.

For people only: it asks the log what ordinary tools could ask it, elsewhere than in the loop, and nothing depends on the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from perdure._log.errors import LogError
from perdure._log.port import DescribedMember, Log
from perdure_schemas.topics import commands_topic, owners_group

logger = logging.getLogger("perdure.owner")

FIRST_LOOK_MS = 1_000
"""Time for which an owner may lead nothing before it says why, in milliseconds."""

LOOK_MAX_MS = 60_000
"""Maximum time between two looks, which follow each other less and less often, in milliseconds."""

SILENT_MS = 2_500
"""Time after which a member that was not heard of is said to be silent, in milliseconds; members renew their leases each second."""

DESCRIBE_TIMEOUT_MS = 5_000


class Waiting:
    """Looks after a process that leads nothing. `aside` makes a call that blocks, elsewhere."""

    def __init__(
        self,
        log: Log,
        namespace: str,
        session_timeout_ms: int,
        aside: Callable[[Callable[[], None]], Future[None]],
        monotonic_ms: Callable[[], float],
    ) -> None:
        self._log = log
        self._namespace = namespace
        self._session_timeout_ms = session_timeout_ms
        self._aside = aside
        self._monotonic_ms = monotonic_ms
        self._began_ms = monotonic_ms()
        self._pause_ms = FIRST_LOOK_MS
        self._look_at_ms = self._began_ms + FIRST_LOOK_MS
        self._asking: Future[None] | None = None
        self._said: object = None

    def turn(self, *, leads: bool) -> None:
        """Once in each turn of the loop; `leads` says whether the process was given anything."""
        now_ms = self._monotonic_ms()
        if leads:
            self._began_ms, self._pause_ms, self._look_at_ms, self._said = now_ms, FIRST_LOOK_MS, now_ms + FIRST_LOOK_MS, None
        elif now_ms >= self._look_at_ms and (self._asking is None or self._asking.done()):
            self._asking = self._aside(self._look)
            self._pause_ms = min(2 * self._pause_ms, LOOK_MAX_MS)
            self._look_at_ms = now_ms + self._pause_ms

    def _look(self) -> None:
        try:
            described = self._log.describe_group(owners_group(self._namespace), commands_topic(self._namespace), DESCRIBE_TIMEOUT_MS)
        except LogError as error:
            logger.warning("this owner leads nothing yet, and who does cannot be learned: %s", error)
            return
        holders = [member for member in described.members if member.partitions]
        what = [(member.name, member.partitions, _is_silent(member)) for member in holders]
        if what != self._said:
            self._said = what
            waited_ms = round(self._monotonic_ms() - self._began_ms)
            logger.warning("%s", waiting_line(holders, waited_ms, self._session_timeout_ms))


def waiting_line(holders: Sequence[DescribedMember], waited_ms: int, session_timeout_ms: int) -> str:
    """Why this process leads nothing, and until when."""
    if not holders:
        return f"this owner has waited {_seconds(waited_ms)} for its share of the partitions; nobody holds one, they are being shared out"
    return "this owner leads nothing yet: " + "; ".join(_told(member, waited_ms, session_timeout_ms) for member in holders)


def _told(member: DescribedMember, waited_ms: int, session_timeout_ms: int) -> str:
    host = f" on host {member.host}" if member.host else ""
    who = f"{_ranges(member.partitions)} held by owner {member.name}{host}"
    if member.silent_ms is None:
        left_ms = max(0, session_timeout_ms - waited_ms)
        return f"{who}. If that owner has died, they are given away in at most {_seconds(left_ms)}; if it lives, it keeps its share"
    if _is_silent(member):
        left_ms = max(0, session_timeout_ms - member.silent_ms)
        return f"{who}, which has not been heard of for {_seconds(member.silent_ms)}; they are taken over in at most {_seconds(left_ms)}"
    return f"{who}, which lives; this owner takes over when that one ends, or takes its share as others give it up"


def _is_silent(member: DescribedMember) -> bool:
    return member.silent_ms is not None and member.silent_ms >= SILENT_MS


def _ranges(partitions: Sequence[int]) -> str:
    """Partitions for people: "partitions 0-3, 7 are"."""
    runs: list[list[int]] = []
    for partition in sorted(partitions):
        if runs and partition == runs[-1][1] + 1:
            runs[-1][1] = partition
        else:
            runs.append([partition, partition])
    told = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return f"partition {told} is" if len(partitions) == 1 else f"partitions {told} are"


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.0f} s"
