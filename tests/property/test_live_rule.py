"""The live rule over random logs: claims that race, records that are lost, doubled, late."""

import random

import pytest

from perdure_schemas.errors import LogCorrupt
from perdure_schemas.history import Claim, HistoryRecord, PositionRecord
from perdure_schemas.live import LiveState, Verdict, judge


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
            state = judge(state, record)[1]
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
        verdict, state = judge(state, record)
        verdicts.append(verdict)
        states.append(state)
        if verdict is Verdict.LIVE:
            chain.append(record)
    for start in range(0, len(log), 7):
        resumed = states[start]
        for at in range(start + 1, len(log)):
            verdict, resumed = judge(resumed, log[at])
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


def test_a_claim_number_above_the_one_in_force_stops_the_reader() -> None:
    with pytest.raises(LogCorrupt, match="missing"):
        judge(LiveState(1, "a", 3, 4), position(LiveState(2, "b", 0, 0), 1, 5))
    with pytest.raises(LogCorrupt, match="missing"):
        judge(LiveState(1, "a", 3, 4), claim(3, "c", "b"))


def test_another_count_of_live_records_stops_the_reader() -> None:
    with pytest.raises(LogCorrupt, match="missing"):
        judge(LiveState(1, "a", 3, 4), position(LiveState(1, "a", 0, 0), 4, 9))
