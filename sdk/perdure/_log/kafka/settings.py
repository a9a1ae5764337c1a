"""Settings of the Kafka client, each with its reason, and which of them a user may not change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from perdure._log.errors import LogMisconfigured
from perdure._log.kafka.chatter import logger
from perdure._log.port import Delivery
from perdure_schemas.topics import READERS_GROUP, RECORD_BYTES_MAX

Settings = dict[str, Any]

GROUP_PROTOCOL = "group.protocol"

_FIXED = {
    "bootstrap.servers": "the address names the brokers",
    "acks": "an acknowledged record must be on all in-sync replicas",
    "request.required.acks": "an acknowledged record must be on all in-sync replicas",
    "enable.idempotence": "retries must not reorder or double a producer's records",
    "transactional.id": "the commit protocol uses no Kafka transactions",
    "message.timeout.ms": "a record that timed out may still land behind later ones",
    "delivery.timeout.ms": "a record that timed out may still land behind later ones",
    "delivery.report.only.error": "acknowledgements are what producers wait for",
    "enable.auto.commit": "positions are recorded when work is done, not when it is fetched",
    "enable.auto.offset.store": "positions are recorded when work is done, not when it is fetched",
    "auto.offset.reset": "a position that is gone must be noticed, never skipped",
    "allow.auto.create.topics": "topics are made with settings that the protocol relies on",
    "group.id": "groups are named by the namespace",
    "partition.assignment.strategy": "all members of a group must use the same",
    "isolation.level": "the log has no transactions",
    "enable.partition.eof": "the adapter does not expect such events",
    "enable.gapless.guarantee": "the order of commands relies on it",
}

_COMMON: Settings = {
    "client.id": "perdure",
    "allow.auto.create.topics": False,
    "socket.keepalive.enable": True,
    # An answer that is lost while its connection stays open stalls whoever waits for it: the default is a minute.
    "socket.timeout.ms": 10_000,
    "socket.nagle.disable": True,  # a request must not wait for the next one
    "topic.metadata.propagation.max.ms": 10_000,  # how long an unknown topic is taken for a new one
    # The default is five minutes: so long may a client go on that a broker told, while it went down, that a partition has no leader.
    "topic.metadata.refresh.interval.ms": 10_000,
    "reconnect.backoff.max.ms": 2_000,  # a restarted broker is back in seconds
    "log.connection.close": False,
}
_PRODUCER: Settings = {
    "acks": "all",
    "enable.idempotence": True,
    "message.timeout.ms": 0,  # never: what timed out may still land
    # 0: an idle hop must not wait, and while requests are under way the next batch grows by itself.
    "linger.ms": 0,
    "message.max.bytes": RECORD_BYTES_MAX,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 256 * 1024,
}
_ORDERED: Settings = {
    "max.in.flight": 1,
    "enable.gapless.guarantee": True,  # nothing is sent past a failed append (R8)
}
_READER: Settings = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "check.crcs": True,
    "isolation.level": "read_uncommitted",
    # After an empty fetch the client library sleeps this long where its queue is full; the default of 1 s stalls readers.
    "fetch.queue.backoff.ms": 1,
    # A new assignment waits for the fetch that is under way, so that must not wait long at the broker for records.
    "fetch.wait.max.ms": 100,
    "fetch.error.backoff.ms": 100,
    "queued.max.messages.kbytes": 32 * 1024,
}


_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|\[::1\]", re.IGNORECASE)


def check_properties(servers: str, properties: Mapping[str, str]) -> None:
    """Raises LogMisconfigured for a property that Perdure sets itself, and for a cluster elsewhere that nobody said how to talk to.

    Records hold what workflows were given: they leave the machine unencrypted only where that was asked for (faults.md 6.1).
    """
    elsewhere = [server for server in servers.split(",") if not _LOOPBACK.fullmatch(server.rpartition(":")[0])]
    if elsewhere and "security.protocol" not in properties:
        raise LogMisconfigured(
            f"{elsewhere[0]} is another machine, and nothing says how to talk to it. Put security.protocol=SASL_SSL or SSL, and what "
            "belongs to it, into a file that the address names: ?config=FILE (see deploy/SECURITY.md). Where the network can be "
            "trusted, say so: ?librdkafka.security.protocol=PLAINTEXT"
        )
    for name in properties:
        if name in _FIXED:
            raise LogMisconfigured(f"the Kafka property {name} cannot be set: {_FIXED[name]}")


def common(servers: str, properties: Mapping[str, str]) -> Settings:
    """What every client gets; the admin client gets no more. Which of its protocols a group speaks is a matter of its members."""
    others = {name: value for name, value in properties.items() if name != GROUP_PROTOCOL}
    return {**_COMMON, "bootstrap.servers": servers, "logger": logger, **others}


def producer(servers: str, properties: Mapping[str, str], delivery: Delivery) -> Settings:
    """A producer of either kind."""
    # Order matters: what the user sets stands above our defaults, and below what the kind of delivery means.
    return {**_COMMON, **_PRODUCER, **common(servers, properties), **(_ORDERED if delivery is Delivery.ORDERED else {})}


def consumer(servers: str, properties: Mapping[str, str]) -> Settings:
    """A consumer that is assigned by hand."""
    own = {"group.id": READERS_GROUP, "auto.offset.reset": "error"}  # the library wants a group even from those that join none
    return {**_READER, **common(servers, properties), **own}


def member(servers: str, properties: Mapping[str, str], group: str, session_timeout_ms: int) -> Settings:
    """A member of a group. With `group.protocol=consumer` (KIP-848) how long a silent member is waited for is not ours to say: that is a
    setting of the group at the broker, consumer.session.timeout.ms, and 45 s if nobody has set it."""
    protocol = properties.get(GROUP_PROTOCOL, "classic")
    own: Settings = {
        "group.id": group,
        GROUP_PROTOCOL: protocol,
        "auto.offset.reset": "earliest",
        # Whoever shares out the topic goes by what it last heard of it: so long have topics and partitions that were made behind its back
        # no reader.
        "topic.metadata.refresh.interval.ms": 3_000,
        # The library's thread sends heartbeats whatever the process does: who no longer polls must lose its partitions all the same.
        "max.poll.interval.ms": session_timeout_ms,
    }
    if protocol != "consumer":
        own |= {
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": session_timeout_ms,
            "heartbeat.interval.ms": min(300, session_timeout_ms // 4),  # a rebalance reaches a member with its next heartbeat
        }
    return {**_READER, **common(servers, properties), **own}
