"""The owners and workers of a measurement, each a process of its own, and the processor time they use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perdure_schemas.errors import PerdureError

REGISTRY = "perdure_platform.ops.bench.code:registry"
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 15


class BenchFailed(PerdureError):
    """A process of the measurement ended on its own."""


class Crew:
    """Running owners and workers by role."""

    def __init__(self, directory: Path, log_url: str, namespace: str, broker_process_id: int = 0) -> None:
        self._directory = directory
        self._target = ["--log", log_url, "--namespace", namespace]
        self._processes: dict[str, list[subprocess.Popen[bytes]]] = {"owner": [], "worker": []}
        self._broker_process_id = broker_process_id

    def start(self, role: str) -> None:
        """Start one more process of `role`."""
        number = len(self._processes[role]) + 1
        command = [sys.executable, "-m", "perdure_platform.cli.app", role, REGISTRY, *self._target]
        if role == "owner":
            command += ["--store", str(self._directory / f"store-{number}")]
        with self._output(role, number).open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 (our own command line)
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PERDURE_LOG_LEVEL": "WARNING"},
            )
        self._processes[role].append(process)

    def check(self) -> None:
        """Raise BenchFailed, with the end of its output, if one of them has ended."""
        for role, processes in self._processes.items():
            for number, process in enumerate(processes, start=1):
                if (code := process.poll()) is not None:
                    tail = self._output(role, number).read_text(errors="replace").splitlines()[-15:]
                    raise BenchFailed(f"{role} {number} ended with code {code}:\n" + "\n".join(f"    {line}" for line in tail))

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time by role so far, user and system; the broker's too where its process is known."""
        seconds = {role: sum(_cpu_seconds(process.pid) for process in processes) for role, processes in self._processes.items()}
        seconds["client"] = sum(os.times()[:2])
        if self._broker_process_id:
            seconds["broker"] = _cpu_seconds(self._broker_process_id)
        return seconds

    def stop(self) -> None:
        """End them all, workers first."""
        for role in ("worker", "owner"):
            for process in self._processes[role]:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
            for process in self._processes[role]:
                try:
                    process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _output(self, role: str, number: int) -> Path:
        return self._directory / f"{role}-{number}.log"


@contextmanager
def crew(log_url: str, namespace: str, owners: int, workers: int, broker_process_id: int = 0) -> Iterator[Crew]:
    """So many owners and workers, with their stores in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as directory:
        running = Crew(Path(directory), log_url, namespace, broker_process_id)
        try:
            for role, count in (("owner", owners), ("worker", workers)):
                for _ in range(count):
                    running.start(role)
            yield running
        finally:
            running.stop()


def _cpu_seconds(process_id: int) -> float:
    """User and system time of a process and its threads, from the kernel's table; 0 where there is none."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS
