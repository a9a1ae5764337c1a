"""What activities leave outside of Perdure, in files that nobody deduplicates, and the deaths of workers that may have doubled it.

Activities find the directory in WORKLOAD_DIRECTORY, which `kit.namespace` gives to each process.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

SLOTS = 100
"""Attempts that one worker runs at a time, and that its death may double."""

_DEATHS = "deaths"


def directory() -> Path:
    """Where a process of the namespace finds the files."""
    return Path(os.environ["WORKLOAD_DIRECTORY"])


def write_line(name: str, *words: object) -> None:
    """Append to a file; for activities."""
    _append(directory() / name, *words)


def read_lines(place: Path) -> list[list[str]]:
    """The words of each line; none where there is no file."""
    return [line.split() for line in place.read_text().splitlines()] if place.exists() else []


def record_death(directory: Path, what: str) -> None:
    """A worker was killed, stopped or cut off: what it ran, and did not report, is run again."""
    _append(directory / _DEATHS, time.time_ns() // 1_000_000, what)


def count_deaths(directory: Path) -> int:
    """How many there were."""
    return len(read_lines(directory / _DEATHS))


def check_executions(directory: Path, attempts: list[int], again: int) -> None:
    """Executions that were made again stand beside deaths, and without a death none was. Raises AssertionError."""
    deaths = count_deaths(directory)
    assert again <= deaths * SLOTS, f"{again} executions were made again beside {deaths} deaths"
    assert deaths or set(attempts) <= {1}, f"attempts {sorted(set(attempts))} without a death"


def _append(place: Path, *words: object) -> None:
    with place.open("a") as file:
        file.write(" ".join(map(str, words)) + "\n")
