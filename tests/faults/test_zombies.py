"""Owners that stand still while a successor leads, and owners that are there twice (rows C2 C4 C8 C11 W3 W5 W6)."""

import signal

import pytest

from kit import raw
from kit.lying_membership import leads
from kit.namespace import Namespace, Namespaces
from kit.row import Row
from perdure_platform.partition.transition.positions import Positions, advance
from perdure_schemas.codec import encode_history
from perdure_schemas.history import PositionRecord
from perdure_schemas.live import Verdict, judge, link_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

PARTITIONS = 4
STOPS = [
    ("C2", "log.readback:60:stop", "read and not confirmed"),
    ("W3", "store.write:40:stop", "confirmed and not applied"),
    ("C2", "effect.send:60:stop", "applied and not released"),
    ("W5", "effect.acked:40:stop", "released and not acknowledged"),
]


@pytest.mark.parametrize(("names", "point", "where"), STOPS, ids=[point for _, point, _ in STOPS])
def test_a_zombie_that_stood_still_between_two_steps_does_nothing_that_counts_twice(
    bank: Namespace, row: Row, names: str, point: str, where: str
) -> None:
    row.injects(names, f"SIGSTOP where a record is {where}, a successor, SIGCONT")
    transfers = 150
    zombie = bank.owner("first", points=point)
    bank.worker()
    load = bank.load(transfers, 10)
    bank.until(lambda: len(bank.struck) > 0, "the stop")
    row.injected()
    successor = bank.owner("second")
    bank.until_leading(successor, PARTITIONS)
    bank.until_done(60)
    zombie.send_signal(signal.SIGCONT)
    bank.until_retired(zombie)
    bank.finish(load, transfers)


def test_a_claim_that_was_kept_back_while_another_leads_is_dead_when_it_lands(bank: Namespace, row: Row) -> None:
    row.injects("C4", "SIGSTOP in front of the first claim's append, a successor leads and serves, SIGCONT")
    transfers = 150
    late = bank.owner("first", points="claim.append:1:stop")
    bank.until(lambda: len(bank.struck) > 0, "the stop")
    row.injected()
    other = bank.owner("second")
    bank.worker()
    load = bank.load(transfers, 10)
    bank.until_leading(other, PARTITIONS)
    bank.until_done(60)
    late.send_signal(signal.SIGCONT)
    bank.finish(load, transfers)
    assert late.poll() is None
    assert "stopped" not in bank.said(other), bank.outputs()


def test_a_claim_whose_fold_is_four_seconds_old_lowers_nothing(bank: Namespace, row: Row) -> None:
    row.injects("W6", "claim.append delayed by 4 s for each partition, while the predecessor serves and appends")
    transfers = 300
    first = bank.owner("first")
    bank.worker()
    bank.until_leading(first, PARTITIONS)
    load = bank.load(transfers, 10, per_second=15)
    bank.until_done(20)
    second = bank.owner("second", points="claim.append:1+:delay=4000", more=leads("everything", 30))
    with row.fault(bank):
        bank.until_leading(second, PARTITIONS)
    row.injected(len(bank.struck))
    assert row.during > 0, "nothing was appended between the fold and the claim"
    bank.finish(load, transfers)


@pytest.mark.parametrize("point", ["log.end_offsets:60:stop", "log.readback:150:stop"])
def test_a_zombie_answers_no_question_with_what_its_successor_has_changed(namespaces: Namespaces, row: Row, point: str) -> None:
    row.injects("C8", f"SIGSTOP at {point} under questions that race changes, changes acknowledged by a successor, SIGCONT")
    queries = namespaces("queries")
    items = 60
    zombie = queries.owner("first", points=point)
    load = queries.load(items, 10)
    queries.until(lambda: len(queries.struck) > 0, "the stop")
    row.injected()
    successor = queries.owner("second")
    queries.until_leading(successor, PARTITIONS)
    queries.until_done(min(queries.done() + 10, items))
    zombie.send_signal(signal.SIGCONT)
    queries.until_retired(zombie)
    queries.finish(load, items)


def test_an_owner_that_is_there_twice_retires_at_what_it_did_not_send(namespaces: Namespaces, row: Row) -> None:
    row.injects("C11", "while an owner stands still, its twin appends under the same claim and the next sequence; SIGCONT; three times")
    transfers, bank = 200, namespaces("bank", partitions=1)
    owner = bank.owner(points="log.append:60:stop,log.append:120:stop,log.append:180:stop")
    bank.worker()
    load = bank.load(transfers, 10)
    for twin in range(3):
        bank.until(lambda twin=twin: len(bank.struck) > twin, "the stop")  # type: ignore[misc]
        known = Positions()  # what a snapshot that is restored knows: all that its original had read, and nothing of what came then
        for read, record in raw.history(bank, 0):
            verdict, live = judge(known.live, record, link_of(read.value))
            if verdict is Verdict.LIVE:
                known = advance(known, record, live, read.offset, read.leader_epoch, read.timestamp_ms)
        said = PositionRecord(
            known.live.claim_number,
            known.live.claim_id,
            known.live.sequence + 1,
            known.time_ms,
            known.watermark,
            known.released,
            known.marks,
            known.live.live_count + 1,
            follows=known.live.link,
        )
        raw.append(bank, "history", 0, [encode_history(said)])
        row.injected()
        owner.send_signal(signal.SIGCONT)
        bank.until(lambda twin=twin: bank.said(owner).count("which this process did not send") > twin, "the retirement", 60)  # type: ignore[misc]
    assert owner.poll() is None
    bank.finish(load, transfers)
