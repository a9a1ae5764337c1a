"""The owner fails at port calls of twelve canonical workflows, a few of each kind (promises P1 to P8); `make sim` takes every call.

It dies before the call or after it was executed; it stops there until another has taken over, and goes on as a zombie; or the call, or an
append, fails: executed or not.
"""

import pytest

from kit.campaign import fail_at, fail_twice, some_pairs
from kit.scenarios import FAILURES, PAIRS, SCENARIOS, calls_of, transfers
from kit.world import SECOND, plain
from perdure_schemas.commands import SignalWorkflow, StartWorkflow


def some_of_each(calls: list[str], of_each_max: int) -> list[int]:
    """Numbers of calls: of each kind at most so many, evenly spread."""
    places: dict[str, list[int]] = {}
    for at, call in enumerate(calls, 1):
        places.setdefault(call, []).append(at)
    return sorted(at for found in places.values() for at in found[:: -(-len(found) // of_each_max)])


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_failure_at_some_port_calls_of_each_kind_breaks_no_promise(name: str, failure: str) -> None:
    places = some_of_each(calls_of(name, failure), 3)
    outcome = fail_at(name, failure, places)
    assert not outcome.failures
    assert "" not in outcome.seen, "a port call was not reached"


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_two_failures_at_any_port_calls_break_no_promise(name: str, pair: str) -> None:
    outcome = fail_twice(name, pair, some_pairs(name, pair, 6, seed=1))
    assert not outcome.failures
    assert any("none" not in hit for hit in outcome.seen), "no pair was reached"


def test_records_that_arrive_while_a_partition_is_rebuilt_do_not_make_its_store_look_ahead_of_the_log() -> None:
    world = transfers()
    world.start()
    world.run_until_done()
    world.lose_process(0)
    for number in range(5):
        world.ask(f"counter-{number}", StartWorkflow("SimCounter", "sim", signal=SignalWorkflow("count", input=plain(1))))
    world.start()
    world.start(name=SECOND)
    for _ in range(200):
        world.step()
    assert all(stores.aside == [] for stores in world.stores.values())
