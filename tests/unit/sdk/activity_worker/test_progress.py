"""The bookkeeping of offsets: a commit covers only what is settled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perdure._activity_worker.progress import Progress


def taken(*offsets: int) -> Progress:
    progress = Progress()
    for offset in offsets:
        progress.take(0, offset)
    return progress


def test_only_a_contiguous_prefix_is_committed() -> None:
    progress = taken(5, 6, 7)
    progress.settle(0, 6)
    assert progress.moved() == {}
    progress.settle(0, 5)
    assert progress.moved() == {0: 7}
    progress.committed()
    assert progress.moved() == {}
    progress.settle(0, 7)
    assert progress.moved() == {0: 8}


def test_a_commit_that_was_only_sent_is_made_again_where_it_must_be_known() -> None:
    progress = taken(5, 6)
    progress.settle(0, 5)
    progress.sent()
    assert progress.moved() == {}
    assert progress.unconfirmed() == {0: 6}
    progress.committed()
    assert progress.unconfirmed() == {}


def test_partitions_do_not_wait_for_each_other() -> None:
    progress = taken(5)
    progress.take(1, 9)
    progress.settle(1, 9)
    assert progress.moved() == {1: 10}
    assert progress.has_passed(1, 9)
    assert not progress.has_passed(0, 5)


def test_a_partition_that_comes_back_from_an_earlier_offset_starts_over() -> None:
    progress = taken(5, 6, 7)
    assert not progress.take(0, 6)
    progress.settle(0, 5)  # of the former assignment
    progress.settle(0, 7)
    assert progress.moved() == {}
    progress.settle(0, 6)
    assert progress.moved() == {0: 7}


def test_a_partition_that_others_have_advanced_is_never_set_back() -> None:
    progress = taken(5, 6)
    assert not progress.take(0, 40)
    progress.settle(0, 5)
    progress.settle(0, 6)
    assert progress.moved() == {}
    progress.settle(0, 40)
    assert progress.moved() == {0: 41}


def test_what_is_forgotten_is_not_committed() -> None:
    progress = taken(5)
    progress.settle(0, 5)
    progress.forget(0)
    assert progress.moved() == {}
    assert not progress.has_passed(0, 5)
    assert progress.take(0, 6)


@given(st.lists(st.sampled_from(range(12)), max_size=40))
def test_the_position_is_the_first_offset_that_is_not_settled(settled: list[int]) -> None:
    progress = taken(*range(12))
    for offset in settled:
        progress.settle(0, offset)
    first_open = next((offset for offset in range(12) if offset not in settled), 12)
    assert progress.moved() == ({0: first_open} if first_open else {})
