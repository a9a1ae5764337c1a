"""Who leads: rivals that claim at once, a membership that lies or flaps, claimants that cannot serve (rows C3 C5 C6 C10 B5)."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kit import raw
from kit.lying_membership import leads
from kit.namespace import COMMAND, Namespace, Process
from kit.proxy import GROUP_APIS, Api, Do, Proxy, Rule
from kit.row import Row
from kit.secured import Secured
from perdure_platform.ops.acls import Role, grants
from perdure_schemas.history import Claim
from perdure_schemas.live import LiveState, Verdict, judge, link_of
from perdure_schemas.topics import commands_topic

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

Doors = Callable[[], Proxy]

PARTITIONS = 4
LIE_S = 60
CLAIMS_MAX = {"everything": 40, "flaps": LIE_S}
"""Of two rivals over a minute, for each partition: waits between claims grow to ten seconds; who left in peace claims when it is told."""


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
    first, second = (bank.owner(name, more=leads(lie, LIE_S)) for name in ("first", "second"))
    began = time.monotonic()
    bank.worker()
    load = bank.load(10_000, 10, per_second=5)
    bank.until_leading(first)
    bank.until_leading(second)
    with row.fault(bank):
        time.sleep(max(0.0, began + LIE_S - time.monotonic()))
        assert bank.done() > 0, f"nothing was done for {LIE_S} s\n{bank.outputs()}"
    claims = claims_of(bank)
    row.injected(sum(claims) - PARTITIONS)
    row.figures["claims"] = max(claims)
    assert row.during > 0
    assert max(claims) <= CLAIMS_MAX[lie], claims
    assert not any("stopped" in bank.said(owner) for owner in (first, second)), bank.outputs()
    bank.until_led()
    finish(bank, load)


def test_of_rivals_that_claim_in_one_window_one_leads_and_the_other_appends_nothing(door: Doors, bank: Namespace, row: Row) -> None:
    row.injects("C3", "two owners told that they lead everything; claims of the first arrive when the second leads with the same numbers")
    transfers, proxy = 100, door()
    rule = proxy.add(Rule(Do.HOLD, frozenset({Api.PRODUCE}), bank.names_of("history")))
    late = bank.owner("first", through=proxy)
    bank.until(lambda: rule.hits > 0, "a claim that is held")
    other = bank.owner("second", more=leads("everything", 20))
    bank.worker()
    bank.until_leading(other, PARTITIONS)
    load = bank.load(transfers, 10)
    proxy.remove(rule)
    bank.finish(load, transfers)
    lost = set[str]()
    for partition in range(PARTITIONS):
        live = LiveState()
        for read, record in raw.history(bank, partition):
            verdict, live = judge(live, record, link_of(read.value))
            if isinstance(record, Claim) and verdict is not Verdict.LIVE:
                lost.add(record.claim_id)
            assert isinstance(record, Claim) or record.claim_id not in lost, "somebody appended under a claim that had lost"
    row.injected(len(lost))
    assert late.poll() is None
    assert other.poll() is None


def test_an_owner_whose_loop_is_stuck_loses_its_partitions_although_its_heartbeats_go_on(bank: Namespace, row: Row) -> None:
    row.injects("C10", "the loop of one of two owners stands still for 25 s, its session is 3 s")
    bank.session_ms = 3_000
    stuck = bank.owner("first", points="log.poll:300:delay=25000")
    bank.worker()
    load = bank.load(10_000, 10, per_second=5)
    bank.until(lambda: len(bank.struck) > 0, "the strike")
    began = time.monotonic()
    row.injected()
    other = bank.owner("second")
    with row.fault(bank):
        bank.until_leading(other, PARTITIONS)
        row.figures["taken_over_after_s"] = round(time.monotonic() - began, 1)
        bank.until_done(bank.done() + 20)
        assert time.monotonic() - began < 25, "everybody waited for the owner that was stuck"
    bank.until_retired(stuck)
    finish(bank, load)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_member_that_comes_and_goes_every_two_seconds_disturbs_and_harms_nothing(bank: Namespace, row: Row, protocol: str) -> None:
    row.injects("C5", f"one of two owners leaves the group and joins it again every two seconds, for a minute ({protocol} protocol)")
    bank.group_protocol = protocol
    owner = bank.owner("first")
    bank.worker()
    bank.until_leading(owner, PARTITIONS)
    load = bank.load(10_000, 10, per_second=5)
    restless = bank.owner("second", more=leads("rejoins", LIE_S))
    bank.until_leading(restless)
    with row.fault(bank):
        time.sleep(LIE_S)
        assert bank.done() > 0
    claims = claims_of(bank)
    row.injected(bank.said(restless).count("leading with claim"))
    row.figures["claims"] = max(claims)
    assert row.during > 0
    finish(bank, load)


def test_owners_go_on_while_nobody_coordinates_their_group(door: Doors, bank: Namespace, row: Row) -> None:
    row.injects("B5", "no request about groups of the only owner is answered for 30 s, three sessions of it")
    proxy = door()
    owner = bank.owner(through=proxy)
    bank.worker()
    bank.until_leading(owner, PARTITIONS)
    load = bank.load(10_000, 10, per_second=5)
    bank.until_done(20)
    rule = proxy.add(Rule(Do.DROP, GROUP_APIS))
    with row.fault(bank):
        time.sleep(30)
        bank.until_done(bank.done() + 20)  # that long after its session was over
    row.injected(rule.hits)
    proxy.remove(rule)
    assert owner.poll() is None
    assert max(claims_of(bank)) <= 2
    finish(bank, load)


def test_an_owner_whose_code_cannot_be_loaded_claims_nothing(bank: Namespace, row: Row) -> None:
    row.injects("C6", "the registry of the second of two owners does not exist")
    owner = bank.owner("first")
    bank.until_leading(owner, PARTITIONS)
    arguments = ["owner", "kit.workloads.nothing:registry", "--log", bank.url, "--store", str(bank.directory / "second")]
    broken = bank.run([*COMMAND, *arguments], "owner")
    assert broken.wait(60) == 2, bank.said(broken)
    row.injected()
    assert claims_of(bank) == [1] * PARTITIONS


def test_an_owner_that_may_not_read_commands_claims_nothing(tmp_path: Path, row: Row) -> None:
    row.injects("C6 Z2", "no right to read commands, for the second of two owners")
    secured = Secured(tmp_path)
    closed = Namespace(secured.broker.bootstrap, "closed", tmp_path, "bank").create(PARTITIONS)
    try:
        all_but_read = [
            replace(grant, operations=tuple(each for each in grant.operations if each != "Read"))
            if grant.role is Role.OWNER and grant.name == commands_topic("closed")
            else grant
            for grant in grants("closed")
        ]
        secured.allow(all_but_read)
        owner = closed.owner("first")
        closed.until_leading(owner, PARTITIONS)
        arguments = ["owner", "kit.workloads.bank:registry", "--log", secured.url("closed", "owner"), "--store", str(tmp_path / "second")]
        unable = closed.run([*COMMAND, *arguments], "owner")
        assert unable.wait(90) == 2, closed.said(unable)
        row.injected()
        assert "closed.commands" in closed.said(unable)
        histories = [raw.history(closed, partition) for partition in range(PARTITIONS)]
        claims = [record for history in histories for _, record in history if isinstance(record, Claim)]
        assert not any(claim.process_id == unable.pid for claim in claims), f"{claims}\n{closed.outputs()}"
        assert owner.poll() is None
    finally:
        closed.stop()
        secured.close()
