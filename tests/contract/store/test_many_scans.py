"""Scans within scans and beside writes see every row: bounds whose bytes were freed once cut them anywhere."""

from pathlib import Path

from perdure_platform.store.rocks import RocksStores


def test_scans_within_scans_see_every_row(tmp_path: Path) -> None:
    store = RocksStores(tmp_path).open(0)
    runs, rows = 50, 6
    for run in range(runs):
        store.write({b"rrun%03d\x00" % run + number.to_bytes(8, "big"): b"x" * 700 for number in range(rows)})
    for run in range(runs):
        seen = 0
        for _ in store.scan(b"rrun%03d\x00" % run):
            seen += 1
            inner = b"rrun%03d\x00" % ((run * 7) % runs)
            assert len(list(store.scan(inner))) == rows
            assert len(list(store.scan_back(inner))) == rows
            store.write({b"z%d" % seen: b"x" * 100})
        assert seen == rows
    store.close()
