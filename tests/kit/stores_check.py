"""Stores of simulated processes against the log: each must be the fold of what it has read, row for row, and code must follow from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from kit.sim_workflows import WORKFLOWS
from kit.slow_medium import SlowMedium
from perdure._log.memory import MemoryLog
from perdure._replay.runtime import CodeHost
from perdure_platform.ops.verify import fold_partition
from perdure_platform.partition.runs import Runs
from perdure_platform.store.digest import digest
from perdure_platform.store.memory import MemoryStore, MemoryStores
from perdure_platform.store.tables import Tables
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
        digests = {read_to: fold_partition(log, namespace, partition, going_on, read_to).digest for read_to, _ in found}
    for read_to, stores in found:
        trimmed = ""
        for what, store in stores:
            own = digest(store)
            assert own == digests[read_to], f"P8: {what} is not the fold of its log as it was before it was trimmed"
            if start and Tables(store).positions().start >= start:  # it has read that the log may begin where it does now
                trimmed = trimmed or fold_partition(log, namespace, partition, MemoryStores(), read_to).digest
                assert own == trimmed, f"P8: {what} is not the fold of its log"
        _check_code(namespace, stores[0][1])


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
