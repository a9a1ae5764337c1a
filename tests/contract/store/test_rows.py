"""What every store does with rows, and that both do the same as a plain dict."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure_platform.store.memory import MemoryStores
from perdure_platform.store.port import Store, StoreProvider, StoreUnavailable
from perdure_platform.store.rocks import RocksStores

KEYS = st.lists(st.sampled_from([b"\x00", b"a", b"b", b"\xfe", b"\xff"]), min_size=1, max_size=4).map(b"".join)
EDGES = st.one_of(st.just(b""), KEYS)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=3)), max_size=6)),
        st.tuples(st.just("get"), KEYS),
        st.tuples(st.just("scan"), EDGES, EDGES),
        st.tuples(st.just("scan_back"), EDGES, EDGES),
        st.tuples(st.just("flush")),
        st.tuples(st.just("reopen")),
    ),
    max_size=30,
)


@pytest.fixture
def store(stores: StoreProvider) -> Iterator[Store]:
    opened = stores.open(0)
    yield opened
    opened.close()


def check_against_a_dict(stores: StoreProvider, steps: list[tuple[object, ...]]) -> None:
    store, rows = stores.open(0), dict[bytes, bytes]()
    for step in steps:
        match step:
            case ("write", dict() as batch):
                store.write(batch)
                rows = {key: value for key, value in {**rows, **batch}.items() if value is not None}
            case ("get", bytes() as key):
                assert store.get(key) == rows.get(key)
            case ("scan", bytes() as prefix, bytes() as start):
                expected = sorted(row for row in rows.items() if row[0].startswith(prefix) and row[0] >= start)
                assert list(store.scan(prefix, start)) == expected
            case ("scan_back", bytes() as prefix, bytes() as before):
                below = [row for row in rows.items() if row[0].startswith(prefix) and (not before or row[0] < before)]
                assert list(store.scan_back(prefix, before)) == sorted(below, reverse=True)
            case ("flush",):
                store.flush()
            case _:
                store.close()
                store = stores.open(0)
    assert list(store.scan(b"")) == sorted(rows.items())
    store.close()


@given(steps=STEPS)
def test_a_store_in_memory_does_what_a_dict_does(steps: list[tuple[object, ...]]) -> None:
    check_against_a_dict(MemoryStores(), steps)


@given(steps=STEPS)
@settings(max_examples=40)
def test_a_rocks_store_does_what_a_dict_does(steps: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        check_against_a_dict(RocksStores(Path(directory)), steps)


def test_a_scan_shows_the_rows_of_its_call(store: Store) -> None:
    store.write({b"a1": b"old", b"a2": b"old", b"a3": b"old"})
    rows, backwards = store.scan(b"a"), store.scan_back(b"a")
    store.write({b"a0": b"new", b"a1": b"new", b"a2": None})
    assert next(rows) == (b"a1", b"old")
    store.write({b"a3": b"new", b"a4": b"new"})
    assert list(rows) == [(b"a2", b"old"), (b"a3", b"old")]
    assert [key for key, _ in backwards] == [b"a3", b"a2", b"a1"]


def test_partitions_share_no_rows(stores: StoreProvider) -> None:
    first, second = stores.open(1), stores.open(2)
    first.write({b"a": b"1"})
    assert second.get(b"a") is None
    first.close()
    second.close()


def test_a_closed_store_opens_again_although_somebody_still_reads_it(stores: StoreProvider) -> None:
    store = stores.open(0)
    store.write({b"a": b"1", b"b": b"2"})
    left_open = store.scan(b"")
    next(left_open)
    store.close()
    with pytest.raises(StoreUnavailable):
        next(left_open)
    again = stores.open(0)
    assert again.get(b"b") == b"2"
    again.close()


def test_a_closed_store_says_so_and_is_not_called_damaged(stores: StoreProvider) -> None:
    store = stores.open(0)
    store.close()
    store.close()
    for use in (lambda: store.get(b"a"), lambda: store.write({b"a": b"1"}), store.flush, lambda: list(store.scan(b""))):
        with pytest.raises(StoreUnavailable, match="closed"):
            use()


def test_a_store_that_was_set_aside_leaves_an_empty_one(stores: StoreProvider) -> None:
    for _ in range(2):
        store = stores.open(0)
        assert list(store.scan(b"")) == []
        store.write({b"a": b"1"})
        store.close()
        stores.set_aside(0, "doubtful")
    stores.open(0).close()
