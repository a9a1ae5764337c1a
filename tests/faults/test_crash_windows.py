"""An owner that dies between two of its port calls (rows W1 W3 W4 W5 A7 C6 and trimming), and calls that lie about what they did."""

import pytest

from kit.namespace import Namespace, kill
from kit.row import Row

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

DEATHS = [
    ("W1", "log.append:40:kill"),
    ("W1", "log.acked:30:kill"),
    ("W1", "log.readback:60:kill"),
    ("W2", "log.append:43:kill"),
    ("W3", "store.write:40:kill"),
    ("W4", "effect.send:60:kill"),
    ("W5", "effect.acked:40:kill"),
    ("C6", "claim.seen:2:kill"),
]


@pytest.mark.parametrize(("names", "point"), DEATHS, ids=[point for _, point in DEATHS])
def test_an_owner_that_dies_between_two_calls_costs_nothing(bank: Namespace, row: Row, names: str, point: str) -> None:
    row.injects(names, f"failpoint {point}, five owners in turn, each on the store of the one before")
    dies(bank, row, point, transfers=150, deaths=5)


@pytest.mark.sharp
def test_an_owner_that_dies_in_ever_other_places_costs_nothing(bank: Namespace, row: Row) -> None:
    row.injects("W1-W5", "each owner dies at another port call")
    owners_die(bank, row, [point for _, point in DEATHS[1:6]], 120)


def dies(bank: Namespace, row: Row, point: str, transfers: int, deaths: int) -> None:
    owners_die(bank, row, [point] * deaths, transfers)


def owners_die(bank: Namespace, row: Row, points: list[str], transfers: int, retention: str = "") -> None:
    """Owners that die, one after the other, and one at last that does not."""
    bank.session_ms = 3_000
    bank.worker()
    load = bank.load(transfers, 10)
    for point in points:
        owner = bank.owner(points=point, retention=retention)
        bank.until(lambda owner=owner: owner.poll() is not None or load.poll() is not None, f"death at {point}", 60)  # type: ignore[misc]
        if owner.poll() is None:  # there was no work left to die of
            owner.kill()
            owner.wait()
    row.injected(len(bank.struck))
    bank.owner(retention=retention)
    bank.finish(load, transfers)


@pytest.mark.parametrize("point", ["trim.checkpoint:2:kill", "trim.carried:3:kill", "trim.delete:2:kill", "trim.forget:2:kill"])
def test_an_owner_that_dies_in_the_middle_of_a_trim_leaves_it_finished_or_undone(bank: Namespace, row: Row, point: str) -> None:
    row.injects("K1", f"failpoint {point}, three owners in turn, retention 2 s")
    owners_die(bank, row, [point] * 3, 300, "2s")


LIES = [
    ("A1", "log.append:40:after"),
    ("A8", "log.readback:50:drop"),
    ("A8", "log.poll:200:drop"),
    ("A2", "log.append:40+:twice"),
    ("A3", "log.append:40:drop"),
    ("W5", "effect.acked:30+:drop"),
    ("S2", "store.write:40:damaged"),
    ("S2", "store.scan:10:damaged"),
    ("C10", "log.poll:100:delay=15000"),
    ("A6", "log.end_offsets:10:raise"),
]


@pytest.mark.parametrize(("names", "point"), LIES, ids=[point for _, point in LIES])
def test_a_call_that_fails_or_lies_is_survived_by_the_owner_that_made_it(bank: Namespace, row: Row, names: str, point: str) -> None:
    row.injects(names, f"failpoint {point}")
    transfers = 200
    owner = bank.owner(points=point)
    bank.worker()
    load = bank.load(transfers, 10)
    bank.until(lambda: bank.struck, "the strike")  # type: ignore[arg-type,return-value]
    if point.endswith("+:drop"):  # an owner that hears of no effect any more leaves all of them to who follows it
        bank.until_done(transfers)
        kill(owner)
        owner = bank.owner()
    bank.finish(load, transfers)
    row.injected(len(bank.struck))
    assert owner.poll() is None


def test_runs_that_memory_has_no_room_for_while_their_records_are_in_flight_use_no_event_id_twice(bank: Namespace, row: Row) -> None:
    row.injects("A7", "no run stays in memory that has nothing in flight; every history record is read back 30 ms late")
    transfers = 200
    bank.owner(points="log.readback:1+:delay=30", more={"PERDURE_CACHED_RUNS": "0"})
    bank.worker()
    load = bank.load(transfers, 20)
    bank.until(lambda: len(bank.struck) > 0, "the strike")
    bank.finish(load, transfers)
    row.injected(len(bank.struck))


@pytest.mark.parametrize("fails", ["enospc", "eio"])
def test_a_store_that_cannot_be_written_gives_its_partition_up_loudly(bank: Namespace, row: Row, fails: str) -> None:
    row.injects("S3", f"every write of the store ends with {fails}, from the 40th on")
    transfers = 150
    owner = bank.owner("first", points=f"store.write:40+:{fails}")
    bank.worker()
    load = bank.load(transfers, 10)
    bank.until(lambda: owner.poll() is not None, "the owner's end", 60)
    row.injected(len(bank.struck))
    assert "stopped" in bank.said(owner)
    bank.owner("second")
    bank.finish(load, transfers)
