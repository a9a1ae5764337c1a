"""The live rule over random logs: claims that race, records that are lost, doubled, late."""

import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_schemas.codec import decode_history, encode_history
from perdure_schemas.errors import LogCorrupt
from perdure_schemas.history import Claim, CommitRecord, HistoryRecord, PositionRecord, SettledRequest
from perdure_schemas.live import LiveState, Verdict, judge, link_of
from perdure_schemas.replies import Accepted


def claim(number: int, claim_id: str, previous: str) -> Claim:
    return Claim(number, claim_id, previous, "o", "h", 1, "b", 1, "c", "h", 1, 0)


def position(state: LiveState, sequence: int, live_count: int) -> PositionRecord:
    return PositionRecord(state.claim_number, state.claim_id, sequence, 0, 0, 0, {}, live_count)


def random_log(seed: int) -> list[HistoryRecord]:
    """Writers claim from what they have read, append ahead, and their records are lost, doubled and delayed."""
    chance = random.Random(seed)
    log: list[HistoryRecord] = []
    late: list[HistoryRecord] = []
    writers: list[tuple[LiveState, int]] = []

    def land(record: HistoryRecord) -> None:
        outcome = chance.random()
        if outcome < 0.1:
            return
        if outcome < 0.2:
            late.append(record)
        else:
            log.append(record)
            if outcome < 0.3:
                late.append(record)

    seen: list[LiveState] = [LiveState()]
    for step in range(chance.randint(5, 60)):
        if not writers or chance.random() < 0.15:
            known = seen[-1] if chance.random() < 0.8 else chance.choice(seen)  # a paused process claims from what it read long ago
            land(claim(known.claim_number + 1, f"claim-{step}", known.claim_id))
        elif late and chance.random() < 0.3:
            log.append(late.pop(chance.randrange(len(late))))
        else:
            at = chance.randrange(len(writers))
            known, sequence = writers[at]
            writers[at] = (known, sequence + 1)
            land(position(known, sequence + 1, known.live_count + sequence + 1))
        state = LiveState()
        for record in log:
            state = judge(state, record, 0)[1]
        if log and state.sequence == 0 and state.claim_number and state.claim_id not in {known.claim_id for known, _ in writers}:
            writers.append((state, 0))  # only who has read its claim back writes under it
        seen.append(state)
    return log


@pytest.mark.parametrize("seed", range(300))
def test_readers_agree_wherever_they_paused_and_live_records_are_one_chain(seed: int) -> None:
    log = random_log(seed)
    state, verdicts, states = LiveState(), [], []
    chain: list[HistoryRecord] = []
    for record in log:
        verdict, state = judge(state, record, 0)
        verdicts.append(verdict)
        states.append(state)
        if verdict is Verdict.LIVE:
            chain.append(record)
    for start in range(0, len(log), 7):
        resumed = states[start]
        for at in range(start + 1, len(log)):
            verdict, resumed = judge(resumed, log[at], 0)
            assert verdict is verdicts[at]
    claims = [record for record in chain if isinstance(record, Claim)]
    assert [one.claim_number for one in claims] == list(range(1, len(claims) + 1))
    assert len({one.claim_id for one in claims}) == len(claims), "no claim is in force twice"
    in_force, sequence = "", 0
    for record in chain:
        if isinstance(record, Claim):
            assert record.previous_claim_id == in_force
            in_force, sequence = record.claim_id, 0
        else:
            assert (record.claim_id, record.sequence) == (in_force, sequence + 1)
            sequence += 1
    assert state.live_count == len(chain)


@dataclass
class Writer:
    """One of two that share a claim and all that was known when the one was made from the other; each says what it has decided."""

    name: str
    state: LiveState
    sent: list[bytes]

    def append(self) -> bytes:
        record = CommitRecord(self.state.claim_number, self.state.claim_id, self.state.sequence + 1, 0, 0, follows=self.state.link)
        value = encode_history(replace(record, time_ms=len(self.sent), requests=(SettledRequest(self.name, "r", 0, Accepted("w")),)))
        self.state = replace(self.state, sequence=record.sequence, link=link_of(value))
        self.sent.append(value)
        return value


@given(st.integers(0, 3), st.lists(st.booleans(), max_size=12))
def test_of_a_process_and_its_clone_nothing_counts_behind_what_the_other_has_sent(before: int, turns: list[bool]) -> None:
    """R18. Each sends ahead without reading; what is live must be what one of the two has sent, in its order, without a gap."""
    taken = encode_history(claim(1, "a", ""))
    original = Writer("original", LiveState(1, "a", 0, 1, link_of(taken)), [])
    log = [taken, *(original.append() for _ in range(before))]
    twin = Writer("twin", original.state, list(original.sent))
    log += [(twin if is_twin else original).append() for is_twin in turns]
    state, live = LiveState(), []
    for value in log:
        verdict, state = judge(state, decode_history(value), link_of(value))
        if verdict is Verdict.LIVE:
            live.append(value)
    told = live[1:]
    assert told in (original.sent[: len(told)], twin.sent[: len(told)])
    assert len(told) > before or not turns, "nobody gets on"


def test_a_claim_number_above_the_one_in_force_stops_the_reader() -> None:
    with pytest.raises(LogCorrupt, match="missing"):
        judge(LiveState(1, "a", 3, 4), position(LiveState(2, "b", 0, 0), 1, 5), 0)
    with pytest.raises(LogCorrupt, match="missing"):
        judge(LiveState(1, "a", 3, 4), claim(3, "c", "b"), 0)


def test_another_count_of_live_records_stops_the_reader() -> None:
    with pytest.raises(LogCorrupt, match="missing"):
        judge(LiveState(1, "a", 3, 4), position(LiveState(1, "a", 0, 0), 4, 9), 0)
