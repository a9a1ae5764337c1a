"""`make sim`: failures at every port call of every scenario, then at pairs of them, then random schedules; prints what was run and seen.

What fails is printed as the line of Python that runs it again; of a random schedule, a small tape is saved that still fails. Once it is
mended, the tape belongs into tests/sim/tapes.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from os import sched_getaffinity
from pathlib import Path
from typing import TypeVar

from kit.decoding import decoded_once
from kit.fingerprint import fingerprint, fingerprints_elsewhere
from kit.scenarios import FAILURES, PAIRS, SCENARIOS, calls_of
from kit.schedule import LONG, SHORT
from kit.schedules import scheduled
from kit.shrink import shrink
from kit.sometimes import IN_A_CAMPAIGN
from perdure_platform.cli.garbage import collect_seldom

T = TypeVar("T")

CHUNK = 50
TAPES = Path(".cache/tapes")

LONG_ONES = 10
"""One seed of so many is run as a long schedule too."""

TWICE = 50
"""One seed of so many is run again."""

SEEDS_FOR_ALL = 10_000
"""From so many seeds on, everything that may happen must have happened."""


@dataclass
class Outcome:
    """What some runs came to."""

    runs: int = 0
    seconds: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Count in the outcome of others."""
        self.runs += other.runs
        self.seconds += other.seconds
        self.seen.update(other.seen)
        self.failures += other.failures


def fail_at(name: str, failure: str, places: Iterable[int]) -> Outcome:
    """Run a scenario once for each port call, which fails."""
    outcome, began = Outcome(), time.process_time()
    found_right: set[bytes] = set()
    for at in places:
        outcome.runs += 1
        world = SCENARIOS[name]()
        world.found_right = found_right
        try:
            with decoded_once():
                outcome.seen[FAILURES[failure](world, at)] += 1
        except Exception as error:
            outcome.failures.append(f"FAILURES[{failure!r}](SCENARIOS[{name!r}](), {at})  # {type(error).__name__}: {error}")
    outcome.seconds = time.process_time() - began
    return outcome


def fail_twice(name: str, pair: str, places: Iterable[tuple[int, int]]) -> Outcome:
    """Run a scenario once for each two places, where it fails."""
    outcome, began = Outcome(), time.process_time()
    for at, again in places:
        outcome.runs += 1
        try:
            with decoded_once():
                outcome.seen[PAIRS[pair](SCENARIOS[name](), at, again)] += 1
        except Exception as error:
            outcome.failures.append(f"PAIRS[{pair!r}](SCENARIOS[{name!r}](), {at}, {again})  # {type(error).__name__}: {error}")
    outcome.seconds = time.process_time() - began
    return outcome


def some_pairs(name: str, pair: str, count: int, seed: int) -> list[tuple[int, int]]:
    """Places for two failures, drawn evenly from all there are: their product has hundreds of thousands."""
    chance = random.Random(f"{name} {pair} {seed}")
    calls = len(calls_of(name, "crash_before"))
    firsts = len(calls_of(name, "append_lost")) if pair.startswith("append") else calls
    return [(chance.randint(1, firsts), chance.randint(1, calls)) for _ in range(count)]


def run_seeds(seeds: Iterable[int], steps: int = LONG, is_real: bool = False) -> Outcome:
    """Run a random schedule for each seed."""
    outcome, began = Outcome(), time.process_time()
    for seed in seeds:
        outcome.runs += 1
        try:
            world = scheduled(seed, steps, is_real=is_real).run()
            outcome.seen.update(name for name, count in world.promises.seen.items() if count)
        except Exception as error:
            tape = TAPES / f"{'real-' * is_real}seed-{seed}-{steps}.tape"
            shrink(scheduled(seed, steps, is_real=is_real)).save(tape, [f"seed {seed}, {steps} steps", f"{type(error).__name__}: {error}"])
            again = f"scheduled({seed}, {steps}, is_real={is_real}).run()"
            outcome.failures.append(f"{again}  # python -m kit.story {tape}: {type(error).__name__}: {error}")
    outcome.seconds = time.process_time() - began
    return outcome


def run_again(seeds: Sequence[int], steps: int, is_real: bool = False) -> Outcome:
    """Run some seeds twice, and once in a process in which strings have other hashes: all must leave the same log."""
    outcome, began = Outcome(len(seeds)), time.process_time()
    elsewhere = fingerprints_elsewhere(seeds, steps, hash_seed=seeds[0] % 1_000 + 1, is_real=is_real)
    for seed, there in zip(seeds, elsewhere, strict=True):
        if not fingerprint(seed, steps, is_real=is_real) == fingerprint(seed, steps, is_real=is_real) == there:
            outcome.failures.append(
                f"fingerprint({seed}, {steps}, is_real={is_real})  # what it leaves does not follow from its seed alone"
            )
    outcome.seconds = time.process_time() - began
    return outcome


def _every_call() -> Iterator[tuple[str, str, list[int]]]:
    for name in SCENARIOS:
        for failure in FAILURES:
            places = list(range(1, len(calls_of(name, failure)) + 1))
            for first in range(0, len(places), CHUNK):
                yield name, failure, places[first : first + CHUNK]


def _gather(what: str, outcomes: Iterable[Outcome], say: Callable[[str], None]) -> Outcome:
    total = Outcome()
    told = time.monotonic()
    for outcome in outcomes:
        total.add(outcome)
        for failure in outcome.failures:
            say(f"FAILED {failure}")
        if time.monotonic() - told > 30:
            told = time.monotonic()
            say(f"… {total.runs} {what}, {len(total.failures)} failed")
    say(f"{total.runs} {what}: {len(total.failures)} failed; {total.runs / max(total.seconds, 0.001) * 60:.0f} a minute and core")
    for name, count in sorted(total.seen.items()):
        say(f"    {count:8d}  {name}")
    return total


def main() -> int:
    """Run and print; exit code 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20_000, help="how many random schedules, one in ten of them long")
    parser.add_argument("--pairs", type=int, default=100, help="how many pairs of failures of each kind, for each scenario")
    parser.add_argument("--first-seed", type=int, default=100_000)
    parser.add_argument("--no-port-calls", action="store_true", help="random schedules only")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    failed = 0
    with ProcessPoolExecutor(len(sched_getaffinity(0)), initializer=collect_seldom) as pool:
        if not arguments.no_port_calls:
            calls = pool.map(fail_at, *zip(*_every_call(), strict=True))
            failed += len(_gather("failures at port calls", calls, _say).failures)
            kinds = [(name, pair) for name in SCENARIOS for pair in PAIRS]
            places = [some_pairs(name, pair, arguments.pairs, arguments.first_seed) for name, pair in kinds]
            twice = pool.map(fail_twice, *zip(*kinds, strict=True), places)
            failed += len(_gather("pairs of failures", twice, _say).failures)
        end = arguments.first_seed + arguments.seeds
        seen: set[str] = set()
        for what, steps, last in (("short", SHORT, end), ("long", LONG, arguments.first_seed + arguments.seeds // LONG_ONES)):
            seeds = [range(first, min(first + CHUNK, last)) for first in range(arguments.first_seed, last, CHUNK)]
            outcome = _gather(f"{what} random schedules", pool.map(run_seeds, seeds, repeat(steps)), _say)
            failed += len(outcome.failures)
            seen |= outcome.seen.keys()
            again = [chunk[::TWICE] for chunk in seeds]
            failed += len(
                _gather(f"{what} ones run again, here and in another process", pool.map(run_again, again, repeat(steps)), _say).failures
            )
        from kit.real_campaign import run_real_actors  # it imports this module

        failed += run_real_actors(
            pool, range(arguments.first_seed, end)[: arguments.seeds // 20], lambda what, outcomes: _gather(what, outcomes, _say)
        )
    if missing := sorted(IN_A_CAMPAIGN - seen):
        _say(f"NEVER SEEN: {', '.join(missing)}")
    return 1 if failed or (missing and arguments.seeds >= SEEDS_FOR_ALL) else 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
