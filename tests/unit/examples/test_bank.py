import random
import sqlite3
from pathlib import Path

import pytest

from transfer.audit import disagreements
from transfer.bank import ACCOUNTS, OPENING_CENTS, Ledger, Mood
from transfer.demo import payments

TOTAL = ACCOUNTS * OPENING_CENTS


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "bank.db")


def test_a_repeated_reference_moves_no_money_and_gets_the_first_answer(ledger: Ledger) -> None:
    first = ledger.move("withdraw", "account-1", 500, "t-withdrawal")
    assert ledger.move("withdraw", "account-1", 500, "t-withdrawal") == first
    assert ledger.statement()["total_cents"] == TOTAL - 500


def test_a_withdrawal_beyond_the_balance_is_refused_and_leaves_no_trace(ledger: Ledger) -> None:
    answer = ledger.move("withdraw", "account-1", OPENING_CENTS + 1, "t-withdrawal")
    assert answer["error"] == "InsufficientFundsError"
    assert ledger.statement() == {"ok": True, "total_cents": TOTAL, "references": []}


def test_an_unknown_account_is_refused(ledger: Ledger) -> None:
    assert ledger.move("deposit", "account-nowhere", 1, "t-deposit")["error"] == "InvalidAccountError"


def test_movements_survive_the_bank(tmp_path: Path) -> None:
    Ledger(tmp_path / "bank.db").move("deposit", "account-2", 7, "t-deposit")
    assert Ledger(tmp_path / "bank.db").statement() == {"ok": True, "total_cents": TOTAL + 7, "references": ["t-deposit"]}


def test_two_moods_of_one_seed_are_the_same() -> None:
    one, two = (Mood(random.Random(3)) for _ in range(2))
    assert [one.delay_seconds() for _ in range(50)] == [two.delay_seconds() for _ in range(50)]


def test_the_bank_is_down_for_a_small_part_of_the_time_however_seldom_it_is_asked() -> None:
    for step in (0.01, 1.0, 16.0, 33.0):
        mood = Mood(random.Random(5))
        answers = [mood.is_down(number * step) for number in range(400)]
        assert 0.02 < sum(answers) / len(answers) < 0.25, step


def test_the_audit_accepts_books_that_agree() -> None:
    outcomes = {"a": "completed", "b": "refunded", "c": "refused"}
    assert disagreements(outcomes, ["a-withdrawal", "b-withdrawal", "b-refund", "a-deposit"], TOTAL) == []


@pytest.mark.parametrize(
    ("outcomes", "references", "total", "problem"),
    [
        ({"a": "completed"}, ["a-withdrawal"], TOTAL, "a-deposit is missing"),
        ({"a": "refused"}, ["a-withdrawal"], TOTAL, "a-withdrawal moved money"),
        ({"a": "refunded"}, ["a-withdrawal", "a-refund", "a-deposit"], TOTAL, "a-deposit moved money"),
        ({}, [], TOTAL - 1, "the accounts hold 9,999.99 instead of 10,000.00"),
        ({"a": "failed with KeyError: x"}, [], TOTAL, "a ended as failed with KeyError"),
    ],
)
def test_the_audit_names_what_is_wrong(outcomes: dict[str, str], references: list[str], total: int, problem: str) -> None:
    assert problem in " ".join(disagreements(outcomes, references, total))


def test_the_demo_has_its_share_of_transfers_that_cannot_succeed() -> None:
    made = payments(200, seed=1)
    assert sum(one.target_account == "account-nowhere" for one in made) == 20
    assert sum(one.amount_cents > OPENING_CENTS for one in made) == 10
    assert len({one.reference_id for one in made}) == 200


def test_the_bank_refuses_a_balance_below_zero_by_itself(tmp_path: Path) -> None:
    Ledger(tmp_path / "bank.db")
    with pytest.raises(sqlite3.IntegrityError):
        sqlite3.connect(tmp_path / "bank.db").execute("UPDATE account SET cents = -1")
