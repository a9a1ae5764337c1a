"""What the Kafka adapter refuses before it connects to anything."""

from __future__ import annotations

import pytest

from perdure._log.errors import LogMisconfigured
from perdure._log.kafka.log import KafkaLog
from perdure._log.kafka.settings import check_properties, consumer, member, producer
from perdure._log.port import Delivery


@pytest.mark.parametrize("servers", ["localhost:9092", "127.0.0.1:9092", "127.1.2.3:1,LOCALHOST:2", "[::1]:9092"])
def test_a_cluster_on_this_machine_needs_no_encryption(servers: str) -> None:
    check_properties(servers, {})


@pytest.mark.parametrize(
    "servers", ["kafka:9092", "10.0.0.7:9092", "localhost:9092,b.example:9092", "localhost.example:9092", "127.0.0.1.example:1"]
)
def test_a_cluster_on_another_machine_is_talked_to_unencrypted_only_where_that_was_said(servers: str) -> None:
    with pytest.raises(LogMisconfigured, match="is another machine, and nothing says how to talk to it") as caught:
        check_properties(servers, {"sasl.password": "s3cret"})
    assert "s3cret" not in str(caught.value)
    for protocol in ("PLAINTEXT", "sasl_ssl"):
        check_properties(servers, {"security.protocol": protocol})


def test_only_members_of_groups_are_told_which_protocol_their_group_speaks() -> None:
    chosen = {"group.protocol": "consumer"}
    assert "group.protocol" not in producer("localhost:1", chosen, Delivery.ORDERED)
    assert "group.protocol" not in consumer("localhost:1", chosen)
    theirs = member("localhost:1", chosen, "group", 10_000)
    assert theirs["group.protocol"] == "consumer"
    assert "session.timeout.ms" not in theirs, "the broker says"
    assert member("localhost:1", {}, "group", 10_000)["session.timeout.ms"] == 10_000


def test_a_protocol_of_groups_that_there_is_not_is_the_librarys_to_refuse() -> None:
    assert member("localhost:1", {"group.protocol": "consumr"}, "group", 10_000)["group.protocol"] == "consumr"
    log = KafkaLog("localhost:1", {"group.protocol": "consumr"})
    with pytest.raises(LogMisconfigured, match="consumr"):
        log.membership("group", "topic", 10_000)
    log.close()
