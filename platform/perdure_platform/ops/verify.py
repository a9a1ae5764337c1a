"""Fold a partition's history from its start into a store of its own, and compare: proof that the rows are nothing but a fold (P8)."""

from __future__ import annotations

import time
from dataclasses import dataclass

from perdure._log.errors import LogUnavailable
from perdure._log.port import Log
from perdure._replay.host import RunStart, WorkflowInstance
from perdure_platform.config import DEFAULT_LIMITS
from perdure_platform.node.topics import describe_namespace, partition_topics
from perdure_platform.partition.apply import Applier
from perdure_platform.partition.rebuild import Rebuild, Topics
from perdure_platform.partition.runs import Runs
from perdure_platform.store import keys, tables
from perdure_platform.store.port import Store, StoreProvider
from perdure_platform.store.tables import LAYOUT, Tables, digest
from perdure_schemas.errors import PerdureError
from perdure_schemas.topics import history_topic

READ_TIMEOUT_MS = 30_000
"""Without a record for this long, reading is given up."""


@dataclass(frozen=True, slots=True)
class Folded:
    """What folding a partition came to. `next_offset` is where reading would go on."""

    partition: int
    next_offset: int
    records: int
    events: int
    seconds: float
    digest: str
    dead: dict[str, int]


class NotFolded(PerdureError):
    """The partition could not be folded as asked."""


def fold_partition(log: Log, namespace: str, partition: int, stores: StoreProvider, end_offset: int | None = None) -> Folded:
    """Fold `partition` from its first record up to `end_offset` (default: its end now) into an empty store of `stores`.

    Raises NamespaceNotFound, LogCorrupt, LogUnavailable, NotFolded where the log ends before `end_offset`.
    """
    described = describe_namespace(log, namespace)
    if not 0 <= partition < described[0]:
        raise NotFolded(f"namespace {namespace!r} has partitions 0 to {described[0] - 1}, and not {partition}")
    topics = partition_topics(namespace, partition, described)
    place = (history_topic(namespace), partition)
    log_end = log.end_offsets([place], READ_TIMEOUT_MS)[place]
    end = log_end if end_offset is None else end_offset
    if end > log_end:
        raise NotFolded(f"{place[0]}[{partition}] ends at {log_end}, before offset {end} that the store claims to have folded")
    store = stores.open(partition)
    try:
        return _fold(log, topics, store, end)
    finally:
        store.close()


def _fold(log: Log, topics: Topics, store: Store, end: int) -> Folded:
    began = time.perf_counter()
    store_tables = Tables(store)
    identity = tables.Identity(
        LAYOUT, topics.namespace, topics.partition, topics.partition_count, topics.commands_topic_id, topics.history_topic_id
    )
    store.write({keys.IDENTITY: tables.encode_identity(identity)})
    runs = Runs(store_tables, _NoCode(), topics.namespace, DEFAULT_LIMITS.cached_runs_max)
    applier = Applier(store_tables)
    rebuild = Rebuild(topics, runs, applier)
    records = 0
    dead: dict[str, int] = {}
    consumer = log.consumer()
    try:
        place = (history_topic(topics.namespace), topics.partition)
        consumer.assign({place: rebuild.next_offset})
        while rebuild.next_offset < end:
            polled = [record for record in consumer.poll(DEFAULT_LIMITS.turn_records_max, READ_TIMEOUT_MS) if record.offset < end]
            if not polled:
                raise LogUnavailable(
                    f"{place[0]}[{place[1]}] gave nothing for {READ_TIMEOUT_MS} ms at offset {rebuild.next_offset} of {end}"
                )
            records += len(polled)
            for judged in rebuild.fold(polled):
                if judged.verdict.value != "live":
                    dead[judged.verdict.value] = dead.get(judged.verdict.value, 0) + 1
    finally:
        consumer.close()
    seconds = time.perf_counter() - began
    return Folded(topics.partition, rebuild.next_offset, records, rebuild.events, seconds, digest(store), dead)


class _NoCode:
    """Folding needs no workflow code."""

    def open(self, start: RunStart, flags: tuple[int, ...]) -> WorkflowInstance:
        raise AssertionError(f"folding asked for the code of {start.workflow_id!r} (flags {flags})")
