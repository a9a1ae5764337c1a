"""A check of a namespace that is said to be quiet: what is only on its way is told from what is broken.

Even a question (`perdure workflow list`) is a command in the log, and its owner records how far it has come only after a second without
work. So a namespace that looks unfinished is looked at again as long as anything is appended to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from perdure_check.checker import check
from perdure_check.context import Options
from perdure_check.log import Place, Source, Unreadable
from perdure_check.verdict import Report

STILL_S = 5.0
"""Time without a new record after which nothing is on its way any more, in seconds: several times what an owner takes for its last one."""

QUIET_WITHIN_S = 30.0
"""Time within which a namespace must become quiet that is said to be, in seconds."""

_NAP_S = 0.25


class NotQuiet(Unreadable):
    """The namespace is said to be quiet, and still works; nothing else was found broken."""


def check_quiet(
    source: Source,
    namespace: str,
    options: Options,
    *,
    still_s: float = STILL_S,
    within_s: float = QUIET_WITHIN_S,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Report:
    """Check a namespace, and with `options.quiescent` again while it moves and something looks broken.

    Raises NotQuiet where it does not come to rest; what is broken whether it rests or not is reported even then.
    """
    until = monotonic() + within_s
    while True:
        before = _ends(source, namespace)
        report = check(source, namespace, options)
        if not options.quiescent or not report.is_broken:
            return report
        still_at = monotonic() + still_s
        while not (grown := _grown(before, _ends(source, namespace))):
            if monotonic() >= still_at:
                return report
            sleep(_NAP_S)
        if monotonic() >= until:
            break
    at_work = check(source, namespace, options.at_work())
    if at_work.is_broken:
        return at_work
    raise NotQuiet(
        f"namespace {namespace!r} is not quiet: records are still appended after {within_s:g} s ({', '.join(grown)}), "
        "and what looks unfinished may only be on its way. Wait until nothing is under way, or check it without --quiescent"
    )


def _ends(source: Source, namespace: str) -> dict[Place, int]:
    topics = source.topics(f"{namespace}.")
    return {(topic, partition): source.bounds(topic, partition).end for topic in sorted(topics) for partition in range(topics[topic])}


def _grown(before: dict[Place, int], now: dict[Place, int]) -> list[str]:
    """What was appended to, and by how many records."""
    return [f"{end - before.get(place, 0)} to {place[0]}[{place[1]}]" for place, end in now.items() if end > before.get(place, 0)]
