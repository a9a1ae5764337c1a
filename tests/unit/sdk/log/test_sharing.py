from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure._log.sharing import changes, share_out

MEMBERS = st.lists(st.sampled_from("abcdefg"), unique=True)
HELD = st.dictionaries(st.integers(0, 11), st.sampled_from("abcdefgz"))


@given(st.integers(0, 12), MEMBERS, HELD)
def test_shares_cover_every_partition_and_differ_by_one_at_most(partitions: int, members: list[str], held: Mapping[int, str]) -> None:
    shares = share_out(partitions, members, held)
    if not members:
        assert shares == {}
        return
    assert sorted(shares) == list(range(partitions))
    sizes = [list(shares.values()).count(member) for member in members]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 12), MEMBERS, HELD)
def test_what_is_shared_out_already_stays(partitions: int, members: list[str], held: Mapping[int, str]) -> None:
    shares = share_out(partitions, members, held)
    assert share_out(partitions, members, shares) == shares


@given(st.integers(1, 12), MEMBERS.filter(bool), HELD)
def test_rounds_of_giving_up_and_taking_settle_with_one_holder_each(partitions: int, members: list[str], held: Mapping[int, str]) -> None:
    now = {partition: holder for partition, holder in held.items() if partition < partitions}
    for _ in range(4):
        for member in members:
            gives_up, takes = changes(member, partitions, members, now)
            assert all(now.get(partition) not in members for partition in takes), "taken from a living member"
            now = {partition: holder for partition, holder in now.items() if partition not in gives_up} | dict.fromkeys(takes, member)
    assert sorted(now) == list(range(partitions))
    assert all(changes(member, partitions, members, now) == (set(), set()) for member in members)


@pytest.mark.parametrize(
    ("members", "held", "expected"),
    [
        ("a", {}, "aaaa"),
        ("ab", {}, "aabb"),
        ("ab", {0: "a", 1: "a", 2: "a", 3: "a"}, "aabb"),
        ("abc", {0: "a", 1: "a", 2: "b", 3: "b"}, "aabc"),
        ("b", {0: "a", 1: "a", 2: "b", 3: "b"}, "bbbb"),
    ],
)
def test_few_partitions_move(members: str, held: dict[int, str], expected: str) -> None:
    shares = share_out(4, list(members), held)
    assert "".join(shares[partition] for partition in range(4)) == expected
