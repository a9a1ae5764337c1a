"""What a network does between a process and the broker (rows A1 A5 A6 L4)."""

import time
from collections.abc import Callable

import pytest

from kit.namespace import Namespace
from kit.proxy import Api, Do, Proxy, Rule
from kit.row import Row

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

Doors = Callable[[], Proxy]

LIVE_AGAIN_S = 30
"""Bound on the time after which everything goes on once a fault is over."""


def goes_on(namespace: Namespace, row: Row, items: int = 10) -> None:
    """Items are done again soon after a fault."""
    healed, before = time.monotonic(), namespace.done()
    namespace.until_done(before + items, LIVE_AGAIN_S)
    row.figures["goes_on_after_s"] = round(time.monotonic() - healed, 1)


@pytest.mark.parametrize("persisted", [pytest.param(True, marks=pytest.mark.sharp), False], ids=["persisted", "not persisted"])
def test_appends_of_history_whose_answer_never_comes(door: Doors, bank: Namespace, row: Row, persisted: bool) -> None:
    row.injects("A1", f"Produce to history, {'executed' if persisted else 'not executed'}; connection cut in place of the answer")
    transfers, proxy = 150, door()
    owner = bank.owner(through=proxy)
    bank.worker()
    load = bank.load(transfers, 20)
    bank.until_done(20)
    history = bank.names_of("history")
    with row.fault(bank):
        rule = proxy.add(Rule(Do.CUT_AFTER if persisted else Do.CUT, frozenset({Api.PRODUCE}), history, times=20))
        bank.until(lambda: rule.hits == rule.times, "twenty appends without an answer", 60)
    row.injected(rule.hits)
    bank.finish(load, transfers)
    assert owner.poll() is None


def test_an_owner_cut_off_for_longer_than_its_session_comes_back_to_what_the_others_made_of_it(
    door: Doors, bank: Namespace, row: Row
) -> None:
    row.injects("A5 L4", "one of two owners cut off from the broker for 25 s")
    transfers, proxy = 400, door()
    lonely = bank.owner("first", through=proxy)
    bank.worker()
    load = bank.load(transfers, 20)
    bank.until_leading(lonely, 4)
    other = bank.owner("second")
    bank.until_leading(other, 2)
    bank.until_done(20)
    proxy.cut()
    until = time.monotonic() + 25
    bank.until_leading(other, 4)
    with row.fault(bank):
        before = bank.done()
        bank.until_done(before + 30, 30)
    time.sleep(max(0.0, until - time.monotonic()))
    row.injected(proxy.refused)
    proxy.heal()
    bank.finish(load, transfers)
    assert row.during > 0
    assert lonely.poll() is None


def test_an_owner_alone_that_is_cut_off_takes_up_its_work_when_the_network_is_back(door: Doors, bank: Namespace, row: Row) -> None:
    row.injects("A5", "the only owner cut off from the broker for 20 s")
    transfers, proxy = 150, door()
    owner = bank.owner(through=proxy)
    bank.worker()
    load = bank.load(transfers, 20)
    bank.until_done(30)
    proxy.cut()
    time.sleep(20)
    row.injected(proxy.refused)
    proxy.heal()
    goes_on(bank, row)
    bank.finish(load, transfers)
    assert owner.poll() is None


@pytest.mark.sharp
def test_a_client_cut_off_is_told_unknown_and_the_same_request_id_makes_one_run(door: Doors, bank: Namespace, row: Row) -> None:
    row.injects("L4", "client: Produce executed and answers lost, then cut off for 12 s")
    transfers, proxy = 300, door()
    bank.owner()
    bank.worker()
    load = bank.load(transfers, 20, through=proxy)
    bank.until_done(10)
    proxy.add(rule := Rule(Do.CUT_AFTER, frozenset({Api.PRODUCE}), times=10))
    bank.until(lambda: rule.hits == rule.times, "ten starts without an answer", 60)
    assert bank.done() < transfers - 20, "the load is almost over, and no call would be under way"
    proxy.cut()
    time.sleep(12)  # longer than a call is waited for
    row.injected(rule.hits + proxy.refused)
    proxy.heal()
    bank.finish(load, transfers)
    assert bank.told()["unknown"] > 0, "no client was ever told that an outcome is unknown"


@pytest.mark.parametrize("who", ["worker", "client", "owner"])
def test_half_open_connections_are_noticed(door: Doors, bank: Namespace, row: Row, who: str) -> None:
    row.injects("L4", f"everything of the {who} vanishes for 15 s, connections stay open")
    transfers, proxy = 150, door()
    bank.owner(through=proxy if who == "owner" else None)
    bank.worker(through=proxy if who == "worker" else None)
    load = bank.load(transfers, 20, through=proxy if who == "client" else None)
    bank.until_done(30)
    proxy.black_hole()
    time.sleep(15)
    row.injected(proxy.swallowed_bytes)
    proxy.heal()
    goes_on(bank, row)
    bank.finish(load, transfers)


@pytest.mark.parametrize(("api", "do"), [(Api.FETCH, Do.DROP), (Api.PRODUCE, Do.DROP), (Api.PRODUCE, Do.DROP_RESPONSE)])
def test_an_answer_about_history_that_never_comes_is_not_waited_for_long(door: Doors, bank: Namespace, row: Row, api: Api, do: Do) -> None:
    row.injects("A6", f"one {api.name} of history is never answered ({do.value}), its connection stays open")
    transfers, proxy = 150, door()
    bank.owner(through=proxy)
    bank.worker()
    load = bank.load(transfers, 20)
    bank.until_done(30)
    rule = proxy.add(Rule(do, frozenset({api}), bank.names_of("history"), times=1))
    bank.until(lambda: rule.hits == 1, "such a request")
    row.injected(rule.hits)
    goes_on(bank, row)
    bank.finish(load, transfers)


def test_appends_held_back_and_landing_after_the_claim_of_a_successor_are_dead(door: Doors, bank: Namespace, row: Row) -> None:
    row.injects("A1 C4", "Produce to history held on an open connection, owner killed, released after the successor's claim")
    transfers, proxy = 150, door()
    owner = bank.owner("first", through=proxy)
    bank.worker()
    load = bank.load(transfers, 20)
    bank.until_done(30)
    rule = proxy.add(Rule(Do.HOLD, frozenset({Api.PRODUCE}), bank.names_of("history")))
    bank.until(lambda: rule.hits > 0, "an append that is held")
    owner.kill()
    successor = bank.owner("second")
    bank.until_leading(successor, 4)
    proxy.remove(rule)
    row.injected(rule.hits)
    bank.finish(load, transfers)
    dead = {cause: count for folded in bank.fold() for cause, count in folded.dead.items()}
    assert dead.get("superseded_claim"), f"what was held has not landed: {dead}"
