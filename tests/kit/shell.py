"""Runs the `perdure` command as its users do: as processes, in a directory of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

APP = """
import asyncio
from datetime import timedelta

from perdure import Registry, activity, workflow
from perdure.exceptions import ApplicationError


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, start_to_close_timeout=timedelta(seconds=30))


@workflow.defn
class Basket:
    def __init__(self) -> None:
        self.items: list[str] = []
        self.paid = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.paid)
        return self.items

    @workflow.signal
    def add(self, item: str) -> None:
        self.items.append(item)

    @workflow.signal
    def pay(self) -> None:
        self.paid = True

    @workflow.query
    def count(self) -> int:
        return len(self.items)


@workflow.defn
class Failing:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError("out of paper", type="PrinterError")


registry = Registry(task_queue="work", workflows=[Greeting, Basket, Failing], activities=[greet])
"""


@dataclass
class Shell:
    """A directory with an app and a log, and the commands typed in it."""

    directory: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command; nothing of this test run's own leaks in."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "OTEL_"))}
        return {**kept, "PYTHONWARNINGS": "error::DeprecationWarning:perdure"}

    def typed(self, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*PERDURE, *arguments], cwd=self.directory, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False
        )

    def done(self, *arguments: str) -> str:
        """Run a command that must succeed; returns its stdout."""
        finished = self.typed(*arguments)
        assert finished.returncode == 0, (
            f"{arguments} ended with {finished.returncode}\n{finished.stdout}\n{finished.stderr}\n{self.outputs()}"
        )
        return finished.stdout

    def json(self, *arguments: str) -> Any:
        """Run a command with --json and decode what it prints."""
        return json.loads(self.done(*arguments, "--json"))

    def background(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command that goes on; its output is shown if a test fails."""
        with (self.directory / f"{len(self.processes)}-{arguments[0]}.log").open("wb") as output:
            process = subprocess.Popen(
                [*PERDURE, *arguments], cwd=self.directory, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )
        self.processes.append(process)
        return process

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for a condition; what is missing is named if it does not come."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come\n{self.outputs()}"
            time.sleep(0.05)

    def outputs(self) -> str:
        """What the commands in the background have printed."""
        return "\n".join(f"{path.name}:\n{path.read_text(errors='replace')}" for path in sorted(self.directory.glob("*.log")))

    def check_log(self) -> None:
        """Whatever was done here, and however it ended: the log that is left keeps every invariant."""
        log = self.directory / "perdure.db"
        if log.exists():
            command = [sys.executable, "-m", "perdure_check.cli", "--log", f"sqlite:///{log}"]
            said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert said.returncode == 0 or "there is no topic" in said.stderr, said.stdout + said.stderr

    def stop(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


PERDURE = (sys.executable, "-m", "perdure_platform.cli.app")


def make_shell(directory: Path) -> Shell:
    """A shell in an empty directory with the app."""
    (directory / "app.py").write_text(APP)
    return Shell(directory)


def until_gone(process: subprocess.Popen[bytes], seconds: float = 30) -> int:
    """Wait for the process to end; its exit code."""
    deadline = time.monotonic() + seconds
    while (code := process.poll()) is None:
        assert time.monotonic() < deadline, "the process did not end in time"
        time.sleep(0.05)
    return code
