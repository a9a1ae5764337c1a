"""Failures at every port call of a real client and a real worker, for `make sim` and for the sample in `make test`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from itertools import repeat

from kit.campaign import CHUNK, TWICE, Outcome, run_again, run_seeds
from kit.real_scenarios import CLIENT, REAL_FAILURES, REAL_SCENARIOS, WORKER, real_calls
from kit.schedule import LONG

OF_WORKERS = {"crash_before_beside", "crash_after_beside", "commit_refused", "commit_untold", "commit_lost", "tasks_skipped"}
"""What a client has no part in."""


def fail_actor_at(name: str, actor: str, failure: str, places: Iterable[int]) -> Outcome:
    """Run a scenario once for each port call of the actor, which fails."""
    outcome, began = Outcome(), time.process_time()
    for at in places:
        outcome.runs += 1
        try:
            hit = REAL_FAILURES[failure](name, actor, at)
            outcome.seen[hit] += 1
        except Exception as error:
            outcome.failures.append(f"REAL_FAILURES[{failure!r}]({name!r}, {actor!r}, {at})  # {type(error).__name__}: {error}")
    outcome.seconds = time.process_time() - began
    return outcome


def kinds() -> Iterator[tuple[str, str, str]]:
    """Every scenario, actor and failure that go together."""
    for name in REAL_SCENARIOS:
        for failure in REAL_FAILURES:
            for actor in (WORKER,) if failure in OF_WORKERS else (WORKER, CLIENT):
                yield name, actor, failure


def every_real_call() -> Iterator[tuple[str, str, str, list[int]]]:
    """All there are, in pieces."""
    for name, actor, failure in kinds():
        places = list(range(1, len(real_calls(name, actor, failure)) + 1))
        for first in range(0, len(places), CHUNK):
            yield name, actor, failure, places[first : first + CHUNK]


def run_real_actors(pool: Executor, seeds: range, gather: Callable[[str, Iterable[Outcome]], Outcome]) -> int:
    """The part of `make sim` that has real clients and workers; how many runs failed."""
    calls = gather("failures of real clients and workers", pool.map(fail_actor_at, *zip(*every_real_call(), strict=True)))
    pieces = [seeds[first : first + 10] for first in range(0, len(seeds), 10)]
    schedules = gather("random schedules with real clients and workers", pool.map(run_seeds, pieces, repeat(LONG), repeat(True)))
    ones = [[seed] for seed in seeds[::TWICE]]
    again = gather("of these run again, here and in another process", pool.map(run_again, ones, repeat(LONG), repeat(True)))
    return len(calls.failures) + len(schedules.failures) + len(again.failures)
