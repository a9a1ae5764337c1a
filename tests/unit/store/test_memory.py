"""What many partitions of one process hold in memory before it is on disk."""

import time
from pathlib import Path

import pytest

from perdure_platform.store.rocks import MEMTABLE_BYTES, RocksStores

PARTITIONS = 24
ROW_BYTES = 64 * 1024
DEADLINE_S = 60


@pytest.mark.parametrize("memory_mib", [32, 128])
def test_the_partitions_of_a_process_share_one_bound_for_what_is_not_on_disk_yet(tmp_path: Path, memory_mib: int) -> None:
    stores = RocksStores(tmp_path, memory_mib << 20)
    memtables_bytes = memory_mib << 19
    opened = [stores.open(partition) for partition in range(PARTITIONS)]
    rows = MEMTABLE_BYTES // 2 // ROW_BYTES
    assert PARTITIONS * rows * ROW_BYTES > 2 * memtables_bytes, "each below its own bound, together far above the common one"
    for number in range(rows):
        for store in opened:
            store.write({number.to_bytes(4, "big"): bytes(ROW_BYTES)})
    deadline = time.monotonic() + DEADLINE_S
    while stores.memtable_bytes > memtables_bytes and time.monotonic() < deadline:  # the disk takes it behind the writer's back
        for store in opened:
            store.write({b"more": b""})
        time.sleep(0.05)
    assert 0 < stores.memtable_bytes <= memtables_bytes
    assert all(store.get((rows - 1).to_bytes(4, "big")) == bytes(ROW_BYTES) for store in opened)
    for store in opened:
        store.close()
