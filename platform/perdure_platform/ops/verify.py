"""Fold a partition's history from its start into a store of its own, and compare: proof that the rows are nothing but a fold (P8)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from perdure._log.errors import LogUnavailable, OffsetOutOfRange
from perdure._log.port import Log, Record, TopicPartition
from perdure._replay.host import RunStart, WorkflowInstance
from perdure_platform.config import DEFAULT_LIMITS
from perdure_platform.node.topics import describe_namespace, partition_topics
from perdure_platform.partition.apply import Applier
from perdure_platform.partition.rebuild import NotAStart, Rebuild, Topics
from perdure_platform.partition.runs import Runs
from perdure_platform.partition.start import StartSearch
from perdure_platform.store import keys, tables
from perdure_platform.store.digest import digest
from perdure_platform.store.port import Store, StoreProvider
from perdure_platform.store.tables import LAYOUT, Tables
from perdure_schemas.errors import LogCorrupt, PerdureError
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


class TrimmedMeanwhile(NotFolded):
    """The partition was trimmed while it was read: up to the offset that was asked for, the log cannot be folded any more."""


def fold_partition(log: Log, namespace: str, partition: int, stores: StoreProvider, end_offset: int | None = None) -> Folded:
    """Fold `partition` into an empty store of `stores`, from its first record or, once trimmed, from its start, up to `end_offset`.

    The default is its end now.

    Raises NamespaceNotFound, LogCorrupt, LogUnavailable, TrimmedMeanwhile, NotFolded where the log ends before `end_offset`.
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
    start = log.start_offsets([place], READ_TIMEOUT_MS)[place]
    try:
        return _fold(log, topics, store, start, end)
    except (LogCorrupt, OffsetOutOfRange) as error:
        if log.start_offsets([place], READ_TIMEOUT_MS)[place] > start or (start and end < log_end):
            raise TrimmedMeanwhile(f"{place[0]}[{partition}] was trimmed while it was read ({error}); try again") from error
        raise
    finally:
        store.close()


def _fold(log: Log, topics: Topics, store: Store, start: int, end: int) -> Folded:
    began = time.perf_counter()
    place = (history_topic(topics.namespace), topics.partition)
    if not start:
        return _fold_from(log, topics, store, 0, end, began)
    search = StartSearch(start)
    for records in _read(log, place, start, end):
        search.take(records)
    while True:
        try:
            return _fold_from(log, topics, store, search.next_candidate(), end, began)
        except NotAStart:
            store.write({key: None for key, _ in store.scan(b"")})


def _fold_from(log: Log, topics: Topics, store: Store, begin_at: int, end: int, began: float) -> Folded:
    store_tables = Tables(store)
    identity = tables.Identity(
        LAYOUT, topics.namespace, topics.partition, topics.partition_count, topics.commands_topic_id, topics.history_topic_id
    )
    store.write({keys.IDENTITY: tables.encode_identity(identity)})
    runs = Runs(store_tables, _NoCode(), topics.namespace, DEFAULT_LIMITS.cached_runs_max)
    applier = Applier(store_tables)
    rebuild = Rebuild(topics, store_tables, runs, applier, begin_at)
    records = 0
    dead: dict[str, int] = {}
    for polled in _read(log, (history_topic(topics.namespace), topics.partition), rebuild.next_offset, end):
        records += len(polled)
        for judged in rebuild.fold(polled):
            if judged.verdict.value != "live":
                dead[judged.verdict.value] = dead.get(judged.verdict.value, 0) + 1
    rebuild.check_complete()
    seconds = time.perf_counter() - began
    return Folded(topics.partition, rebuild.next_offset, records, rebuild.events, seconds, digest(store), dead)


def _read(log: Log, place: TopicPartition, start: int, end: int) -> Iterator[list[Record]]:
    """The records from `start` to `end`, in batches. Raises LogUnavailable."""
    consumer = log.consumer()
    try:
        consumer.assign({place: start})
        while start < end:
            polled = [record for record in consumer.poll(DEFAULT_LIMITS.turn_records_max, READ_TIMEOUT_MS) if record.offset < end]
            if not polled:
                raise LogUnavailable(f"{place[0]}[{place[1]}] gave nothing for {READ_TIMEOUT_MS} ms at offset {start} of {end}")
            yield polled
            start = polled[-1].offset + 1
    finally:
        consumer.close()


class _NoCode:
    """Folding needs no workflow code."""

    def open(self, start: RunStart, flags: tuple[int, ...]) -> WorkflowInstance:
        raise AssertionError(f"folding asked for the code of {start.workflow_id!r} (flags {flags})")
