"""`make bench EVENTS=n`: a partition of so many events, rebuilt from nothing, verified and checked; time and memory as a table.

For each log: real transfers on one partition until it has the events, then `perdure partition rebuild` into an empty store, an owner on
that store with `perdure partition verify` beside it, and `perdure-check`, each in a process of its own that is measured as a whole. Where
other work shares the machine, processor time tells more than seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.table import NAMESPACE, PERDURE, log_of
from perdure_platform.ops.bench.interpreter import this_one
from perdure_platform.ops.bench.processes import Crew

EVENTS_PER_TRANSFER = 8
"""Started; scheduled, started and completed for each of two activities; completed."""
IN_FLIGHT = 200
OWNER_TIMEOUT_S = 600


@dataclass(frozen=True)
class Measured:
    """One process: from its start to its end, the processor time that it took, and what it held at most."""

    seconds: float
    cpu_seconds: float
    resident_mb: float
    output: str


def measured(command: list[str]) -> Measured:
    """Run a command to its end. Raises CalledProcessError."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)


def fill(target: list[str], events: int) -> None:
    """Make transfers on one partition."""
    transfers = str(-(-events // EVENTS_PER_TRANSFER))
    options = ["--partitions", "1", "--workflows", transfers, "--in-flight", str(IN_FLIGHT), "--warm-up", "1"]
    subprocess.run([str(PERDURE), "bench", "transfer", *target, *options], stdout=subprocess.DEVNULL, check=True)


def rebuilt(log_url: str, directory: Path) -> tuple[int, dict[str, Measured]]:
    """The number of events, and the processes that read them all."""
    target = ["--log", log_url, "--namespace", NAMESPACE]
    results = {"rebuild": measured([str(PERDURE), "partition", "rebuild", *target, "--store", str(directory / "store-1"), "--json"])}
    crew = Crew(directory, log_url, NAMESPACE)
    crew.start("owner")
    try:
        _until_owned(crew, target)
        results["verify"] = measured([str(PERDURE), "partition", "verify", *target, "--json"])
    finally:
        crew.stop()
    results["perdure-check"] = measured([str(PERDURE.with_name("perdure-check")), *target])
    return json.loads(results["rebuild"].output)["events"], results


def _until_owned(crew: Crew, target: list[str]) -> None:
    """Wait for an owner that answers. Raises BenchFailed where it ended, TimeoutError."""
    deadline = time.monotonic() + OWNER_TIMEOUT_S
    while subprocess.run([str(PERDURE), "partition", "list", *target], stdout=subprocess.DEVNULL, check=False).returncode:
        crew.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"no owner answered within {OWNER_TIMEOUT_S} s")


def table(events: int, results: dict[str, Measured]) -> list[str]:
    """A line for each process."""
    head = f"{'of ' + format(events, ',') + ' events':26}{'seconds':>10}{'CPU s':>10}{'events/s':>12}{'per CPU s':>12}{'peak MB':>10}"
    return [
        head,
        *(
            f"{name:26}{one.seconds:10.1f}{one.cpu_seconds:10.1f}{events / one.seconds:12,.0f}{events / one.cpu_seconds:12,.0f}"
            f"{one.resident_mb:10.0f}"
            for name, one in results.items()
        ),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--logs", default="kafka,sqlite", help="which of them, separated by commas")
    arguments = parser.parse_args()
    print(this_one()[0])
    print(f"{len(os.sched_getaffinity(0))} cores shared by everything")
    try:
        for kind in arguments.logs.split(","):
            with log_of(kind) as log_url, tempfile.TemporaryDirectory(prefix="perdure-bench-") as directory:
                fill(["--log", log_url, "--namespace", NAMESPACE], arguments.events)
                print(f"\n{kind}", *table(*rebuilt(log_url, Path(directory))), sep="\n", flush=True)
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(map(str, error.cmd))} ended with code {error.returncode}\n{error.output or ''}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
