"""Hands a simulated namespace to `perdure_check`, which reads it as it reads a real one."""

from __future__ import annotations

from kit.decoding import decoded_once
from perdure._log.memory import MemoryMedium
from perdure._log.port import Record as PortRecord
from perdure._log.port import TopicPartition
from perdure_check.checker import check
from perdure_check.context import Bank, Options
from perdure_check.dump import Dump
from perdure_check.log import Record
from perdure_check.verdict import Report, State

SIM_BANK = Bank("SimAccount", frozenset({"move"}), frozenset({"deposit"}), query="deposits_seen", counted=frozenset({"deposit"}))
SIM_OPEN = "(account|brief)-.*"
"""Workflows of the simulation that end when somebody tells them to."""


def dump(medium: MemoryMedium, namespace: str, deleted: dict[TopicPartition, list[PortRecord]] | None = None) -> Dump:
    """All topics of a namespace; with `deleted`, as if nothing had ever been deleted."""
    records: list[Record] = []
    partitions: dict[str, int] = {}
    starts: dict[TopicPartition, int] = {}
    for topic in medium.names(f"{namespace}."):
        partitions[topic] = medium.describe([topic])[topic].partitions
        for partition in range(partitions[topic]):
            start, end = medium.bounds(topic, partition)
            before = (deleted or {}).get((topic, partition), [])
            starts[topic, partition] = before[0].offset if before else start
            found = [*before, *medium.read(topic, partition, start, end - start)]
            records += [Record(r.topic, r.partition, r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in found]
    return Dump(records, partitions, starts)


def assert_nothing_broken(report: Report) -> None:
    """Raise AssertionError with every witness if an invariant is broken."""
    broken = [verdict for verdict in report.verdicts if verdict.state is State.BROKEN]
    assert not broken, "\n".join(f"{v.invariant} {v.title}: {witness}" for v in broken for witness in v.witnesses)


def check_medium(
    medium: MemoryMedium,
    namespace: str,
    deleted: dict[TopicPartition, list[PortRecord]],
    *,
    quiescent: bool,
    remainder: bool = True,
) -> tuple[Report, ...]:
    """Reports of a reader of everything that there ever was and, where something was deleted, of one of the `remainder`."""
    options = Options(quiescent=quiescent, bank=SIM_BANK, clock_bound_ms=0, may_stay_open=SIM_OPEN)
    with decoded_once():
        everything = check(dump(medium, namespace, deleted), namespace, options)
        if not (remainder and any(deleted.values())):
            return (everything,)
        return everything, check(dump(medium, namespace), namespace, options)
