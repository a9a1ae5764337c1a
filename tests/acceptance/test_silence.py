"""The commonest mistakes, as typed: each is told at once, by whoever waits, and with what to do (issue 20, numbers 13 and 15)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.shell import PERDURE, Shell, make_shell, until_gone

pytestmark = pytest.mark.slow

APP = """
from datetime import timedelta

from perdure import Registry, activity, workflow

SOON = timedelta(seconds=30)


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, start_to_close_timeout=SOON)


@workflow.defn
class Raising:
    @workflow.run
    async def run(self) -> None:
        raise KeyError("shelf")


@workflow.defn
class Untimed:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(greet, "Ada")


@workflow.defn
class Elsewhere:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(greet, "Ada", task_queue="far away", start_to_close_timeout=SOON)


@workflow.defn
class Waiting:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(3600)


registry = Registry(task_queue="work", workflows=[Greeting, Raising, Untimed, Elsewhere, Waiting], activities=[greet])
"""


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = make_shell(tmp_path_factory.mktemp("silence"))
    (made.directory / "app.py").write_text(APP)
    made.background("dev", "app:registry")
    made.until(lambda: "Ctrl-C stops it" in made.outputs(), "what dev says once it has its store")
    yield made
    made.stop()
    made.check_log()


@dataclass
class Typed:
    """A command that goes on, in a process group of its own as a shell gives it, and what it has said."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def until_said(self, *parts: str, seconds: float = 60) -> str:
        """Wait until stderr holds all of these, while the command goes on."""
        deadline = time.monotonic() + seconds
        while not all(part in (said := self.err.read_text()) for part in parts):
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {said}"
            assert time.monotonic() < deadline, f"{parts} are not all in: {said}"
            time.sleep(0.05)
        return said

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return until_gone(self.process)


def going_on(shell: Shell, *arguments: str) -> Typed:
    """Type a command and leave it running."""
    number = len(shell.processes)
    out, err = shell.directory / f"{number}.out", shell.directory / f"{number}.err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [*PERDURE, *arguments],
            cwd=shell.directory,
            env=shell.environment,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            # Tests that a shell runs in the background ignore Ctrl-C, and what they start would as well.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    shell.processes.append(process)
    return Typed(process, out, err)


@pytest.mark.parametrize(
    ("workflow_type", "told"),
    [
        ("Greting", ["workflow type 'Greting'", "which knows: Greeting, "]),
        ("Greeting", ["TypeError", "'name'"]),
        ("Raising", ["KeyError", "shelf"]),
        ("Untimed", ["timeout"]),
    ],
    ids=["unknown type", "missing argument", "code that raises", "activity without a timeout"],
)
def test_a_mistake_is_told_to_who_waits_to_who_does_not_and_in_the_list(dev: Shell, workflow_type: str, told: list[str]) -> None:
    workflow_id = f"the {workflow_type}"
    waiting = going_on(dev, "workflow", "start", workflow_type, "-q", "work", "--id", workflow_id, "--wait")
    said = waiting.until_said(f"workflow '{workflow_id}'", "is blocked: ", *told)
    first = said.splitlines()[0]
    assert first.startswith(f"perdure: started workflow '{workflow_id}', run "), "the id comes first"
    assert f"perdure workflow describe '{workflow_id}'" in said
    assert waiting.interrupt() == 130
    assert f"perdure: workflow '{workflow_id}' goes on without this command. Its result: perdure workflow result '{workflow_id}'\n" in (
        waiting.err.read_text()
    )
    assert waiting.out.read_text() == ""
    assert said.count("is blocked: ") == 1

    started = dev.typed("workflow", "start", workflow_type, "-q", "work", "--id", f"{workflow_id} 2", "--json")
    assert started.returncode == 0
    assert all(part in started.stderr for part in (f"workflow '{workflow_id} 2' is blocked", *told)), started.stderr
    assert all(part in json.loads(started.stdout)["blocked_by"] for part in told)

    listed = {run["workflow_id"]: run for run in dev.json("workflow", "list", "--blocked")}
    assert {workflow_id, f"{workflow_id} 2"} <= listed.keys()
    assert all(run["blocked"] and run["status"] == "running" for run in listed.values())
    assert "running (blocked)" in dev.done("workflow", "list", "--blocked", "--query", f"WorkflowId = '{workflow_id}'")
    assert "status              running (blocked)" in dev.done("workflow", "describe", workflow_id)


def test_what_runs_well_is_not_among_the_blocked_and_says_nothing(dev: Shell) -> None:
    finished = dev.typed("workflow", "start", "Greeting", "-q", "work", "--id", "well", "-i", '"Ada"', "--wait")
    assert (finished.returncode, finished.stdout) == (0, '"Hello, Ada!"\n')
    assert [line.partition(",")[0] for line in finished.stderr.splitlines()] == ["perdure: started workflow 'well'"]
    quiet = dev.typed("workflow", "start", "Waiting", "-q", "work", "--id", "sleeper", "--json")
    assert (quiet.returncode, quiet.stderr, json.loads(quiet.stdout)["blocked_by"]) == (0, "", None)
    listed = dev.json("workflow", "list", "--blocked")
    assert not {"well", "sleeper"} & {run["workflow_id"] for run in listed}
    assert "next timer  " in dev.done("workflow", "describe", "sleeper")


def test_a_queue_without_a_worker_is_told_to_who_waits_and_described(dev: Shell) -> None:
    waiting = going_on(dev, "workflow", "start", "Elsewhere", "-q", "work", "--id", "stranded", "--wait")
    waiting.until_said("workflow 'stranded' waits: queue 'far away' has no worker polling; start one: perdure worker MODULE:NAME")
    assert waiting.interrupt() == 130
    assert "queue 'far away' has no worker polling" in dev.done("workflow", "describe", "stranded")
    described = dev.json("workflow", "describe", "stranded")
    assert described["task_queues_without_worker"] == ["far away"]
    assert [activity["task_queue"] for activity in described["pending_activities"]] == ["far away"]

    queues = {queue["task_queue"]: queue for queue in dev.json("task-queue", "list")}
    assert queues["work"] == {"task_queue": "work", "pollers": 1, "backlog": 0}
    assert (queues["far away"]["pollers"], queues["far away"]["backlog"]) == (0, 1)
    assert "far away" in dev.done("task-queue", "list")
    idle = dev.done("task-queue", "describe", "far away")
    assert "queue 'far away' has no worker polling; start one" in idle
    polled = dev.json("task-queue", "describe", "work")
    [poller] = polled["pollers"]
    assert sorted(poller["partitions"]) == [partition["partition"] for partition in polled["partitions"]]
    assert poller["last_seen_ms_ago"] < 60_000
    assert poller["host"] in dev.done("task-queue", "describe", "work")
    unknown = dev.typed("task-queue", "describe", "nowhere")
    assert (unknown.returncode, "no task queue 'nowhere'" in unknown.stderr) == (4, True)
    dev.done("workflow", "terminate", "stranded")


def test_ctrl_c_names_the_exact_command_for_another_log_and_namespace(dev: Shell) -> None:
    url = f"sqlite:///{dev.directory / 'perdure.db'}"
    there = ("--log", url, "--namespace", "default")
    waiting = going_on(dev, "workflow", "start", "Waiting", "-q", "work", "--id", "it's", "--wait", *there)
    waiting.until_said("started workflow")
    assert waiting.interrupt() == 130
    command = waiting.err.read_text().splitlines()[-1].partition("Its result: ")[2]
    assert command == f"perdure workflow result --log {url} --namespace default 'it'\"'\"'s'"
    dev.done("workflow", "terminate", "it's")
    finished = subprocess.run(
        command.replace("perdure", " ".join(PERDURE), 1),
        shell=True,
        cwd=dev.directory,
        env=dev.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (finished.returncode, "was terminated" in finished.stderr) == (1, True), finished.stderr


def test_without_an_owner_each_command_says_so_within_its_timeout(shell: Shell) -> None:
    shell.done("namespace", "create", "default")
    for arguments in (
        ["workflow", "start", "Greeting", "-q", "work", "--id", "lost", "--wait"],
        ["workflow", "result", "lost"],
        ["workflow", "describe", "lost"],
        ["workflow", "show", "lost"],
        ["workflow", "list"],
        ["workflow", "signal", "lost", "go"],
        ["workflow", "query", "lost", "state"],
        ["workflow", "cancel", "lost"],
        ["workflow", "terminate", "lost"],
        ["workflow", "resume", "lost"],
    ):
        began = time.monotonic()
        finished = shell.typed(*arguments, "--timeout", "4s")
        took_s = time.monotonic() - began
        assert finished.returncode == 3, (arguments, finished)
        assert "no owner has answered for " in finished.stderr, (arguments, finished.stderr)
        assert "start one: perdure owner MODULE:NAME" in finished.stderr, (arguments, finished.stderr)
        assert "Traceback" not in finished.stderr
        assert took_s < 25, f"{arguments} took {took_s} s, and not the 30 s of a call"
        if arguments[1] != "result":
            assert "of namespace 'default'" in finished.stderr
    assert shell.json("task-queue", "list") == [], "the log alone answers"


def test_ctrl_c_before_the_start_is_acknowledged_says_what_is_not_known(shell: Shell) -> None:
    starting = going_on(shell, "workflow", "start", "Greeting", "-q", "work", "--id", "unsure", "--wait")
    starting.until_said("no owner has answered for partition ")
    assert starting.interrupt() == 130
    said = starting.err.read_text().splitlines()[-1]
    assert said == "perdure: it is not known whether workflow 'unsure' was started; look: perdure workflow describe unsure"


def test_unknown_ids_and_no_owner_are_told_apart(dev: Shell, shell: Shell) -> None:
    unknown = dev.typed("workflow", "describe", "nobody here")
    assert unknown.returncode == 4
    assert "workflow 'nobody here' does not exist" in unknown.stderr
    assert "no owner" not in unknown.stderr
    shell.done("namespace", "create", "default")
    unanswered = shell.typed("workflow", "describe", "nobody here", "--timeout", "2s")
    assert unanswered.returncode == 3
    assert "no owner answers for partition " in unanswered.stderr
    assert "does not exist" not in unanswered.stderr


def test_who_waits_is_told_when_the_last_owner_has_gone_and_gets_the_result_from_the_next(shell: Shell) -> None:
    (shell.directory / "app.py").write_text(APP)
    owner = shell.background("owner", "app:registry")
    waiting = going_on(shell, "workflow", "start", "Greeting", "-q", "work", "--id", "patient", "-i", '"Ada"', "--wait")
    waiting.until_said("started workflow 'patient'", "queue 'work' has no worker polling")
    owner.kill()
    until_gone(owner)
    waiting.until_said("no owner has answered for partition ")
    shell.background("dev", "app:registry")
    assert until_gone(waiting.process, 60) == 0
    assert waiting.out.read_text() == '"Hello, Ada!"\n'
