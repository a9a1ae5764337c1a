"""Code that ends its owner: the run is set aside after a bounded number of deaths, and its neighbours go on."""

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.shell import Shell, make_shell

pytestmark = pytest.mark.slow

POISON = """
import os
from perdure import Registry, workflow

@workflow.defn
class Poison:
    def __init__(self) -> None:
        self.notes = []
        self.done = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.done)
        return self.notes

    @workflow.signal
    def note(self, text: str) -> None:
        if text == "poison":
            os._exit(9)
        self.notes.append(text)

    @workflow.signal
    def finish(self) -> None:
        self.done = True

    @workflow.query
    def count(self) -> int:
        return len(self.notes)

    @workflow.query
    def deadly(self) -> int:
        os._exit(9)

registry = Registry(task_queue="work", workflows=[Poison])
"""

DEATHS_MAX = 6
"""Maximum number of deaths: one by surprise, three strikes, and two for what the supervisor started meanwhile."""


class Supervisor:
    """Starts the owner again whenever it has died, as a service manager does."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.deaths = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        process = self._start()
        while not self._stopped.wait(0.05):
            if process.poll() is not None:
                assert process.returncode == 9, self.shell.outputs()
                self.deaths += 1
                process = self._start()
        process.terminate()

    def _start(self) -> subprocess.Popen[bytes]:
        return self.shell.background("owner", "poison:registry", "--session-timeout", "1s")

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervisor]:
    shell = make_shell(tmp_path)
    (tmp_path / "poison.py").write_text(POISON)
    shell.done("namespace", "create", "--partitions", "2")
    supervisor = Supervisor(shell)
    yield supervisor
    supervisor.stop()
    shell.stop()


def described(shell: Shell, workflow_id: str) -> Any:
    return shell.json("workflow", "describe", workflow_id)


def until_parked(shell: Shell, workflow_id: str) -> str:
    deadline = time.monotonic() + 120
    while True:
        failure = described(shell, workflow_id)["activation_failure"]
        if failure is not None and "parked" in failure["message"]:
            return str(failure["message"])
        assert time.monotonic() < deadline, shell.outputs()
        time.sleep(0.5)


def test_code_that_ends_its_owner_is_parked_and_can_go_on_without_the_signal_that_did_it(supervised: Supervisor) -> None:
    shell = supervised.shell
    neighbours = [f"neighbour-{number}" for number in range(4)]
    for workflow_id in ("poison", *neighbours):
        shell.done("workflow", "start", "Poison", "-q", "work", "--id", workflow_id)
    shell.done("workflow", "signal", "poison", "note", "-i", '"before"')
    sending = shell.background("workflow", "signal", "poison", "note", "-i", '"poison"')
    assert "owners in a row ended" in until_parked(shell, "poison")
    sending.wait(120)
    deaths = supervised.deaths
    assert 4 <= deaths <= DEATHS_MAX

    for workflow_id in neighbours:
        shell.done("workflow", "signal", workflow_id, "note", "-i", '"on"')
        assert shell.done("workflow", "query", workflow_id, "count") == "1\n"
        assert described(shell, workflow_id)["activation_failure"] is None
    shell.done("workflow", "signal", "poison", "note", "-i", '"while parked"')
    refused = shell.typed("workflow", "query", "poison", "count")
    assert refused.returncode != 0
    assert "perdure workflow resume" in refused.stderr
    assert supervised.deaths == deaths, "what is parked ends nobody"

    assert "without the signals" in shell.done("workflow", "skip", "poison")
    assert shell.done("workflow", "query", "poison", "count") == "1\n"
    shell.done("workflow", "signal", "poison", "finish")
    assert shell.json("workflow", "result", "poison")["result"] == ["before"]
    assert supervised.deaths == deaths
    assert shell.typed("workflow", "resume", "neighbour-0").returncode != 0, "it is neither parked nor blocked"


def test_a_query_that_ends_its_owner_parks_its_workflow_and_resuming_is_harmless(supervised: Supervisor) -> None:
    shell = supervised.shell
    shell.done("workflow", "start", "Poison", "-q", "work", "--id", "asked")
    asking = shell.background("workflow", "query", "asked", "deadly")
    until_parked(shell, "asked")
    asking.wait(120)
    deaths = supervised.deaths
    assert deaths <= DEATHS_MAX
    shell.done("workflow", "resume", "asked")
    shell.done("workflow", "signal", "asked", "finish")
    assert shell.json("workflow", "result", "asked")["result"] == []
    assert supervised.deaths == deaths
