"""Stores of simulated processes against the log: each must be the fold of what it has read, row for row, and code must follow from it.

A store whose process ended in the middle of a rebuild from a trimmed log knows only what it has read from its beginning on, and no process
takes it for whole: it must be the fold from there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from kit.sim_workflows import WORKFLOWS
from kit.slow_medium import SlowMedium
from perdure._log.memory import MemoryLog
from perdure._replay.runtime import CodeHost
from perdure_platform.ops.verify import fold_partition
from perdure_platform.partition.apply import Applier
from perdure_platform.partition.rebuild import Rebuild, Topics
from perdure_platform.partition.runs import Runs
from perdure_platform.store import keys
from perdure_platform.store.digest import digest
from perdure_platform.store.memory import MemoryStore, MemoryStores
from perdure_platform.store.tables import Tables, encode_identity
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.topics import history_topic

Found = tuple[str, MemoryStore]


def check_stores(medium: SlowMedium, namespace: str, stores: Mapping[str, MemoryStores]) -> None:
    """Compare every store of every process (P8), and take the code of its runs through their records (P7). Each place at which some store
    has stopped is folded once."""
    by_partition: dict[int, dict[int, list[Found]]] = defaultdict(lambda: defaultdict(list))
    for name, own in stores.items():
        for partition, store in own.stores.items():
            read_to = Tables(store.opened()).positions().next_offset
            if read_to > medium.bounds(history_topic(namespace), partition)[0]:  # others would be wiped
                by_partition[partition][read_to].append((f"{name}'s store of partition {partition}", store))
    log = MemoryLog(medium)
    for partition, found in by_partition.items():
        _check_partition(medium, log, namespace, partition, sorted(found.items()))


def _check_partition(medium: SlowMedium, log: MemoryLog, namespace: str, partition: int, found: list[tuple[int, list[Found]]]) -> None:
    place = history_topic(namespace), partition
    start, _ = medium.bounds(*place)
    with medium.nothing_deleted(*place):
        going_on = MemoryStores()
        for read_to, stores in found:
            whole = fold_partition(log, namespace, partition, going_on, read_to).digest
            for what, store in stores:
                expected = _partial_digest(medium, store, read_to) if _is_partial(store) else whole
                assert digest(store) == expected, f"P8: {what} is not the fold of its log as it was before it was trimmed"
    for read_to, stores in found:
        trimmed = ""
        whole_ones = [(what, store) for what, store in stores if not _is_partial(store)]
        for what, store in whole_ones:
            if start and Tables(store).positions().start >= start:  # it has read that the log may begin where it does now
                trimmed = trimmed or fold_partition(log, namespace, partition, MemoryStores(), read_to).digest
                assert digest(store) == trimmed, f"P8: {what} is not the fold of its log"
        if whole_ones:
            _check_code(namespace, whole_ones[0][1])


def _is_partial(store: MemoryStore) -> bool:
    return Applier(Tables(store)).is_partial


def _partial_digest(medium: SlowMedium, partial: MemoryStore, read_to: int) -> str:
    """Of the fold that begins where `partial` began, and ends at `read_to`."""
    identity, begin_at = Tables(partial).identity(), Tables(partial).began_at()
    assert identity is not None
    store = MemoryStore()
    store.write({keys.IDENTITY: encode_identity(identity)})
    store_tables = Tables(store)
    runs = Runs(store_tables, CodeHost(WORKFLOWS, deadlock_timeout_ms=0), identity.namespace, 100)
    topics = Topics(identity.namespace, identity.partition, identity.partition_count, identity.commands_topic_id, identity.history_topic_id)
    records = medium.read(history_topic(identity.namespace), identity.partition, begin_at, read_to - begin_at)
    Rebuild(topics, store_tables, runs, Applier(store_tables), begin_at).fold([record for record in records if record.offset < read_to])
    return digest(store)


def _check_code(namespace: str, store: MemoryStore) -> None:
    """Raises ActivationError where the code, taken through its records, does not ask for the same again."""
    runs = Runs(Tables(store), CodeHost(WORKFLOWS, deadlock_timeout_ms=0), namespace, 100)
    open_runs = 0
    for _, summary in Tables(store).summaries():
        open_runs += summary.status is WorkflowStatus.RUNNING
        run = runs.load(summary.workflow_id, summary.run_id)
        assert run is not None
        runs.rebuild(run).close()
    assert Tables(store).open_runs() == open_runs, "open runs are counted wrongly"
