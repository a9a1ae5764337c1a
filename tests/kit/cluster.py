"""Three Kafka nodes on this machine, each broker and controller, as clusters of production are: three copies, two of them in sync.

`python -m kit.cluster` (with tests/ on PYTHONPATH) starts them, prints HOST:PORT,HOST:PORT,HOST:PORT and runs until SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka.admin import AdminClient

from kit.broker import Broker, new_cluster_id

NODES = 3

_SETTINGS = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    # What a follower needs to leave and to join the set of replicas in sync: the defaults (30 s) are longer than a test.
    "replica.lag.time.max.ms": "5000",
    "controller.quorum.election.timeout.ms": "1000",
    "controller.quorum.fetch.timeout.ms": "2000",
    # Tests say themselves when leaders move.
    "auto.leader.rebalance.enable": "false",
}


class Cluster:
    """Three nodes. Each is a Broker with all that it can do (kill, stop, suspend, restart); `close` deletes their data."""

    def __init__(self, settings: Mapping[str, str] | None = None, doors: int = 0, *, is_for_long: bool = False) -> None:
        cluster_id = new_cluster_id()
        self.nodes = tuple(
            Broker({**_SETTINGS, **(settings or {})}, doors, is_for_long=is_for_long, node_id=number) for number in range(1, NODES + 1)
        )
        for node in self.nodes:
            node.cluster_id = cluster_id
            node.voters = tuple(each.voter for each in self.nodes)

    @property
    def bootstrap(self) -> str:
        """HOST:PORT of all nodes, as clients want it."""
        return ",".join(node.bootstrap for node in self.nodes)

    def start(self) -> Cluster:
        """Start all nodes and wait until each serves."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_until_started()
        return self

    def leader(self, topic: str, partition: int) -> Broker:
        """The node that leads a partition now."""
        found = self._metadata(topic).topics[topic].partitions[partition].leader
        return self._node(found)

    def in_sync(self, topic: str, partition: int) -> frozenset[int]:
        """Ids of the nodes that have all records of a partition."""
        return frozenset(self._metadata(topic).topics[topic].partitions[partition].isrs)

    def controller(self) -> Broker:
        """The node that leads the controllers now."""
        client = AdminClient({"bootstrap.servers": self.bootstrap})
        described = client.describe_cluster(request_timeout=10).result(10)
        return self._node(described.controller.id)

    def close(self) -> None:
        """End all nodes and delete their data."""
        for node in self.nodes:
            node.close()

    def _metadata(self, topic: str):  # type: ignore[no-untyped-def]  # the library has no name for it
        return AdminClient({"bootstrap.servers": self.bootstrap}).list_topics(topic, timeout=10)

    def _node(self, node_id: int) -> Broker:
        return next(node for node in self.nodes if node.node_id == node_id)


@contextmanager
def running_cluster(settings: Mapping[str, str] | None = None, *, is_for_long: bool = False) -> Iterator[Cluster]:
    """Three nodes that run as long as this does."""
    cluster = Cluster(settings, is_for_long=is_for_long)
    try:
        yield cluster.start()
    finally:
        cluster.close()


def main() -> int:
    """Run three nodes until told to end."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    with running_cluster(is_for_long=True) as cluster:
        print(cluster.bootstrap, flush=True)
        while not told.wait(0.5):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
