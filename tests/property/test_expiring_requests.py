"""A settled request is known until the partition's time has passed its expiry, however the records came in batches."""

from hypothesis import event, given
from hypothesis import strategies as st

from perdure_platform.partition.apply import Applier, Judged
from perdure_platform.store.digest import digest
from perdure_platform.store.memory import MemoryStore
from perdure_platform.store.tables import Tables
from perdure_schemas.history import CommitRecord, SettledRequest
from perdure_schemas.live import LiveState, Verdict
from perdure_schemas.replies import Accepted

Step = tuple[int, int | None, int]
"""By how much time goes on, which request is settled then, and how long it lives."""

STEPS = st.lists(st.tuples(st.integers(0, 30), st.none() | st.integers(0, 3), st.sampled_from([0, 1, 20, 100])), min_size=1, max_size=40)


def records(steps: list[Step]) -> tuple[list[Judged], dict[int, int]]:
    """Records as an owner makes them, who settles no request again that is known; and the expiries of those known in the end."""
    found: list[Judged] = []
    known: dict[int, int] = {}
    now_ms = 1_000
    for sequence, (later_ms, number, life_ms) in enumerate(steps, 1):
        known = {one: expires_ms for one, expires_ms in known.items() if expires_ms >= now_ms}
        now_ms += later_ms
        requests: tuple[SettledRequest, ...] = ()
        if number is not None and number not in known:
            known[number] = now_ms + life_ms
            requests = (SettledRequest("workflow", f"request-{number}", known[number], Accepted(str(sequence))),)
        record = CommitRecord(1, "claim", sequence, now_ms, -1, requests=requests)
        found.append(Judged(sequence, 0, now_ms, b"", record, Verdict.LIVE, LiveState(1, "claim", sequence, sequence)))
    return found, {one: expires_ms for one, expires_ms in known.items() if expires_ms >= now_ms}


@given(STEPS, st.lists(st.integers(1, 10), max_size=20))
def test_the_same_requests_are_known_however_records_come_in_batches_and_owners_change(steps: list[Step], sizes: list[int]) -> None:
    made, known = records(steps)
    one_by_one = Tables(MemoryStore())
    applier = Applier(one_by_one)
    for judged in made:
        applier.apply([judged])

    in_batches = Tables(MemoryStore())
    rest = made
    for size in [*sizes, len(made)]:
        Applier(in_batches).apply(rest[:size])  # each batch by a new owner
        rest = rest[size:]

    assert digest(one_by_one.store) == digest(in_batches.store)
    assert {int(one.request_id[-1]): one.expires_at_ms for one in one_by_one.requests()} == known
    assert [one_by_one.request("workflow", f"request-{number}") is not None for number in range(4)] == [n in known for n in range(4)]
    assert len(list(one_by_one.expiries())) == len(known)
    event(f"{len(known)} known")
