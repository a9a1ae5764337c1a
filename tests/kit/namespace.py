"""A namespace of accounts on a log, with owners and workers as real processes, and what must hold of it in the end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kit.account_client import balances
from perdure._log.address import open_log
from perdure.client import Client
from perdure_platform.ops.verify import Folded, fold_partition
from perdure_platform.store.memory import MemoryStores

TESTS = Path(__file__).parents[1]
COMMAND = (sys.executable, "-m", "perdure_platform.cli.app")
REGISTRY = "kit.accounts:registry"


@dataclass
class Accounts:
    """The processes of one namespace; `url` names log and namespace."""

    url: str
    directory: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def owner(self, store: str = "store", retention: str = "") -> subprocess.Popen[bytes]:
        """Start an owner that keeps its state in `store`."""
        return self._start("owner", REGISTRY, "--log", self.url, "--store", str(self.directory / store), "--retention", retention)

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker."""
        return self._start("worker", REGISTRY, "--log", self.url)

    def client(self, first: int, count: int, in_flight: int = 50) -> subprocess.Popen[bytes]:
        """Start a client that makes transfers."""
        arguments = ["-m", "kit.account_client", self.url, str(first), str(count), str(in_flight)]
        return self._run([sys.executable, *arguments], "client")

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._run([*COMMAND, *arguments], arguments[0])

    def _run(self, command: list[str], name: str) -> subprocess.Popen[bytes]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PERDURE_", "OTEL_"))}
        with (self.directory / f"{len(self.processes):02}-{name}.log").open("wb") as output:
            process = subprocess.Popen(
                command, cwd=self.directory, env={**kept, "PYTHONPATH": str(TESTS)}, stdout=output, stderr=subprocess.STDOUT
            )
        self.processes.append(process)
        return process

    def said(self, process: subprocess.Popen[bytes]) -> str:
        """What a process has printed so far."""
        number = self.processes.index(process)
        (place,) = self.directory.glob(f"{number:02}-*.log")
        return place.read_text(errors="replace")

    def done(self) -> int:
        """How many transfers the clients have seen done."""
        numbers = {line for process in self.processes for line in self.said(process).splitlines() if line.startswith("done ")}
        return len(numbers)

    def trimmed(self) -> int:
        """How many partitions have a history that does not begin at 0 any more."""
        log, namespace = open_log(self.url)
        try:
            count = log.describe_topics([f"{namespace}.history"], 10_000)[f"{namespace}.history"].partitions
            starts = log.start_offsets([(f"{namespace}.history", partition) for partition in range(count)], 10_000)
        finally:
            log.close()
        return sum(start > 0 for start in starts.values())

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
        """Wait for a condition; what all processes said is shown if it does not come."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come in {seconds} s\n{self.outputs()}")
            time.sleep(0.05)

    def outputs(self) -> str:
        """The end of what each process has said."""
        return "\n".join(f"--- {place.name}\n{place.read_text(errors='replace')[-2000:]}" for place in sorted(self.directory.glob("*.log")))

    def stop(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def check(self, transfers: int) -> None:
        """Money is conserved, every movement happened once, and each owner's rows are what the log says."""
        total, movements = asyncio.run(self._balances())
        assert total == 0, f"money was made or lost: {total}"
        assert movements == 2 * transfers, f"{movements} movements for {transfers} transfers"
        self.verify()

    def verify(self) -> list[Folded]:
        """Fold every partition from the log and compare with what its owner has."""
        done = subprocess.run(
            [*COMMAND, "partition", "verify", "--log", self.url],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"partition verify: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.outputs()}"
        log, namespace = open_log(self.url)
        try:
            count = log.describe_topics([f"{namespace}.history"], 10_000)[f"{namespace}.history"].partitions
            return [fold_partition(log, namespace or "default", partition, MemoryStores()) for partition in range(count)]
        finally:
            log.close()

    async def _balances(self) -> tuple[int, int]:
        client = await Client.connect(self.url)
        try:
            return await balances(client)
        finally:
            await client.close()


def kill(process: subprocess.Popen[bytes]) -> None:
    """A real SIGKILL."""
    process.kill()
    process.wait()
