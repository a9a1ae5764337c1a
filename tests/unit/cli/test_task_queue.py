"""`perdure task-queue`, on a log without owners and workers: what it shows comes from the log alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perdure._log.address import open_log
from perdure._log.port import Delivery, GroupConsumer, Log
from perdure_platform.cli.app import app
from perdure_schemas.topics import namespace_topics, task_topic, tasks_topic, workers_group

QUEUE = "it's slow/ä_1"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'log.db'}"


@pytest.fixture
def log(url: str) -> Iterator[Log]:
    log, _ = open_log(url)
    log.create_topics([*namespace_topics("default", 2), task_topic("default", QUEUE), task_topic("default", "empty")], 10_000)
    yield log
    log.close()


def typed(url: str, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["task-queue", *arguments, "--log", url])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def put(log: Log, count: int) -> None:
    """Append tasks, to the first partition."""
    producer = log.producer(Delivery.PIPELINED)
    for _ in range(count):
        producer.append(tasks_topic("default", QUEUE), 0, None, b"a task")
    assert producer.flush(10_000)
    producer.close()


def polling(log: Log, count: int) -> GroupConsumer:
    """A worker's consumer that has taken so many."""
    consumer = log.group_consumer(workers_group("default", QUEUE), tasks_topic("default", QUEUE), 60_000)
    taken, deadline = 0, time.monotonic() + 60
    while taken < count:
        taken += len(consumer.poll(count, 50))
        assert time.monotonic() < deadline
    return consumer


def test_queues_are_listed_by_their_names_with_pollers_and_backlogs(url: str, log: Log) -> None:
    put(log, 5)
    consumer = polling(log, 5)
    assert consumer.commit_now({0: 3})
    code, out, _ = typed(url, "list", "--json")
    assert code == 0
    assert {queue["task_queue"]: (queue["pollers"], queue["backlog"]) for queue in json.loads(out)} == {QUEUE: (1, 2), "empty": (0, 0)}
    code, out, _ = typed(url, "list")
    assert [line.split()[-2:] for line in out.splitlines()] == [["POLLERS", "BACKLOG"], ["0", "0"], ["1", "2"]]
    consumer.close()


def test_a_queue_is_described_with_who_polls_what(url: str, log: Log) -> None:
    put(log, 4)
    consumer = polling(log, 4)
    described = json.loads(typed(url, "describe", QUEUE, "--json")[1])
    assert described["backlog"] == 4
    assert [(one["partition"], one["backlog"]) for one in described["partitions"]] == [(0, 4), (1, 0), (2, 0), (3, 0)]
    [poller] = described["pollers"]
    assert (poller["partitions"], poller["last_seen_ms_ago"] < 60_000) == ([0, 1, 2, 3], True)
    code, out, err = typed(url, "describe", QUEUE)
    assert (code, err) == (0, "")
    assert [poller["id"], poller["host"], "0,", "1,", "2,", "3", "4"] == out.splitlines()[-1].split()[:7]
    assert "no worker" not in out
    consumer.close()


def test_a_queue_that_nobody_polls_says_what_to_start(url: str, log: Log) -> None:
    put(log, 1)
    code, out, _ = typed(url, "describe", QUEUE)
    assert code == 0
    assert f"has no worker polling; start one: perdure worker --log {url} MODULE:NAME" in out


@pytest.mark.parametrize(("arguments", "said"), [(["describe", "other"], "no task queue 'other'"), (["list", "-n", "other"], "namespace")])
def test_what_is_not_there_is_not_found(url: str, log: Log, arguments: list[str], said: str) -> None:
    assert log.url == url
    code, out, err = typed(url, *arguments)
    assert (code, out) == (4, "")
    assert said in err
