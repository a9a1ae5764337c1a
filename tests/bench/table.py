"""`make bench`: the figures of Perdure on this machine beside those it must reach, as a table.

For each log: one warm-up run and the median of three, each with processes of its own; then the partitions are rebuilt from the log.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from kit.broker import running_broker
from perdure_platform.ops.bench.interpreter import this_one

PERDURE = Path(sys.executable).with_name("perdure")
NAMESPACE = "bench"


@dataclass(frozen=True)
class Figure:
    """A row of the table. `at_least` tells whether larger is better."""

    name: str
    key: str
    must: dict[str, float]
    at_least: bool
    reference: str
    unit: str


FIGURES = (
    Figure("idle transfer, p50", "idle_p50_ms", {"kafka": 10, "sqlite": 8}, False, "Temporal dev server 50, Restate 10-22, DBOS 9", "ms"),
    Figure(
        "transfers/s, 200 in flight", "workflows_per_s", {"kafka": 700, "sqlite": 700}, True, "Temporal 35-46, Restate 40-104, DBOS 72", ""
    ),
    Figure("p50 loaded", "p50_ms", {}, False, "", "ms"),
    Figure("p99 loaded", "p99_ms", {}, False, "", "ms"),
    Figure("owner CPU per transfer", "owner_cpu_ms_per_workflow", {"kafka": 1.3, "sqlite": 1.3}, False, "prototype 0.7", "ms"),
    Figure("rebuild from the log, events/s", "rebuild_events_per_s", {"kafka": 20_000, "sqlite": 20_000}, True, "", ""),
)


def measured(log_url: str, arguments: argparse.Namespace) -> dict[str, float]:
    """The median of each figure over the runs, the first of which is thrown away, and the rebuild rate."""
    runs = []
    for number in range(arguments.runs + 1):
        print(f"-- {log_url}: {'warm-up' if number == 0 else f'run {number} of {arguments.runs}'}", file=sys.stderr, flush=True)
        options = [
            "--workflows",
            arguments.workflows,
            "--in-flight",
            arguments.in_flight,
            "--owners",
            arguments.owners,
            "--workers",
            arguments.workers,
        ]
        runs.append(_perdure("bench", "transfer", "--log", log_url, "--namespace", NAMESPACE, *map(str, options)))
        if number:
            print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    figures = {figure.key: median(run[figure.key] for run in runs[1:]) for figure in FIGURES if figure.key in runs[0]}
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as store:
        rebuilt = _perdure("partition", "rebuild", "--log", log_url, "--namespace", NAMESPACE, "--store", store, "--json")
    return {**figures, "rebuild_events_per_s": rebuilt["events_per_s"]}


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"


def table(results: dict[str, dict[str, float]], say: Callable[[str], None] = print) -> bool:
    """Print the table; False if a figure that must be reached was missed."""
    reached = True
    rows = [("figure", *(column for log in results for column in (f"{log} must", log)), "reference on such a machine")]
    for figure in FIGURES:
        cells = [figure.name]
        for log, values in results.items():
            must, value = figure.must.get(log), values[figure.key]
            missed = must is not None and (value < must if figure.at_least else value > must)
            reached &= not missed
            bound = "" if must is None else f"{'≥' if figure.at_least else '≤'} {must:,g} {figure.unit}".rstrip()
            cells += [bound, f"{_digits(value)} {figure.unit}".rstrip() + (" MISSED" if missed else "")]
        rows.append((*cells, figure.reference))
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return reached


@contextmanager
def log_of(kind: str) -> Iterator[str]:
    """The address of a fresh log."""
    if kind == "kafka":
        with running_broker(is_for_long=True) as bootstrap:
            yield f"kafka://{bootstrap}"
    else:
        with tempfile.TemporaryDirectory(prefix="perdure-bench-") as directory:
            yield f"sqlite:///{directory}/log.db"


def _perdure(*arguments: str) -> dict[str, Any]:
    """Run a command that prints one line of JSON; its progress goes to our stderr."""
    finished = subprocess.run([str(PERDURE), *arguments], stdout=subprocess.PIPE, check=True)
    value: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return value


def main() -> int:
    """Measure and print; exit code 1 if a figure was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", default="kafka,sqlite", help="which of them, separated by commas")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workflows", type=int, default=3000)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--owners", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    results = {}
    try:
        for kind in arguments.logs.split(","):
            with log_of(kind) as log_url:
                results[kind] = measured(log_url, arguments)
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(map(str, error.cmd))} ended with code {error.returncode}", file=sys.stderr)
        return 1
    crew = f"owners {arguments.owners}, workers {arguments.workers}"
    print(f"\n{this_one()[0]}")
    print(f"{len(os.sched_getaffinity(0))} cores shared by everything; {crew}; medians of {arguments.runs} runs after one to warm up\n")
    return 0 if table(results) else 1


if __name__ == "__main__":
    sys.exit(main())
