"""How safe the topics of a namespace are against the loss of a broker: what an operator should know, and need not act on at once."""

from __future__ import annotations

from collections.abc import Mapping

from perdure._log.port import Log, TopicDescription
from perdure_schemas.topics import (
    RECORD_BYTES_MAX,
    commands_topic,
    dead_letters_topic,
    history_topic,
    replies_topic,
    tasks_topic,
)

OFFSETS_TOPIC = "__consumer_offsets"
"""Name of the topic in which Kafka keeps who leads and how far each queue has come."""


def warnings(log: Log, namespace: str, timeout_ms: int) -> list[str]:
    """What could lose records of this namespace, or keep them from their readers; a sentence each, with what to do.

    Raises LogUnavailable, LogUnauthorized.
    """
    nodes = log.nodes(timeout_ms)
    fixed = [commands_topic(namespace), history_topic(namespace), replies_topic(namespace), dead_letters_topic(namespace)]
    names = fixed + log.list_topics(tasks_topic(namespace, ""), timeout_ms)
    found = log.describe_topics([*names, OFFSETS_TOPIC] if nodes > 1 else names, timeout_ms)
    servers = log.url.removeprefix("kafka://")
    return warnings_about(found, nodes, servers)


def warnings_about(found: Mapping[str, TopicDescription], nodes: int, servers: str) -> list[str]:
    """The same for topics that were described. `servers` stand in the commands that are proposed."""
    said = []
    for name, topic in sorted(found.items()):
        is_ours = name != OFFSETS_TOPIC
        if nodes > 1 and topic.replicas == 1:
            said.append(
                f"{name} has one copy on a cluster of {nodes} brokers: what it holds is lost with its broker. "
                f"Add copies: kafka-reassign-partitions --bootstrap-server {servers} (see the runbook)"
            )
        elif nodes > 1 and is_ours and topic.replicas > 1 and topic.settings.get("min.insync.replicas", "1") == "1":
            said.append(
                f"{name} acknowledges a record that only one broker has (min.insync.replicas=1): the record is lost with that broker. "
                f"{_set(servers, name, 'min.insync.replicas', '2')}"
            )
        if is_ours and topic.settings.get("unclean.leader.election.enable") == "true":
            said.append(
                f"{name} may be led by a broker that lacks acknowledged records (unclean.leader.election.enable=true). "
                f"{_set(servers, name, 'unclean.leader.election.enable', 'false')}"
            )
        size = topic.settings.get("max.message.bytes", "")
        if is_ours and size.isdigit() and int(size) < RECORD_BYTES_MAX:
            said.append(
                f"{name} takes records of at most {size} bytes, and {RECORD_BYTES_MAX} may be needed. "
                f"{_set(servers, name, 'max.message.bytes', str(RECORD_BYTES_MAX))}"
            )
    return said


def _set(servers: str, topic: str, setting: str, value: str) -> str:
    entity = f"--entity-type topics --entity-name {topic}"
    return f"Change it: kafka-configs --bootstrap-server {servers} --alter {entity} --add-config {setting}={value}"
