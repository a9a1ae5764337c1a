"""A process of its own that works on a log: python -m kit.log_process URL WORD …  It prints a line for what it has done, at once.

append TOPIC PREFIX COUNT      append COUNT records and print the value of each as it is acknowledged; then wait to be killed
lead GROUP TOPIC SESSION_MS    be a member and print its partitions, separated by commas, when they change
share GROUP TOPIC SESSION_MS   be a reading member: print each record's value; `commit` with SESSION_MS,commit
echo IN OUT                    append to OUT what arrives in IN
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress

from perdure._log.address import open_log
from perdure._log.errors import LogUnavailable
from perdure._log.port import Delivery, Log


def append(log: Log, topic: str, prefix: str, count: str) -> None:
    producer = log.producer(Delivery.PIPELINED)
    for number in range(int(count)):
        value = f"{prefix}{number}"
        producer.append(topic, 0, None, value.encode(), (), value)
        report(producer.poll(0)[0])
    while True:
        report(producer.poll(1000)[0])
        if not producer.outstanding():
            time.sleep(0.05)


def report(tokens: list[object]) -> None:
    for token in tokens:
        print(token, flush=True)


def lead(log: Log, group: str, topic: str, session_timeout_ms: str) -> None:
    membership = log.membership(group, topic, int(session_timeout_ms))
    said: frozenset[int] | None = None
    while True:
        with suppress(LogUnavailable):  # nobody can say at the moment
            partitions = membership.poll()
            if partitions != said:
                print(",".join(map(str, sorted(partitions))), flush=True)
                said = partitions
        time.sleep(0.01)


def share(log: Log, group: str, topic: str, session_timeout_ms: str, commit: str = "") -> None:
    consumer = log.group_consumer(group, topic, int(session_timeout_ms))
    while True:
        for record in consumer.poll(100, 100):
            if commit:
                assert consumer.commit_now({record.partition: record.offset + 1})
            print(record.value.decode(), flush=True)


def echo(log: Log, incoming: str, outgoing: str) -> None:
    consumer, producer = log.consumer(), log.producer(Delivery.PIPELINED)
    consumer.assign({(incoming, 0): 0})
    print("ready", flush=True)
    while True:
        for record in consumer.poll(1000, 100):
            producer.append(outgoing, 0, None, record.value)
        producer.poll(0)


WORDS: dict[str, Callable[..., None]] = {"append": append, "lead": lead, "share": share, "echo": echo}

if __name__ == "__main__":
    _, url, word, *arguments = sys.argv
    WORDS[word](open_log(url)[0], *arguments)
