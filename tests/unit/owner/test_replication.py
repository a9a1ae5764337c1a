"""What an owner says of topics that a lost broker would take with it."""

from __future__ import annotations

import pytest

from perdure._log.memory import MemoryLog
from perdure._log.port import TopicDescription
from perdure_platform.node.replication import OFFSETS_TOPIC, warnings, warnings_about
from perdure_platform.node.topics import ensure_namespace
from perdure_schemas.topics import RECORD_BYTES_MAX, Replication, namespace_topics, replication_for, task_topic

SAFE = {"min.insync.replicas": "2", "unclean.leader.election.enable": "false", "max.message.bytes": str(RECORD_BYTES_MAX)}
SERVERS = "a:9092,b:9092"


def said(nodes: int, replicas: int, name: str = "ns.history", **changed: str) -> list[str]:
    settings = {**SAFE, **{key.replace("_", "."): value for key, value in changed.items()}}
    return warnings_about({name: TopicDescription(name, "id", 4, settings, None, replicas)}, nodes, SERVERS)


def test_a_topic_that_is_kept_well_is_not_mentioned() -> None:
    assert said(3, 3) == []
    assert said(1, 1) == [], "there is no second broker"


@pytest.mark.parametrize(
    ("told", "what", "cure"),
    [
        (said(3, 1), "has one copy on a cluster of 3 brokers", "kafka-reassign-partitions"),
        (said(3, 3, min_insync_replicas="1"), "only one broker has", "--add-config min.insync.replicas=2"),
        (said(3, 3, unclean_leader_election_enable="true"), "lacks acknowledged records", "unclean.leader.election.enable=false"),
        (said(3, 3, "ns.replies", max_message_bytes="1048588"), "at most 1048588 bytes", f"max.message.bytes={RECORD_BYTES_MAX}"),
        (said(3, 1, OFFSETS_TOPIC), "__consumer_offsets has one copy", "kafka-reassign-partitions"),
    ],
)
def test_what_is_not_safe_is_said_with_the_command_that_mends_it(told: list[str], what: str, cure: str) -> None:
    (text,) = told
    assert what in text
    assert cure in text
    assert f"--bootstrap-server {SERVERS}" in text


def test_settings_of_kafkas_own_topic_are_its_own_matter() -> None:
    assert said(3, 3, OFFSETS_TOPIC, min_insync_replicas="1", max_message_bytes="1000") == []


def test_a_medium_without_copies_has_nothing_to_say() -> None:
    log = MemoryLog()
    ensure_namespace(log, "ns")
    assert warnings(log, "ns", 1_000) == []


@pytest.mark.parametrize(("nodes", "chosen"), [(1, (1, 1)), (2, (2, 1)), (3, (3, 2)), (9, (3, 2))])
def test_what_suits_a_cluster_survives_the_loss_of_one_broker_where_that_is_possible(nodes: int, chosen: tuple[int, int]) -> None:
    assert replication_for(nodes) == Replication(*chosen)


def test_every_topic_of_a_namespace_gets_its_replication() -> None:
    for spec in (*namespace_topics("ns", 4, replication=Replication(3, 2)), task_topic("ns", "work", replication=Replication(3, 2))):
        assert spec.replicas == 3
        assert spec.settings["min.insync.replicas"] == "2"
