"""A namespace on three brokers: how many copies it gets, who says so if there are too few, and that a lost broker loses nothing."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.cluster import Cluster, running_cluster
from kit.media import until
from kit.sim_workflows import WORKFLOWS
from perdure._log.address import open_log
from perdure._log.port import Log
from perdure._replay.runtime import CodeHost
from perdure.client import Client
from perdure_platform.node.embedded import EmbeddedOwner
from perdure_schemas.topics import history_topic, tasks_topic

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def log(cluster: Cluster) -> Iterator[Log]:
    log, _ = open_log(f"kafka://{cluster.bootstrap}")
    yield log
    log.close()


def create(cluster: Cluster, namespace: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("perdure")), "namespace", "create", namespace, "--partitions", "2", *options]
    return subprocess.run(
        [*command, "--json", "--log", f"kafka://{cluster.bootstrap}"], capture_output=True, text=True, timeout=120, check=False
    )


def test_a_namespace_gets_three_copies_of_which_two_acknowledge(cluster: Cluster, log: Log) -> None:
    made = create(cluster, "safe")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["created"] is True
    assert "warning" not in made.stderr
    found = log.describe_topics([f"safe.{name}" for name in ("commands", "history", "replies", "dead-letters")], 20_000)
    assert len(found) == 4
    for topic in found.values():
        assert topic.replicas == 3
        assert topic.settings["min.insync.replicas"] == "2"


def test_one_copy_is_made_if_it_is_asked_for_and_warned_of(cluster: Cluster, log: Log) -> None:
    made = create(cluster, "bold", "--replication-factor", "1")
    assert made.returncode == 0, made.stderr
    assert "bold.history has one copy on a cluster of 3 brokers" in made.stderr
    assert log.describe_topics(["bold.history"], 20_000)["bold.history"].replicas == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--replication-factor", "4"), "needs as many brokers"),
        (("--replication-factor", "2", "--min-insync-replicas", "3"), "nothing could be written"),
    ],
)
def test_what_could_not_be_written_to_is_not_made(cluster: Cluster, log: Log, options: tuple[str, ...], why: str) -> None:
    made = create(cluster, "never", *options)
    assert made.returncode == 2
    assert why in made.stderr
    assert log.list_topics("never.", 20_000) == []


async def test_an_owner_makes_task_topics_as_safe_as_the_history(cluster: Cluster, log: Log, tmp_path: Path) -> None:
    assert create(cluster, "mixed").returncode == 0
    owner = EmbeddedOwner(log, "mixed", CodeHost(WORKFLOWS), store_directory=tmp_path)
    owner.start()
    try:
        client = await Client.connect(f"kafka://{cluster.bootstrap}/mixed")
        await client.start_workflow("SimFanOut", 1, id="fan", task_queue="sim")
        topic = tasks_topic("mixed", "sim")
        until(lambda: topic in log.describe_topics([topic], 20_000), "the topic of the queue")
        made = log.describe_topics([topic], 20_000)[topic]
        assert (made.replicas, made.settings["min.insync.replicas"]) == (3, "2")
    finally:
        await owner.stop(10_000)


async def test_an_owner_warns_of_a_history_with_one_copy(
    cluster: Cluster, log: Log, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert create(cluster, "risky", "--replication-factor", "1").returncode == 0
    caplog.set_level(logging.WARNING, "perdure.owner")
    owner = EmbeddedOwner(log, "risky", CodeHost(WORKFLOWS), store_directory=tmp_path)
    owner.start()
    try:
        until(lambda: f"{history_topic('risky')} has one copy on a cluster of 3 brokers" in caplog.text, "the warning")
    finally:
        await owner.stop(10_000)
