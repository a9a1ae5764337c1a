"""A namespace on a log, with owners, workers and load as real processes, and what must hold of it in the end."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from kit.failpoints import LOG_VARIABLE, VARIABLE
from kit.load import workload
from kit.operations import count_kinds
from kit.proxy import Proxy
from perdure._log.address import open_log
from perdure._log.port import Log
from perdure.client import Client
from perdure_platform.ops.verify import Folded, TrimmedMeanwhile, fold_partition
from perdure_platform.store.memory import MemoryStores

TESTS = Path(__file__).parents[1]
COMMAND = (sys.executable, "-m", "perdure_platform.cli.app")
FOLD_TRIES = 20
FAULTY = (sys.executable, "-m", "kit.faulty")

T = TypeVar("T")

Process = subprocess.Popen[bytes]


@dataclass
class Namespace:
    """The processes of one namespace of a workload; `bootstrap` is HOST:PORT of a broker, or empty for a file in `directory`."""

    bootstrap: str
    name: str
    directory: Path
    workload: str = "bank"
    session_ms: int = 0
    """How long their group waits for an owner or a worker that says nothing; 0 is the product's own default of ten seconds."""
    group_protocol: str = "classic"
    """How Kafka's groups share out partitions: with `consumer` (KIP-848) the broker does it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of all its processes, beside that of the tests."""
    processes: list[Process] = field(default_factory=list)
    _read: dict[Path, int] = field(default_factory=dict)
    _done: set[int] = field(default_factory=set)

    @property
    def url(self) -> str:
        """The address of the log, past every proxy."""
        return self._url(None)

    @property
    def operations(self) -> Path:
        """The drivers' record of what they asked and were told."""
        return self.directory / "operations.jsonl"

    @property
    def struck(self) -> list[str]:
        """The failpoints that struck, one line each."""
        place = self.directory / "failpoints.log"
        return place.read_text().splitlines() if place.exists() else []

    def create(self, partitions: int = 4) -> Namespace:
        """Make its topics."""
        self.command("namespace", "create", self.name, "--partitions", str(partitions))
        return self

    # -- processes

    def owner(
        self, store: str = "store", *, through: Proxy | None = None, points: str = "", retention: str = "", more: Mapping[str, str] = {}
    ) -> Process:
        """Start an owner that keeps its state in `store`; `points` are its failpoints, `more` is put into its environment."""
        options = ["--store", str(self.directory / store), *(["--retention", retention] if retention else [])]
        return self._serve("owner", options, through, points, more)

    def worker(self, *, through: Proxy | None = None, points: str = "", more: Mapping[str, str] = {}) -> Process:
        """Start a worker."""
        return self._serve("worker", [], through, points, more)

    def load(self, count: int, in_flight: int = 50, *, first: int = 0, per_second: float = 0.0, through: Proxy | None = None) -> Process:
        """Start a process that drives items `first` to `first + count` of the workload."""
        numbers = [str(self.operations), str(first), str(count), str(in_flight), str(per_second)]
        return self.run([sys.executable, "-m", "kit.load", self.workload, self._url(through), *numbers], "load")

    def run(self, command: list[str], name: str, more: Mapping[str, str] = {}) -> Process:
        """Start any process among those of the namespace."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PERDURE_", "OTEL_"))}
        environment = {**kept, "PYTHONPATH": str(TESTS), "WORKLOAD_DIRECTORY": str(self.directory), **self.environment, **more}
        with self._output(len(self.processes), name).open("wb") as output:
            # A group of its own, because what runs a program under it (strace) passes no signal on.
            process = subprocess.Popen(
                command, cwd=self.directory, env=environment, stdout=output, stderr=subprocess.STDOUT, process_group=0
            )
        self.processes.append(process)
        return process

    def command(self, *typed: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a `perdure` command that must succeed."""
        done = self.typed(*typed, seconds=seconds)
        assert done.returncode == 0, f"{typed} ended with {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.outputs()}"
        return done

    def typed(self, *typed: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a `perdure` command."""
        arguments = [*COMMAND, *typed, "--log", self.url]
        environment = {**os.environ, **self.environment}
        return subprocess.run(arguments, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=seconds, check=False)

    def _serve(self, role: str, options: list[str], through: Proxy | None, points: str, more: Mapping[str, str]) -> Process:
        if self.session_ms:
            more = {"PERDURE_FAULTY_SESSION_MS": str(self.session_ms), **more}
        is_faulty = bool(points) or any(name.startswith("PERDURE_FAULTY_") for name in more)
        command = [
            *(FAULTY if is_faulty else COMMAND),
            role,
            f"kit.workloads.{self.workload}:registry",
            "--log",
            self._url(through),
            *options,
        ]
        environment = {VARIABLE: points, LOG_VARIABLE: str(self.directory / "failpoints.log"), **more} if is_faulty else more
        return self.run(command, role, environment)

    def _url(self, through: Proxy | None) -> str:
        if not self.bootstrap:
            return f"sqlite:///{self.directory / 'perdure.db'}?namespace={self.name}"
        return f"kafka://{through.bootstrap if through else self.bootstrap}/{self.name}?librdkafka.group.protocol={self.group_protocol}"

    def _output(self, number: int, name: str) -> Path:
        return self.directory / f"{number:02}-{name}.log"

    # -- what is seen

    def said(self, process: Process) -> str:
        """What a process has printed so far."""
        (place,) = self.directory.glob(f"{self.processes.index(process):02}-*.log")
        return place.read_text(errors="replace")

    def done(self) -> int:
        """How many items of the workload have been seen done."""
        return len(self.done_numbers())

    def done_numbers(self) -> set[int]:
        """Which items have been seen done. Raises AssertionError for one that came out wrong."""
        for place in self.directory.glob("*-load.log"):
            with place.open("rb") as file:
                file.seek(self._read.get(place, 0))
                said = file.read()
            whole = said[: said.rfind(b"\n") + 1]
            self._read[place] = self._read.get(place, 0) + len(whole)
            for line in whole.decode(errors="replace").splitlines():
                assert not line.startswith("wrong "), line
                if line.startswith("done "):
                    self._done.add(int(line.split()[1]))
        return self._done

    def told(self) -> Counter[str]:
        """How many operations were intended, came to an outcome, or are unknown."""
        return count_kinds(self.operations)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
        """Wait for a condition; what all processes said is shown if it does not come."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come in {seconds} s\n{self.outputs()}")
            time.sleep(0.05)

    def until_done(self, count: int, seconds: float = 120) -> None:
        """Wait until so many items are done."""
        self.until(lambda: self.done() >= count, f"item {count} of {self.workload}", seconds)

    def until_leading(self, process: Process, partitions: int = 1, seconds: float = 60) -> None:
        """Wait until an owner has taken so many partitions."""
        self.until(lambda: self.said(process).count(": leading with claim") >= partitions, "an owner that leads", seconds)

    def until_led(self, seconds: float = 60) -> None:
        """Wait until each partition has an owner that answers."""
        self.until(lambda: self.typed("partition", "list").returncode == 0, "an owner of every partition", seconds)

    def until_retired(self, zombie: Process, seconds: float = 120) -> None:
        """Wait until an owner has noticed that somebody else leads."""
        given_up = ("given up", "took the partition")
        self.until(lambda: any(words in self.said(zombie) for words in given_up), "the zombie's retirement", seconds)

    def outputs(self) -> str:
        """The end of what each process has said, without what is done."""
        said = {place.name: place.read_text(errors="replace").splitlines() for place in sorted(self.directory.glob("*.log"))}
        telling = {name: [line for line in lines if not line.startswith("done ")] for name, lines in said.items()}
        return "\n".join(f"--- {name}\n" + "\n".join(lines[-15:]) for name, lines in telling.items())

    def starts(self) -> list[int]:
        """Where the history of each partition begins."""
        with_log = self.with_log(lambda log, name, count: log.start_offsets([(f"{name}.history", p) for p in range(count)], 10_000))
        return [with_log[f"{self.name}.history", partition] for partition in range(len(with_log))]

    def with_log(self, call: Callable[[Log, str, int], T]) -> T:
        """Call with a log of this process, the namespace's name and its number of partitions."""
        log, _ = open_log(self.url)
        try:
            count = log.describe_topics([f"{self.name}.history"], 10_000)[f"{self.name}.history"].partitions
            return call(log, self.name, count)
        finally:
            log.close()

    def names_of(self, topic: str) -> tuple[bytes, ...]:
        """How requests name a topic (history, commands, …) of the namespace: by its name, or by its id."""

        def ask(log: Log, name: str, _: int) -> tuple[bytes, ...]:
            full = f"{name}.{topic}"
            topic_id = log.describe_topics([full], 10_000)[full].topic_id
            return full.encode(), base64.b64decode(topic_id + "==", altchars=b"-_")

        return self.with_log(ask)

    # -- the end

    def stop(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGCONT)
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def finish(self, load: Process, count: int, seconds: float = 150) -> None:
        """Wait for the load's end, then check everything."""
        self.until(lambda: load.poll() is not None, "the load's end", seconds)
        assert self.done() == count, f"{self.done()} of {count} are done\n{self.outputs()}"
        self.check(count)

    def check(self, count: int) -> None:
        """The workload's own account is right, each owner's rows are what the log says, and so says who shares no code."""

        async def check() -> None:
            async with await Client.connect(self.url) as client:
                await workload(self.workload).check(client, count, self.directory)

        try:
            asyncio.run(check())
        except Exception as error:
            error.add_note(self.outputs())
            raise
        self.verify()
        self.check_independently()

    def checked_at_work(self) -> subprocess.CompletedProcess[str]:
        """What `perdure-check` says while everybody is at work."""
        command = [sys.executable, "-m", "perdure_check.cli", "--log", self.url, *workload(self.workload).check_options]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def check_independently(self, seconds: float = 60) -> None:
        """Let `perdure-check` read the log. What has not come to rest yet looks broken to it, so it is given the time for that."""
        command = [sys.executable, "-m", "perdure_check.cli", "--log", self.url, "--quiescent", *workload(self.workload).check_options]
        summaries = self.directory / "summaries.json"
        summaries.write_text(self.command("workflow", "list", "--json", "--limit", "100000").stdout)  # once: it is a command as well
        command.append(f"--summaries={summaries}")
        if self.operations.exists():
            command.append(f"--operations={self.operations}")
        began, tries = time.monotonic(), []
        while True:
            said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if said.returncode == 0:
                return
            took_s = time.monotonic() - began
            tries.append(f"after {took_s:.0f} s: {'; '.join(line for line in said.stdout.splitlines() if line.lstrip().startswith('- '))}")
            if took_s > seconds:
                trials = "\n".join(tries)
                raise AssertionError(f"perdure-check: {said.returncode}\n{said.stdout}\n{said.stderr}\n{trials}\n{self.outputs()}")
            time.sleep(0.5)

    def verify(self, seconds: float = 60) -> None:
        """Fold every partition from the log and compare with what its owner has. One that takes a backlog input by input, because owners
        before it died, is asked again."""
        ends = time.monotonic() + seconds
        while "no owner answers" in (told := self.typed("partition", "verify")).stdout and time.monotonic() < ends:
            pass
        assert told.returncode == 0, f"verify ended with {told.returncode}\n{told.stdout}\n{told.stderr}\n{self.outputs()}"

    def fold(self) -> list[Folded]:
        """Every partition folded from the log, in memory."""
        return self.with_log(lambda log, name, count: [_folded(log, name, partition) for partition in range(count)])


def _folded(log: Log, name: str, partition: int) -> Folded:
    """Fold a partition whose owner may be trimming it."""
    for _ in range(FOLD_TRIES):
        with contextlib.suppress(TrimmedMeanwhile):
            return fold_partition(log, name, partition, MemoryStores())
        time.sleep(0.2)
    raise AssertionError(f"partition {partition} was trimmed {FOLD_TRIES} times while it was read")


def kill(process: Process) -> None:
    """A real SIGKILL."""
    process.kill()
    process.wait()


Namespaces = Callable[..., Namespace]
"""Makes namespaces, as the fixture of this name does."""
