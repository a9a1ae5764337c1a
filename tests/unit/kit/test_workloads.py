"""Each workload's check accepts what must come, and rejects what was lost, doubled, reordered or early, each forged by hand."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from kit import outside
from kit.workloads import bank, chains, fan_out, ledger, mixed, notes, queries, sagas, signals, timers
from perdure.client import Client

COUNT = 50
NOBODY = cast("Client", None)
"""These checks look at files only."""


def write(directory: Path, name: str, lines: Sequence[tuple[int, ...]]) -> None:
    """What activities have written."""
    (directory / name).write_text("".join(" ".join(map(str, line)) + "\n" for line in lines))


# -- bank


def test_ranges_hold_what_was_put_in_in_any_order_and_notice_what_is_there_twice() -> None:
    chance = random.Random(5)
    for _ in range(50):
        values = [chance.randrange(30) for _ in range(25)]
        ranges: list[list[int]] = []
        came: set[int] = set()
        for value in values:
            assert bank.insert(ranges, value) == (value not in came)
            came.add(value)
            assert [one for first, last in ranges for one in range(first, last + 1)] == sorted(came)
            assert all(ranges[at][1] + 1 < ranges[at + 1][0] for at in range(len(ranges) - 1)), ranges


def test_transfers_move_primes_of_their_own_and_leave_no_gap_in_an_account() -> None:
    amounts = [bank.order(number).amount for number in range(300)]
    assert amounts[:5] == [2, 3, 5, 7, 11]
    assert len(set(amounts)) == 300
    assert sum(book.balance for book in bank.books(300).values()) == 0
    assert all(book.seen == [[0, 2 * 300 // bank.ACCOUNTS - 1]] and not book.twice for book in bank.books(300).values())


@pytest.mark.parametrize("number", [3, 17])
@pytest.mark.parametrize("leg", ["source", "target"])
def test_the_bank_names_a_movement_that_is_missing_or_there_twice(number: int, leg: str) -> None:
    wanted = bank.books(COUNT)
    transfer = bank.order(number)
    account = transfer.source if leg == "source" else transfer.target
    amount = -transfer.amount if leg == "source" else transfer.amount
    bank.compare(account, copy.deepcopy(wanted[account]), wanted[account], COUNT)

    doubled = copy.deepcopy(wanted[account])
    doubled.move(amount, number)
    with pytest.raises(AssertionError, match=f"'transfer {number} is there twice'"):
        bank.compare(account, doubled, wanted[account], COUNT)

    lacking = bank.Book()
    for other in map(bank.order, range(COUNT)):
        if other.number != number and account in (other.source, other.target):
            lacking.move(other.amount if account == other.target else -other.amount, other.number)
    with pytest.raises(AssertionError, match=f"'transfer {number} is missing'"):
        bank.compare(account, lacking, wanted[account], COUNT)


def test_the_bank_notices_one_movement_in_the_place_of_another() -> None:
    wanted = bank.books(COUNT)["account-0"]
    found = copy.deepcopy(wanted)
    found.twice.append(3)
    with pytest.raises(AssertionError, match="account-0 has"):
        bank.compare("account-0", found, wanted, COUNT)


def test_an_account_opens_with_what_it_put_away_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKLOAD_DIRECTORY", str(tmp_path))
    assert bank.last_book("account-1", tmp_path) == bank.Book()
    for movements in (2, 10):
        (tmp_path / f"account-1.{movements:09}").write_text(f'{{"balance": 1, "movements": {movements}, "seen": [], "twice": []}}')
    (tmp_path / "account-1.000000011.77.part").write_text("{")
    assert bank.last_book("account-1", tmp_path).movements == 10


# -- ledger, fan-out


async def test_the_ledger_must_have_every_entry_and_no_more_than_deaths_explain(tmp_path: Path) -> None:
    entries = [(number, 0, 1, 1, 0, 0) for number in range(6)]
    write(tmp_path, "ledger", entries)
    await ledger.check(NOBODY, 6, tmp_path)
    write(tmp_path, "ledger", entries[1:])
    with pytest.raises(AssertionError, match=r"entries \[0\] are missing"):
        await ledger.check(NOBODY, 6, tmp_path)
    write(tmp_path, "ledger", [*entries, entries[2]])
    with pytest.raises(AssertionError, match="1 executions were made again beside 0 deaths"):
        await ledger.check(NOBODY, 6, tmp_path)
    outside.record_death(tmp_path, "worker")
    await ledger.check(NOBODY, 6, tmp_path)
    write(tmp_path, "ledger", [*entries, entries[3]])
    with pytest.raises(AssertionError, match=r"entries \[3\] may run once, and ran again"):
        await ledger.check(NOBODY, 6, tmp_path)


async def test_a_fan_out_must_have_every_result_in_its_place_and_every_part_executed_once(tmp_path: Path) -> None:
    results = [fan_out.WIDTH + index for index in range(fan_out.WIDTH)]
    fan_out.judge(1, results)
    for wrong in (results[:-1], [*results, 7], [results[1], results[0], *results[2:]], [*results[:-1], results[0]]):
        with pytest.raises(AssertionError, match="fan-out-1"):
            fan_out.judge(1, wrong)
    executed = [(0, index, 1) for index in range(fan_out.WIDTH)]
    write(tmp_path, "fan-out", executed)
    await fan_out.check(NOBODY, 1, tmp_path)
    write(tmp_path, "fan-out", executed[1:])
    with pytest.raises(AssertionError, match="1 parts were never executed"):
        await fan_out.check(NOBODY, 1, tmp_path)
    write(tmp_path, "fan-out", [*executed, executed[5]])
    with pytest.raises(AssertionError, match="1 executions were made again beside 0 deaths"):
        await fan_out.check(NOBODY, 1, tmp_path)
    write(tmp_path, "fan-out", [*executed[1:], (0, 0, 2)])
    with pytest.raises(AssertionError, match="without a death"):
        await fan_out.check(NOBODY, 1, tmp_path)


# -- timers, signals, queries


def test_a_timer_that_is_early_missing_doubled_or_out_of_order_is_noticed() -> None:
    timers.judge("timers-0", [1, 50], [[1, 4], [50, 51]])
    for fired in ([[1, 4], [50, 49]], [[1, 4]], [[1, 4], [1, 4], [50, 51]], [[50, 51], [1, 4]]):
        with pytest.raises(AssertionError, match="timers-0"):
            timers.judge("timers-0", [1, 50], fired)


def test_a_signal_that_is_lost_doubled_or_overtaken_is_noticed() -> None:
    got = [[sender, counter] for counter in range(signals.SIGNALS) for sender in range(signals.SENDERS)]
    signals.judge("inbox-0", got)
    for wrong in (got[1:], [got[0], *got], [*got[signals.SENDERS :], *got[: signals.SENDERS]]):
        with pytest.raises(AssertionError, match="of sender 0"):
            signals.judge("inbox-0", wrong)


def test_an_answer_that_is_behind_or_goes_back_or_tells_too_much_is_noticed() -> None:
    queries.judge("counter-0", queries.Told([(0, 0), (1, 1), (1, 3), (2, 3)]))
    for answers in ([(1, 0)], [(0, 2), (1, 1)], [(0, queries.CHANGES + 1)]):
        with pytest.raises(AssertionError, match="counter-0"):
            queries.judge("counter-0", queries.Told(answers))


# -- chains, sagas, notes


def test_a_chain_with_a_doubled_or_missing_link_or_signal_is_noticed() -> None:
    got = [[1, sender, counter] for counter in range(chains.SIGNALS) for sender in range(chains.SENDERS)]
    runs = ["a", "b", "c"]
    chains.judge("chain-0", 1, chains.Carried(1, list(runs), got), runs)
    for links, walked in ((["a", "c"], runs), (runs, ["a", "c"]), (["a", "b", "b"], ["a", "b", "b"]), (["a"], ["a"])):
        with pytest.raises(AssertionError, match="chain-0: the runs are"):
            chains.judge("chain-0", 1, chains.Carried(1, links, got), walked)
    for wrong in (got[:-1], [*got, got[-1]], [[0, 0, 0], *got], [got[2], got[1], got[0], *got[3:]]):
        with pytest.raises(AssertionError, match="chain-0: in life 1"):
            chains.judge("chain-0", 1, chains.Carried(1, list(runs), wrong), runs)


@pytest.mark.parametrize("number", range(sagas.STEPS + 1))
def test_a_saga_whose_compensations_are_missing_doubled_or_in_another_order_is_noticed(number: int) -> None:
    done = [("do", step, "ActivityTaskCompleted") for step in range(number)]
    undone = [("undo", step, "ActivityTaskCompleted") for step in reversed(range(number))]
    if number == sagas.STEPS:
        sagas.judge(number, [], done)
        wrong_ones = [done[:-1], [*done, done[-1]], [*done, *undone]]
    else:
        failed = ("do", number, "ActivityTaskFailed")
        sagas.judge(number, [step for _, step, _ in undone], [*done, failed, *undone])
        wrong_ones = [[*done, failed, failed, *undone], [*done, *undone], [*done, failed, *undone, ("undo", 0, "ActivityTaskCompleted")]]
        if number > 1:
            wrong_ones += [[*done, failed, *reversed(undone)], [*done, failed, *undone[1:]], [*done, failed, undone[0], *undone]]
    for wrong in wrong_ones:
        with pytest.raises(AssertionError, match=f"saga-{number}: its history has"):
            sagas.judge(number, [step for what, step, _ in wrong if what == "undo"], wrong)


def test_heartbeat_details_that_go_back_or_are_lost_are_noticed() -> None:
    climbed = {1: [(0, 4)], 2: [(4, 8)], 3: [(8, 12)], 4: [(12, notes.TOP)]}
    notes.judge(0, climbed, is_undisturbed=True)
    notes.judge(1, {**climbed, 2: [(3, 7), (3, 7)]}, is_undisturbed=False)
    with pytest.raises(AssertionError, match="attempt 3 found 3, and one before it had found 4"):
        notes.judge(0, {**climbed, 3: [(3, 12)]}, is_undisturbed=False)
    with pytest.raises(AssertionError, match=r"attempt 2 found \[3\], and 4 was told last"):
        notes.judge(0, {**climbed, 2: [(3, 8)]}, is_undisturbed=True)
    with pytest.raises(AssertionError, match="got to 12 only"):
        notes.judge(0, {attempt: climbed[attempt] for attempt in (1, 2, 3)}, is_undisturbed=True)


# -- mixed


def test_each_part_of_the_mixed_load_gets_its_share_and_its_items_are_numbered_without_a_gap() -> None:
    given: dict[int, list[int]] = {part: [] for part in range(len(mixed.PARTS))}
    for number in range(3 * len(mixed.SLOTS)):
        part = mixed.SLOTS[number % len(mixed.SLOTS)]
        given[part].append(mixed.below(part, number))
    assert all(numbers == list(range(len(numbers))) for numbers in given.values())
    assert {mixed.PARTS[part]: len(numbers) for part, numbers in given.items()} == {part: 3 * share for part, share in mixed.SHARES}
