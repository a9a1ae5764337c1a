"""A leader that refuses connections is asked again with pauses: whoever waits for it must not burn a core."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kit.cluster import running_cluster
from perdure._log.errors import LogUnavailable
from perdure._log.kafka import KafkaLog
from perdure_schemas.topics import TopicSpec

pytestmark = pytest.mark.kafka

WATCHED_S = 5.0
REFUSED_MAX = 3_000
"""Refused connects of the whole machine in that time, other tests included. Clients of the library pause for 0.1 to 2 s between two
attempts, which makes some hundred; `list_offsets` of its admin client made 80,000."""


def refused_connects() -> int:
    """Attempts to connect that were refused since this machine started."""
    names, values = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Tcp:")]
    return int(values[names.index("AttemptFails")])


def test_a_leader_that_refuses_connections_is_asked_with_pauses() -> None:
    places = [("t", partition) for partition in range(6)]
    with running_cluster({"broker.session.timeout.ms": "60000"}) as cluster:  # for so long nobody else leads
        log = KafkaLog(cluster.bootstrap)
        log.create_topics([TopicSpec("t", 6)], 30_000)
        assert log.end_offsets(places, 30_000) == dict.fromkeys(places, 0)
        dead = cluster.leader("t", 0)
        dead.kill()
        living = [place for place in places if cluster.leader(*place) is not dead]
        before = refused_connects()
        answers = _ask([places, living], log)
        assert 0 < refused_connects() - before < REFUSED_MAX
        assert answers == [0, 1], "partitions with other leaders are answered meanwhile"
        log.close()


def _ask(groups: list[list[tuple[str, int]]], log: KafkaLog) -> list[int]:
    """Ask for each group again and again, as owners do; for each 1 if it was ever answered."""
    requests = [log.request_end_offsets(group) for group in groups]
    answered = [0] * len(groups)
    deadline = time.monotonic() + WATCHED_S
    while time.monotonic() < deadline:
        for number, group in enumerate(groups):
            try:
                if requests[number].result() is None:
                    continue
                answered[number] = 1
            except LogUnavailable:
                pass
            requests[number] = log.request_end_offsets(group)
        time.sleep(0.05)
    return answered
