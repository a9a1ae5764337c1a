"""What claims and strikes come to: who died, when, and what counts against whom (faults R14)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perdure_platform.partition.transition.caution import DEATHS_KEPT, GROUP, STRIKES_KEPT, advance_caution, last_death_ms
from perdure_schemas.history import Caution, Claim, CommitRecord, HistoryRecord, PositionRecord, Strike


def claim(number: int, instance: str) -> Claim:
    return Claim(number, f"claim-{number}", "", "owner", "host", 1, "0", 1, "c", "h", 4, 0, instance)


def strike(workflow_id: str) -> Strike:
    return Strike(1, "c", 1, 0, -1, workflow_id, 5)


def position(*, resigned: bool = False) -> PositionRecord:
    return PositionRecord(1, "c", 1, 0, -1, -1, {}, 1, resigned)


def commit() -> CommitRecord:
    return CommitRecord(1, "c", 1, 0, -1)


def after(*records: HistoryRecord) -> Caution:
    """Each record a second after the one before."""
    known = Caution()
    for at, record in enumerate(records):
        known = advance_caution(known, record, at * 1000)
    return known


def test_a_process_that_is_followed_by_another_has_died() -> None:
    known = after(claim(1, "a"), claim(2, "b"), claim(3, "c"))
    assert known.deaths == {"a": 1000, "b": 2000}
    assert last_death_ms(known) == 2000
    assert last_death_ms(after(claim(1, "a"))) == 0


def test_a_process_that_claims_again_has_not_died() -> None:
    assert after(claim(1, "a"), claim(2, "a")).deaths == {}
    assert after(claim(1, "a"), claim(2, "b"), claim(3, "a")).deaths == {"b": 2000}


def test_a_process_that_resigned_has_not_died_unless_it_went_on() -> None:
    assert after(claim(1, "a"), position(resigned=True), claim(2, "b")).deaths == {}
    assert after(claim(1, "a"), position(resigned=True), position(), claim(2, "b")).deaths == {"a": 3000}


def test_a_strike_counts_when_its_owner_dies_on_it_and_is_cleared_by_what_follows() -> None:
    assert after(claim(1, "a"), strike("w"), claim(2, "b")).strikes == {"w": 1}
    assert after(claim(1, "a"), strike("w"), claim(2, "b"), strike("w"), claim(3, "c")).strikes == {"w": 2}
    assert after(claim(1, "a"), strike("w"), claim(2, "a")).strikes == {}, "it claims again: it has survived"
    assert after(claim(1, "a"), strike("w"), claim(2, "b"), strike("w"), position()).strikes == {}
    assert after(claim(1, "a"), strike("w"), claim(2, "b"), strike("v"), position()).strikes == {"w": 1}
    assert after(claim(1, "a"), strike(""), position()).strikes == {}


def test_the_strike_of_a_group_is_cleared_by_the_position_record_behind_all_of_it() -> None:
    begun = (claim(1, "a"), strike(GROUP), commit())
    assert after(*begun, claim(2, "b")).strikes == {GROUP: 1}, "the first of a group may survive, and the second end its owner"
    assert after(*begun, position(), claim(2, "b")).strikes == {}
    assert after(*begun, claim(2, "b"), strike(GROUP), commit(), position()).strikes == {}
    assert after(claim(1, "a"), strike("w"), commit(), claim(2, "b")).strikes == {}


def test_who_hands_over_with_an_input_announced_and_not_tried_leaves_its_strikes_as_they_were() -> None:
    died_on = (claim(1, "a"), strike("w"), claim(2, "b"), strike("w"), claim(3, "c"))
    known = after(*died_on, strike("w"), position(resigned=True))
    assert known.strikes == {"w": 2}
    assert not known.is_struck
    assert after(*died_on, strike("w"), position(resigned=True), claim(4, "d")).strikes == {"w": 2}


RECORDS = st.one_of(
    st.builds(claim, st.integers(2, 99), st.sampled_from([f"i{n}" for n in range(30)])),
    st.builds(strike, st.sampled_from(["", GROUP, *(f"w{n}" for n in range(30))])),
    st.builds(position, resigned=st.booleans()),
)


@given(st.lists(RECORDS, max_size=80))
def test_what_is_remembered_is_bounded_and_never_blames_the_owner_in_force(records: list[HistoryRecord]) -> None:
    known = after(claim(1, "first"), *records)
    assert len(known.deaths) <= DEATHS_KEPT
    assert list(known.deaths.values()) == sorted(known.deaths.values())
    assert known.instance_id not in known.deaths or records == []
    assert len(known.strikes) <= STRIKES_KEPT
    assert all(count > 0 for count in known.strikes.values())
