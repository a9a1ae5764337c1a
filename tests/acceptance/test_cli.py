"""The commands of `perdure` against a running `perdure dev`, on SQLite."""

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from kit.shell import APP, Shell, until_gone
from perdure._log.address import open_log
from perdure._log.port import Delivery

pytestmark = pytest.mark.slow


def test_a_workflow_is_started_and_its_result_printed(dev: Shell) -> None:
    assert dev.done("workflow", "start", "Greeting", "-q", "work", "--id", "hello", "-i", '"Ada"', "--wait") == '"Hello, Ada!"\n'
    assert dev.json("workflow", "result", "hello") == {"workflow_id": "hello", "status": "completed", "result": "Hello, Ada!"}


def test_a_history_is_shown_to_people_and_to_scripts(dev: Shell) -> None:
    dev.done("workflow", "start", "Greeting", "-q", "work", "--id", "shown", "-i", '"Ada"', "--wait")
    lines = dev.done("workflow", "show", "shown").splitlines()
    assert lines[0].split() == ["ID", "TIME", "EVENT", "WHAT"]
    assert 'Greeting("Ada")' in lines[1]
    assert lines[-1].endswith('-> "Hello, Ada!"')
    events = dev.json("workflow", "show", "shown")["events"]
    assert [event["eventId"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["eventType"] == "WorkflowExecutionCompleted"


def test_a_history_is_followed_until_its_run_ends(dev: Shell) -> None:
    dev.done("workflow", "start", "Basket", "-q", "work", "--id", "followed")
    follower = dev.background("workflow", "show", "followed", "--follow")
    shown = max(dev.directory.glob("*-workflow.log"), key=lambda path: path.stat().st_mtime)
    dev.until(lambda: "WorkflowExecutionStarted" in shown.read_text(), "the event that is there already")
    assert follower.poll() is None
    dev.done("workflow", "signal", "followed", "add", "-i", '"tea"')
    dev.until(lambda: 'add("tea")' in shown.read_text(), "the event that came meanwhile")
    assert follower.poll() is None
    dev.done("workflow", "signal", "followed", "pay")
    assert until_gone(follower, 60) == 0
    assert [line.split()[0] for line in shown.read_text().splitlines()] == ["ID", "1", "2", "3", "4"]
    events = [json.loads(line) for line in dev.done("workflow", "show", "followed", "--follow", "--json").splitlines()]
    assert [event["eventId"] for event in events] == [1, 2, 3, 4]


BUSY = """
running = most = 0


@activity.defn
async def busy() -> int:
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(0.2)
    running -= 1
    return most


@workflow.defn
class Busy:
    @workflow.run
    async def run(self) -> int:
        one = timedelta(minutes=5)
        return max(await asyncio.gather(*(workflow.execute_activity(busy, start_to_close_timeout=one) for _ in range(6))))


registry = Registry(task_queue="work", workflows=[Basket, Busy], activities=[busy])
"""


def test_dev_takes_the_limits_of_an_owner_and_of_a_worker(shell: Shell) -> None:
    (shell.directory / "app.py").write_text(APP + BUSY)
    shell.background("dev", "app:registry", "--cached-runs", "0", "--max-concurrent-activities", "2")
    assert shell.done("workflow", "start", "Busy", "-q", "work", "--wait") == "2\n"
    shell.done("workflow", "start", "Basket", "-q", "work", "--id", "basket")
    shell.done("workflow", "describe", "basket")
    described = shell.json("partition", "list")
    assert [(sum(one["open_runs"] for one in described), [one["cached_runs"] for one in described])] == [(1, [0, 0, 0, 0])]


def test_a_worker_runs_no_more_activities_at_once_than_it_may(shell: Shell) -> None:
    (shell.directory / "app.py").write_text(APP + BUSY)
    shell.background("owner", "app:registry")
    shell.background("worker", "app:registry", "--max-concurrent-activities", "1")
    assert shell.done("workflow", "start", "Busy", "-q", "work", "--wait") == "1\n"


def test_an_input_is_read_from_a_file(dev: Shell) -> None:
    (dev.directory / "input.json").write_text('"Grace"\n')
    typed = ("workflow", "start", "Greeting", "-q", "work", "--id", "from-a-file", "--input-file", "input.json", "--wait")
    assert dev.done(*typed) == '"Hello, Grace!"\n'


def test_an_open_workflow_takes_signals_answers_queries_and_is_described(dev: Shell) -> None:
    dev.done("workflow", "start", "Basket", "-q", "work", "--id", "basket")
    dev.done("workflow", "signal", "basket", "add", "-i", '"tea"')
    dev.done("workflow", "signal", "basket", "add", "-i", '"milk"')
    assert dev.done("workflow", "query", "basket", "count") == "2\n"
    assert dev.json("workflow", "describe", "basket")["summary"]["status"] == "running"
    assert "status       running" in dev.done("workflow", "describe", "basket")
    dev.done("workflow", "signal", "basket", "pay")
    assert dev.json("workflow", "result", "basket")["result"] == ["tea", "milk"]
    assert dev.done("workflow", "query", "basket", "count") == "2\n"


def test_a_query_that_fails_is_named_with_its_workflow(dev: Shell) -> None:
    dev.done("workflow", "start", "Basket", "-q", "work", "--id", "asked")
    refused = dev.typed("workflow", "query", "asked", "count", "-i", "1")
    assert refused.returncode == 1
    assert "query 'count' of workflow 'asked' failed: " in refused.stderr
    dev.done("workflow", "terminate", "asked")


def test_an_id_that_is_no_text_is_refused_like_any_other_that_cannot_be_one(dev: Shell) -> None:
    refused = dev.typed("workflow", "start", "Basket", "-q", "work", "--id", os.fsdecode(b"\xff"))
    assert refused.returncode == 2
    assert "the workflow id" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_workflow_that_failed_gives_exit_code_1_and_its_causes(dev: Shell) -> None:
    finished = dev.typed("workflow", "start", "Failing", "-q", "work", "--id", "failing", "--wait")
    assert finished.returncode == 1
    assert "PrinterError: out of paper" in finished.stderr
    assert "Traceback" not in finished.stderr
    finished = dev.typed("workflow", "result", "failing", "--json")
    assert (finished.returncode, json.loads(finished.stdout)["status"]) == (1, "failed")


def test_a_workflow_is_canceled_or_terminated(dev: Shell) -> None:
    for word, ending in (("cancel", "was canceled"), ("terminate", "was terminated")):
        dev.done("workflow", "start", "Basket", "-q", "work", "--id", f"to-{word}")
        dev.done("workflow", word, f"to-{word}", "--reason", "changed my mind")
        finished = dev.typed("workflow", "result", f"to-{word}")
        assert (finished.returncode, ending in finished.stderr) == (1, True), finished.stderr


def test_a_second_start_of_an_open_id_is_a_conflict(dev: Shell) -> None:
    dev.done("workflow", "start", "Basket", "-q", "work", "--id", "twice")
    finished = dev.typed("workflow", "start", "Basket", "-q", "work", "--id", "twice")
    assert finished.returncode == 5
    assert "twice" in finished.stderr
    dev.done("workflow", "terminate", "twice")


def test_what_is_not_there_is_not_found(dev: Shell) -> None:
    for word in ("result", "show", "describe", "cancel", "terminate"):
        finished = dev.typed("workflow", word, "nobody")
        assert (finished.returncode, "nobody" in finished.stderr) == (4, True), finished.stderr


def test_dead_letters_are_listed_and_sent_again(dev: Shell) -> None:
    dev.done("workflow", "start", "Greeting", "-q", "work", "--id", "before-letters", "-i", '"Ada"', "--wait")  # the namespace is there
    log, _ = open_log(f"sqlite:///{dev.directory / 'perdure.db'}")
    producer = log.producer(Delivery.PIPELINED)
    for value in (b"no command", b"none either"):
        producer.append("default.commands", 0, b"some-id", value)
    assert producer.flush(10_000)
    producer.close()
    log.close()
    found = until(lambda: dev.json("dead-letters", "list"), 2)
    assert [one["letter"]["reason"] for one in found] == ["undecodable", "undecodable"]
    assert "default.commands[0]@" in dev.done("dead-letters", "list")
    assert dev.done("dead-letters", "redrive", str(found[1]["number"])) == "1 sent again\n"
    again = until(lambda: dev.json("dead-letters", "list"), 3)
    assert again[2]["letter"]["value"] == found[1]["letter"]["value"]
    missing = dev.typed("dead-letters", "redrive", "99")
    assert (missing.returncode, "99" in missing.stderr) == (4, True)


def until(look: Callable[[], list[Any]], count: int) -> list[Any]:
    """What `look` finds once it is so many."""
    deadline = time.monotonic() + 30
    while len(found := look()) < count:
        assert time.monotonic() < deadline, found
    return found


def test_lists_filter_by_type_and_status(dev: Shell) -> None:
    dev.done("workflow", "start", "Basket", "-q", "work", "--id", "listed")
    found = dev.json("workflow", "list", "--query", "WorkflowType = 'Basket' AND ExecutionStatus = 'Running'")
    assert "listed" in {run["workflow_id"] for run in found}
    assert {run["status"] for run in found} == {"running"}
    assert "listed" in dev.done("workflow", "list")
    dev.done("workflow", "terminate", "listed")


def test_a_filter_with_a_mistake_is_wrong_usage(dev: Shell) -> None:
    finished = dev.typed("workflow", "list", "--query", "Colour = 'red'")
    assert finished.returncode == 2
    assert "Colour" in finished.stderr


def test_partitions_are_listed_and_agree_with_the_log(dev: Shell) -> None:
    dev.done("workflow", "start", "Greeting", "-q", "work", "--id", "verified", "-i", '"Ada"', "--wait")
    partitions = dev.json("partition", "list")
    assert [partition["partition"] for partition in partitions] == list(range(len(partitions)))
    assert dev.json("partition", "verify")["differences"] == 0


def test_a_wait_that_is_too_long_gives_up_with_exit_code_3(dev: Shell) -> None:
    dev.done("workflow", "start", "Basket", "-q", "work", "--id", "waited-for")
    finished = dev.typed("workflow", "result", "waited-for", "--timeout", "500ms")
    assert finished.returncode == 3
    assert "describe waited-for" in finished.stderr
    dev.done("workflow", "terminate", "waited-for")


def test_a_directory_of_a_store_serves_one_owner(dev: Shell) -> None:
    finished = dev.typed("owner", "app:registry")
    assert finished.returncode == 5
    assert "in use by process" in finished.stderr


def test_owner_and_worker_hand_over_at_sigterm(shell: Shell) -> None:
    owner = shell.background("owner", "app:registry")
    worker = shell.background("worker", "app:registry")
    shell.done("workflow", "start", "Greeting", "-q", "work", "--id", "hello", "-i", '"Ada"', "--wait")
    for process in (worker, owner):
        process.send_signal(signal.SIGTERM)
        assert until_gone(process) == 0, shell.outputs()


def test_a_workflow_outlives_kill_9_of_everything(shell: Shell) -> None:
    first = shell.background("dev", "app:registry")
    shell.done("workflow", "start", "Basket", "-q", "work", "--id", "basket")
    shell.done("workflow", "signal", "basket", "add", "-i", '"tea"')
    first.kill()
    until_gone(first)
    shell.background("dev", "app:registry")
    shell.done("workflow", "signal", "basket", "pay")
    assert shell.json("workflow", "result", "basket")["result"] == ["tea"]


def test_a_partition_is_rebuilt_from_the_log(shell: Shell) -> None:
    first = shell.background("dev", "app:registry")
    shell.done("workflow", "start", "Greeting", "-q", "work", "--id", "hello", "-i", '"Ada"', "--wait")
    first.send_signal(signal.SIGTERM)
    assert until_gone(first) == 0
    shell.done("partition", "rebuild")
    shell.background("dev", "app:registry")
    assert shell.json("workflow", "result", "hello")["result"] == "Hello, Ada!"
