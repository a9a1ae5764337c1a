"""Who leads: rivals that claim at once, a membership that lies or flaps, claimants that cannot serve (rows C3 C5 C6 C8 C10 B5)."""

import time
from collections.abc import Callable

import pytest

from kit import raw
from kit.namespace import Namespace, Process
from kit.proxy import GROUP_APIS, Do, Proxy, Rule
from kit.row import Row
from perdure_schemas.history import Claim

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

Doors = Callable[[], Proxy]

PARTITIONS = 4
LIE_S = 60
CLAIMS_MAX = {"everything": 40, "flaps": 2 * LIE_S}
"""Of two rivals over a minute, for each partition: waits of those who claim again and again grow to ten seconds; who is told each second that
it leads claims each second, and at most once more."""


def leads(lie: str, seconds: float = LIE_S) -> dict[str, str]:
    """The environment of an owner that is told who leads."""
    return {"PERDURE_FAULTY_LEADS": f"{lie}:{seconds}"}


def claims_of(namespace: Namespace) -> list[int]:
    """How many claims each partition's history holds."""
    return [sum(isinstance(record, Claim) for _, record in raw.history(namespace, partition)) for partition in range(PARTITIONS)]


def finish(bank: Namespace, load: Process) -> None:
    """End a load that would go on for ever, and check."""
    load.terminate()
    bank.until(lambda: load.poll() is not None, "the load's end")
    bank.check(bank.done())


@pytest.mark.parametrize("lie", ["everything", "flaps"])
def test_owners_that_are_all_told_to_lead_harm_nothing_and_claim_less_and_less_often(bank: Namespace, row: Row, lie: str) -> None:
    row.injects("C5", f"for a minute two owners are told that they lead: {lie}")
    first, second = (bank.owner(name, more=leads(lie)) for name in ("first", "second"))
    began = time.monotonic()
    bank.worker()
    load = bank.load(10_000, 10, per_second=5)
    bank.until_leading(first)
    bank.until_leading(second)
    with row.fault(bank):
        for _ in range(3):
            before, until = bank.done(), time.monotonic() + LIE_S / 4
            time.sleep(until - time.monotonic())
            assert bank.done() > before, f"nothing was done for {LIE_S / 4} s\n{bank.outputs()}"
    time.sleep(max(0.0, began + LIE_S - time.monotonic()))
    claims = claims_of(bank)
    row.injected(sum(claims) - PARTITIONS)
    row.figures["claims"] = max(claims)
    assert row.during > 0
    assert max(claims) <= CLAIMS_MAX[lie], claims
    assert not any("stopped" in bank.said(owner) for owner in (first, second)), bank.outputs()
    finish(bank, load)


def test_a_member_that_comes_and_goes_every_two_seconds_disturbs_and_harms_nothing(bank: Namespace, row: Row) -> None:
    row.injects("C5", "one of two owners leaves the group and joins it again every two seconds, for a minute")
    owner = bank.owner("first")
    bank.worker()
    bank.until_leading(owner, PARTITIONS)
    load = bank.load(10_000, 10, per_second=5)
    restless = bank.owner("second", more=leads("rejoins"))
    bank.until_leading(restless)
    with row.fault(bank):
        time.sleep(LIE_S)
    claims = claims_of(bank)
    row.injected(bank.said(restless).count("leading with claim"))
    row.figures["claims"] = max(claims)
    assert row.during > LIE_S
    finish(bank, load)


def test_owners_go_on_while_nobody_coordinates_their_group(bank: Namespace, row: Row, door: Doors) -> None:
    row.injects("B5", "no request about groups of the only owner is answered for 30 s, three sessions of it")
    proxy = door()
    owner = bank.owner(through=proxy)
    bank.worker()
    bank.until_leading(owner, PARTITIONS)
    load = bank.load(10_000, 10, per_second=5)
    bank.until_done(20)
    rule = proxy.add(Rule(Do.DROP, GROUP_APIS))
    with row.fault(bank):
        for _ in range(3):
            before = bank.done()
            time.sleep(10)
            assert bank.done() > before, f"nothing was done for ten seconds\n{bank.outputs()}"
    row.injected(rule.hits)
    proxy.remove(rule)
    assert owner.poll() is None
    assert max(claims_of(bank)) <= 2
    finish(bank, load)
