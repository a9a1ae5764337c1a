"""Records that no owner of the partition has appended: forged, copied, late, unreadable (rows C4 C7 A2 D1)."""

import random
import time
from dataclasses import replace

import pytest

from kit import raw
from kit.namespace import Namespace, kill
from kit.row import Row
from perdure_schemas.codec import encode_history
from perdure_schemas.history import Claim, ClaimedRecord, CommitRecord, PositionRecord
from perdure_schemas.placement import partition_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

PARTITIONS = 4


def claims_of(namespace: Namespace, partition: int) -> list[Claim]:
    return [record for _, record in raw.history(namespace, partition) if isinstance(record, Claim)]


@pytest.mark.sharp
def test_forged_and_copied_claims_and_commits_of_old_claims_are_dead_for_all(bank: Namespace, row: Row) -> None:
    row.injects("C4", "copies of old claims and of all records behind them, and forged ones with old claims, by a plain producer")
    transfers, bank.session_ms = 400, 3_000
    owner = bank.owner()
    bank.worker()
    load = bank.load(transfers, 20)
    bank.until_done(20)
    kill(owner)
    owner = bank.owner()
    bank.until_leading(owner, PARTITIONS)
    bank.until_done(40)
    with row.fault(bank):
        for partition in range(PARTITIONS):
            records = raw.history(bank, partition)
            forged = [record.value for record, _ in records]
            numbered = [r for _, r in records if isinstance(r, CommitRecord | PositionRecord)]
            old = [r for r in numbered if r.claim_id == numbered[0].claim_id]
            forged += [encode_history(replace(r, sequence=old[-1].sequence + 1 + at)) for at, r in enumerate(old[:20])]
            first = claims_of(bank, partition)[0]
            forged += [encode_history(replace(first, claim_id=f"forged-{n}", previous_claim_id="nobody", claim_number=1)) for n in range(5)]
            raw.append(bank, "history", partition, forged)
            row.injected(len(forged))
        bank.until_done(min(bank.done() + 20, transfers))
    bank.finish(load, transfers)
    assert row.during > 0
    assert owner.poll() is None
    kill(owner)  # what a fold from the store's offset made of it, one from 0 makes as well
    bank.until_leading(bank.owner("another"), PARTITIONS)
    bank.verify()


@pytest.mark.sharp
def test_copies_of_commit_records_at_once_and_later_change_nothing_and_end_no_claim(bank: Namespace, row: Row) -> None:
    row.injects("A2", "byte-identical copies of the newest records of each partition, again and again")
    transfers = 250
    owner = bank.owner()
    bank.worker()
    load = bank.load(transfers, 20)
    bank.until_leading(owner, PARTITIONS)
    bank.until_done(20)
    before = [len(claims_of(bank, partition)) for partition in range(PARTITIONS)]
    with row.fault(bank):
        for _ in range(5):
            for partition in range(PARTITIONS):
                copies = [record.value for record, decoded in raw.history(bank, partition)[-30:] if isinstance(decoded, ClaimedRecord)]
                raw.append(bank, "history", partition, copies)
                row.injected(len(copies))
    bank.finish(load, transfers)
    assert row.during > 0
    assert [len(claims_of(bank, partition)) for partition in range(PARTITIONS)] == before, "a copy made an owner claim again"
    assert "given up" not in bank.said(owner)


@pytest.mark.parametrize("kind", ["random bytes", "a claim number above the one in force"])
def test_what_no_owner_can_have_written_stops_its_partition_and_the_others_go_on(bank: Namespace, row: Row, kind: str) -> None:
    row.injects("C7", f"{kind} in the history of one partition")
    owner = bank.owner()
    bank.worker()
    bank.until_leading(owner, PARTITIONS)
    load = bank.load(200, 20)
    bank.until_done(20)
    stricken = 2
    _, newest = raw.history(bank, stricken)[-1]
    assert not isinstance(newest, Claim)
    forged = random.Random(4).randbytes(200) if kind == "random bytes" else encode_history(replace(newest, claim_number=99, claim_id="x"))
    raw.append(bank, "history", stricken, [forged])
    row.injected()
    bank.until(lambda: f"partition {stricken} stopped" in bank.said(owner), "the alarm")
    ends = raw.ends(bank)
    time.sleep(3)
    after = raw.ends(bank)
    assert after[stricken] == ends[stricken], "something was appended to a partition that has stopped"
    assert owner.poll() is None, "an owner has ended because one of its partitions stopped"
    names = [f"neighbour-{number}" for number in range(12)]
    for name in [name for name in names if partition_of(name, PARTITIONS) != stricken]:
        bank.command("workflow", "start", "Account", "-q", "work", "-i", "{}", "--id", name)
        row.during += 1
    assert row.during >= 6
    kill(load)


@pytest.mark.sharp
def test_commands_that_nobody_can_read_go_to_the_dead_letters_and_their_neighbours_do_not_notice(bank: Namespace, row: Row) -> None:
    row.injects("D1", "random, empty and truncated commands between good ones")
    transfers, chance = 200, random.Random(7)
    owner = bank.owner()
    bank.worker()
    load = bank.load(transfers, 20)
    bank.until_done(20)
    poison = 0
    with row.fault(bank):
        for partition in range(PARTITIONS):
            good = raw.read(bank, "commands", partition)[0].value
            bad = [good[:length] for length in range(0, len(good), 1 + len(good) // 40)]
            bad += [chance.randbytes(chance.randrange(1, 400)) for _ in range(20)]
            bad += [good[:10] + chance.randbytes(60), b"\xc3\x01" + bytes(8), good + b"surplus"]
            raw.append(bank, "commands", partition, bad)
            poison += len(bad)
    row.injected(poison)
    bank.finish(load, transfers)
    assert owner.poll() is None
    bank.until(lambda: len(raw.read(bank, "dead-letters", 0)) >= poison, "a dead letter for each")
    assert len(raw.read(bank, "dead-letters", 0)) == poison
