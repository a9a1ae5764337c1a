"""The processes of the demo: started with their output in a file, killed without mercy or stopped politely."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent
PERDURE = Path(sys.executable).with_name("perdure")


class ProcessDied(Exception):
    """A process of the demo ended on its own; the message quotes the end of its output."""


class Process:
    """One child process by the role it plays."""

    def __init__(self, role: str, command: list[str], directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self.role = role
        self._output = directory / f"{role}.log"
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 (our own command line)
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=EXAMPLES,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise ProcessDied if the process has ended."""
        if (code := self._process.poll()) is not None:
            tail = "\n".join(f"    {line}" for line in self.output().splitlines()[-15:])
            raise ProcessDied(f"the {self.role} ended with code {code}; the end of {self._output}:\n{tail}")

    def output(self) -> str:
        """Everything the process has printed."""
        return self._output.read_text(errors="replace")

    def wait_for(self, found: Callable[[str], str | None], seconds: float) -> str:
        """What `found` makes of the output, as soon as that is not None. Raises ProcessDied, TimeoutError."""
        deadline = time.monotonic() + seconds
        while (value := found(self.output())) is None:
            self.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the {self.role} is not ready after {seconds:.0f} s; see {self._output}")
            time.sleep(0.02)
        return value

    def kill(self) -> None:
        """kill -9, and wait until the process is gone."""
        self._process.kill()
        self._process.wait()

    def stop(self, seconds: float = 10.0) -> None:
        """SIGTERM, and kill -9 if that takes too long."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()


def first_line(output: str) -> str | None:
    """The first line, once it is complete."""
    line, ended, _ = output.partition("\n")
    return line.strip() if ended else None


def perdure(*arguments: str) -> list[str]:
    """The command line of the `perdure` command that belongs to this Python."""
    return [str(PERDURE), *arguments]
