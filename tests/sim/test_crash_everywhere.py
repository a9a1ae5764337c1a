"""The owner dies before and after every port call of a money transfer and of a workflow with signals and timers (promises P1 to P8)."""

import pytest

from kit.world import World, plain, run_with_crash
from perdure_schemas.commands import SignalWorkflow, StartWorkflow


def transfer() -> World:
    world = World()
    for account in ("account-0", "account-3"):
        world.ask(account, StartWorkflow("SimAccount", "sim", plain("0")))
    for number in range(2):
        values = (*plain('"account-0"'), *plain('"account-3"'), *plain(str(number + 1)))
        world.ask(f"transfer-{number}", StartWorkflow("SimTransfer", "sim", values))
    return world


def signals_and_timers() -> World:
    world = World()
    world.ask("counter-0", StartWorkflow("SimCounter", "sim", signal=SignalWorkflow("count", input=plain("1"))))
    for number in (2, 3, 4):
        world.ask("counter-0", SignalWorkflow("count", input=plain(str(number))))
    return world


SCENARIOS = {"transfer": transfer, "signals_and_timers": signals_and_timers}


def calls_of(name: str) -> int:
    world = SCENARIOS[name]()
    process = world.start()
    world.run_until_done()
    world.check()
    return process.calls.count


def crash_at(name: str, every: int) -> None:
    total = calls_of(name)
    crashed = set()
    for at in range(1, total + 1, every):
        for before in (True, False):
            try:
                crashed.add(run_with_crash(SCENARIOS[name](), at, before=before, batches_lost=at % 4))
            except AssertionError as error:
                raise AssertionError(f"{name}: crash {'before' if before else 'after'} port call {at} of {total}: {error}") from error
    assert {"producer.append", "store.write", "consumer.poll"} <= crashed, f"only crashed in {sorted(crashed)}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_undisturbed_run_keeps_every_promise(name: str) -> None:
    assert calls_of(name) > 100


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_at_any_of_many_port_calls_breaks_no_promise(name: str) -> None:
    crash_at(name, every=max(1, calls_of(name) // 60))


@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.campaign
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_at_every_port_call_breaks_no_promise(name: str) -> None:
    crash_at(name, every=1)


def test_records_that_arrive_while_a_partition_is_rebuilt_do_not_make_its_store_look_ahead_of_the_log() -> None:
    world = transfer()
    world.start()
    world.run_until_done()
    world.lose_process(0)
    for number in range(5):
        world.ask(f"counter-{number}", StartWorkflow("SimCounter", "sim", signal=SignalWorkflow("count", input=plain("1"))))
    first, second = world.start(), world.start()
    for _ in range(200):
        first.node.turn(0)
        second.node.turn(0)
        world.step(owner=False)
    assert world.stores.aside == []
