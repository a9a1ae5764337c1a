"""The owner fails at every port call of a money transfer and of a workflow with signals and timers (promises P1 to P8).

It dies before the call or after it was executed; it stops there until another has taken over, and goes on as a zombie; or the call is
executed and says that it failed.
"""

from collections.abc import Callable

import pytest

from kit.ports import PortCalls, unavailable
from kit.world import FALLIBLE, SECOND, World, open_account, plain, run_with_crash, run_with_zombie, transfer
from perdure_schemas.commands import SignalWorkflow, StartWorkflow


def transfers() -> World:
    world = World()
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    for number, amount in enumerate((2, 13)):
        world.ask(f"transfer-{number}", transfer("account-0", "account-3", amount))
    return world


def signals_and_timers() -> World:
    world = World()
    world.ask("counter-0", StartWorkflow("SimCounter", "sim", signal=SignalWorkflow("count", input=plain(1))))
    for number in (2, 3, 4):
        world.ask("counter-0", SignalWorkflow("count", input=plain(number)))
    return world


def crash_before(world: World, at: int) -> str:
    return run_with_crash(world, at, before=True, batches_lost=at % 4)


def crash_after(world: World, at: int) -> str:
    return run_with_crash(world, at, before=False, batches_lost=at % 4)


def stop_before(world: World, at: int) -> str:
    return run_with_zombie(world, at, before=True)


def stop_after(world: World, at: int) -> str:
    return run_with_zombie(world, at, before=False)


SCENARIOS = {"transfers": transfers, "signals_and_timers": signals_and_timers}
FAILURES = {"crash_before": crash_before, "crash_after": crash_after, "stop_before": stop_before, "stop_after": stop_after}


def calls_of(name: str) -> list[str]:
    world = SCENARIOS[name]()
    process = world.start()
    world.run_until_done()
    world.check()
    return process.calls.names


def some_of_each(calls: list[str], of_each_max: int) -> list[int]:
    """Numbers of calls: of each kind at most so many, evenly spread."""
    places: dict[str, list[int]] = {}
    for at, call in enumerate(calls, 1):
        places.setdefault(call, []).append(at)
    return sorted(at for found in places.values() for at in found[:: -(-len(found) // of_each_max)])


def fail_at(name: str, failure: Callable[[World, int], str], places: list[int]) -> None:
    failed = set()
    for at in places:
        try:
            failed.add(failure(SCENARIOS[name](), at))
        except AssertionError as error:
            raise AssertionError(f"{name}: {failure.__name__} port call {at}: {error}") from error
    assert {"producer.append", "store.write", "consumer.poll"} <= failed, f"only in {sorted(failed)}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_undisturbed_run_keeps_every_promise(name: str) -> None:
    assert len(calls_of(name)) > 100


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_failure_at_some_port_calls_of_each_kind_breaks_no_promise(name: str, failure: str) -> None:
    fail_at(name, FAILURES[failure], some_of_each(calls_of(name), 8))


@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.campaign
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_failure_at_every_port_call_breaks_no_promise(name: str, failure: str) -> None:
    fail_at(name, FAILURES[failure], list(range(1, len(calls_of(name)) + 1)))


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_call_that_may_fail_is_made_again(name: str) -> None:
    at = 0
    while True:
        at += 3
        world = SCENARIOS[name]()
        calls = PortCalls(at, then=unavailable, only=FALLIBLE)
        world.start(calls)
        world.run_until_done()
        world.check()
        if not calls.hit or at > 120:
            break


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
