"""The embedded log: locked, stopped inside, torn, older, compacted (rows Q1 Q3 Q4), and everything killed."""

import random
import shutil
import signal
import sqlite3
import sys
import time
from contextlib import closing

import pytest

from kit import raw, surgery
from kit.namespace import Namespace, Namespaces, kill
from kit.row import Row

pytestmark = [pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]


@pytest.fixture
def file_bank(namespaces: Namespaces) -> Namespace:
    """The bank in a file."""
    return namespaces(log="sqlite")


CHECKPOINTS = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
while True:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    time.sleep(0.01)
"""


def gone(bank: Namespace, transfers: int = 60, first: int = 0) -> None:
    """Some transfers, and then nobody has the file open."""
    owner, worker = bank.owner(), bank.worker()
    load = bank.load(transfers, 20, first=first)
    bank.until(lambda: load.poll() is not None, "the load's end")
    time.sleep(2)
    for process in (worker, owner):
        process.terminate()
        process.wait(30)


def test_a_file_that_somebody_else_locks_for_a_while_is_waited_for(file_bank: Namespace, row: Row) -> None:
    row.injects("Q1", "BEGIN EXCLUSIVE of another process, three times for 3 to 12 s")
    transfers = 200
    owner, worker, load = file_bank.owner(), file_bank.worker(), file_bank.load(transfers, 10)
    file_bank.until_done(20)
    for seconds in (3, 12, 6):
        with closing(sqlite3.connect(file_bank.directory / "perdure.db", isolation_level=None, timeout=60)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            row.injected()
            time.sleep(seconds)
            connection.execute("ROLLBACK")
        before = file_bank.done()
        file_bank.until_done(min(before + 10, transfers), 30)
    file_bank.finish(load, transfers)
    assert owner.poll() is None
    assert worker.poll() is None


def test_everything_that_uses_a_file_is_killed_in_random_order(file_bank: Namespace, row: Row) -> None:
    row.injects("L3 Q2", "kill -9 of owner, worker or client on one file, twelve times")
    chance, transfers = random.Random(5), 300
    owner, worker, load = file_bank.owner(), file_bank.worker(), file_bank.load(transfers, 10)
    for round_number in range(12):
        file_bank.until_done((round_number + 1) * transfers // 15)
        row.injected()
        match chance.randrange(3):
            case 0:
                kill(owner)
                owner = file_bank.owner()
            case 1:
                kill(worker)
                worker = file_bank.worker()
            case _:
                kill(load)
                load = file_bank.load(transfers, 10)
    file_bank.finish(load, transfers, 240)


@pytest.mark.parametrize("point", ["log.append:60:stop", "log.readback:60:stop", "store.write:60:stop"])
def test_an_owner_stopped_inside_a_turn_is_a_zombie_with_the_file_open(file_bank: Namespace, row: Row, point: str) -> None:
    """If it held the file's lock when it was stopped, others are told who is in the way; else one of them takes over."""
    row.injects("Q1", f"failpoint {point} beyond the session, a successor, SIGCONT")
    transfers = 150
    zombie, load = file_bank.owner("first", points=point), file_bank.load(transfers, 10)
    file_bank.worker()
    file_bank.until(lambda: len(file_bank.struck) > 0, "the stop")
    row.injected()
    successor = file_bank.owner("second")
    file_bank.until(
        lambda: successor.poll() is not None or "leading with claim" in file_bank.said(successor), "a successor, or a reason", 60
    )
    if successor.poll() is not None:
        assert "if one of its processes is stopped or hangs, end it" in file_bank.said(successor)
    else:
        file_bank.until_leading(successor, 4)
        file_bank.until_done(60)
    zombie.send_signal(signal.SIGCONT)
    file_bank.finish(load, transfers)
    if successor.poll() is None:
        file_bank.until_retired(zombie, 30)


def test_a_file_with_a_corrupt_page_is_refused(file_bank: Namespace, row: Row) -> None:
    row.injects("Q3", "a page in the middle of the file overwritten")
    gone(file_bank)
    file = file_bank.directory / "perdure.db"
    size = file.stat().st_size
    for page in range(2, size // 4096, 5):
        surgery.flip(file, page * 4096, 200)
        row.injected()
    owner = file_bank.owner()
    file_bank.until(lambda: owner.poll() is not None or "stopped" in file_bank.said(owner), "a refusal", 60)
    said = file_bank.said(owner)
    assert "leading with claim" not in said, said
    assert "perdure.db" in said, said


def test_a_log_whose_newest_records_were_lost_with_its_wal_is_refused_by_the_stores_that_saw_them(file_bank: Namespace, row: Row) -> None:
    row.injects("Q3", "everything killed, the -wal file deleted")
    gone(file_bank, 20)  # the topics, at least, are in the file itself
    owner, worker, load = file_bank.owner(), file_bank.worker(), file_bank.load(60, 20, first=100)
    file_bank.until(lambda: load.poll() is not None, "the load's end")
    time.sleep(2)
    owner.terminate()  # its stores are on the disk then; the worker keeps the file open, so nothing is checkpointed
    owner.wait(30)
    kill(worker)
    wal = file_bank.directory / "perdure.db-wal"
    assert wal.stat().st_size > 0, "there is nothing to lose"
    wal.unlink()
    row.injected()
    owner = file_bank.owner()
    file_bank.until(lambda: owner.poll() is not None or "stopped" in file_bank.said(owner), "a refusal", 60)
    assert "leading with claim" not in file_bank.said(owner), file_bank.said(owner)


def test_an_old_copy_of_the_file_is_refused_by_the_stores_that_saw_more(file_bank: Namespace, row: Row) -> None:
    row.injects("Q3", "an older copy of the file put back")
    gone(file_bank)
    file, copy = file_bank.directory / "perdure.db", file_bank.directory / "copy.db"
    shutil.copy(file, copy)
    owner, worker = file_bank.owner(), file_bank.worker()
    load = file_bank.load(60, 20, first=100)
    file_bank.until(lambda: load.poll() is not None, "the load's end")
    time.sleep(2)
    for process in (worker, owner):
        process.terminate()
        process.wait(30)
    for old in file_bank.directory.glob("perdure.db*"):
        old.unlink()
    copy.rename(file)
    row.injected()
    owner = file_bank.owner()
    file_bank.until(lambda: owner.poll() is not None or "stopped" in file_bank.said(owner), "a refusal", 60)
    said = file_bank.said(owner)
    assert "ahead of the log" in said, said
    assert "leading with claim" not in said, said


def test_no_offset_comes_back_after_a_file_was_trimmed_to_its_last_records_and_compacted(file_bank: Namespace, row: Row) -> None:
    row.injects("Q4", "every settled record of commands deleted, VACUUM, everybody started anew; twice")
    transfers = 40
    for turn in range(2):
        gone(file_bank, transfers, first=turn * transfers)
        ends = {topic: raw.ends(file_bank, topic) for topic in ("commands", "history", "replies")}
        for partition, end in enumerate(ends["commands"]):
            raw.delete_records(file_bank, "commands", partition, end)
        for topic in ("commands", "history", "replies"):
            assert raw.ends(file_bank, topic) == ends[topic], f"deleting moved the end of {topic}"
        with closing(sqlite3.connect(file_bank.directory / "perdure.db", isolation_level=None)) as connection:
            connection.execute("VACUUM")
        row.injected()
        assert all(not raw.read(file_bank, "commands", partition) for partition in range(4))
        for topic, before in ends.items():
            assert raw.ends(file_bank, topic) == before, f"compacting moved the end of {topic}"
    owner, load = file_bank.owner(), file_bank.load(transfers, 20, first=2 * transfers)
    file_bank.worker()
    file_bank.finish(load, 3 * transfers)
    assert owner.poll() is None
    for partition, kept in enumerate(ends["commands"]):
        assert all(record.offset >= kept for record in raw.read(file_bank, "commands", partition)), "an offset came back"


def test_processes_that_checkpoint_and_compact_a_file_at_once_cost_time_alone(file_bank: Namespace, row: Row) -> None:
    row.injects("Q4", "two processes truncate the write-ahead log without end, a third compacts the file ten times, under load and trims")
    transfers = 300
    owner, worker = file_bank.owner(retention="4s"), file_bank.worker()
    load = file_bank.load(transfers, 10, per_second=15)
    file_bank.until_done(10)
    others = [file_bank.run([sys.executable, "-c", CHECKPOINTS, "perdure.db"], "checkpoints") for _ in range(2)]
    with row.fault(file_bank), closing(sqlite3.connect(file_bank.directory / "perdure.db", isolation_level=None, timeout=60)) as connection:
        for _ in range(10):
            connection.execute("VACUUM")
            row.injected()
            time.sleep(1)
    assert all(other.poll() is None for other in others), file_bank.outputs()
    for other in others:
        kill(other)
    assert row.during > 0
    assert all(file_bank.starts()), "nothing was trimmed meanwhile"
    file_bank.finish(load, transfers, 240)
    assert owner.poll() is None
    assert worker.poll() is None
