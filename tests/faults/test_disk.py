"""A disk under the embedded log that is full, fails, or loses its power (rows Q2 Q5)."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kit.namespace import COMMAND, Namespace, Namespaces, Process
from kit.operations import count_kinds
from kit.row import Row
from kit.traced import command, injected, traced_pid, unsynced

pytestmark = [pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

CUTS = 8


@pytest.fixture
def file_bank(namespaces: Namespaces) -> Namespace:
    """The bank in a file."""
    return namespaces(log="sqlite")


class Traced:
    """Processes of the bank under strace, which watches the write-ahead log."""

    def __init__(self, bank: Namespace) -> None:
        self.bank = bank
        self.wal = bank.directory / "perdure.db-wal"
        self.logs: list[Path] = []
        self.processes: list[Process] = []

    def run(self, role: str, *words: str, inject: str = "") -> Process:
        """An owner, a worker or a load."""
        if role == "load":
            call = [sys.executable, "-m", "kit.load", "bank", self.bank.url, str(self.bank.operations), *words]
        else:
            call = [*COMMAND, role, "kit.workloads.bank:registry", "--log", self.bank.url, *words]
        self.logs.append(self.bank.directory / f"strace-{len(self.logs)}.txt")
        self.processes.append(self.bank.run(command(self.logs[-1], self.wal, call, inject), role))
        return self.processes[-1]

    def signal(self, number: signal.Signals) -> None:
        """To each process that is traced."""
        for process in self.processes:
            if process.poll() is None:
                os.kill(traced_pid(process.pid), number)

    def stands_still(self) -> bool:
        """Whether all of them are stopped."""
        running = [traced_pid(process.pid) for process in self.processes if process.poll() is None]
        return all(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "tT" for pid in running)


FAILURES = [
    "fdatasync:signal=KILL:when=30",
    "pwrite64:signal=KILL:when=90",
    "fdatasync:error=EIO:when=30..33",
    "pwrite64:error=EIO:when=90..93",
    "pwrite64:error=ENOSPC:when=90..130",
]


@pytest.mark.parametrize("inject", FAILURES)
def test_a_commit_that_fails_or_is_cut_off_is_there_or_not_and_nobody_guesses(file_bank: Namespace, row: Row, inject: str) -> None:
    row.injects("Q2", f"strace: {inject} in the owner, on the write-ahead log")
    transfers, traced = 150, Traced(file_bank)
    file_bank.worker()
    load = file_bank.load(transfers, 10)
    deaths = 0
    for _ in range(3):
        owner = traced.run("owner", "--store", str(file_bank.directory / "store"), inject=inject)
        file_bank.until(lambda: injected(traced.logs[-1]) > 0 or load.poll() is not None, "the failure", 90)
        row.injected(injected(traced.logs[-1]))
        before = file_bank.done()
        if "KILL" in inject:
            owner.wait(60)
            deaths += 1
            continue
        file_bank.until(lambda before=before: file_bank.done() >= min(before + 10, transfers), "transfers behind the failure", 90)  # type: ignore[misc]
        row.during += file_bank.done() - before
        break
    if deaths:
        owner = file_bank.owner()
    file_bank.finish(load, transfers)
    assert owner.poll() is None, file_bank.said(owner)


def test_what_was_acknowledged_is_there_after_a_power_cut_at_any_moment(file_bank: Namespace, row: Row) -> None:
    row.injects("Q5", "owner, worker and driver stopped, the file and its -wal copied without what nobody has synced, and opened again")
    transfers, traced = 250, Traced(file_bank)
    traced.run("owner", "--store", str(file_bank.directory / "store"))
    file_bank.until(lambda: traced.wal.exists(), "the file")
    traced.run("worker")
    load = traced.run("load", "0", str(transfers), "10", "0")
    lost_bytes = 0
    for cut in range(CUTS):
        file_bank.until_done((cut + 1) * transfers // (CUTS + 2))
        traced.signal(signal.SIGSTOP)
        file_bank.until(traced.stands_still, "the standstill")
        copy = file_bank.directory / f"cut-{cut}"
        copy.mkdir()
        for name in ("perdure.db", "perdure.db-wal", "operations.jsonl"):
            shutil.copy(file_bank.directory / name, copy / name)
        lost = unsynced(traced.logs)
        with (copy / "perdure.db-wal").open("r+b") as wal:
            for write in lost:
                wal.seek(write.offset)
                wal.write(bytes(write.size))
        lost_bytes += sum(write.size for write in lost)
        traced.signal(signal.SIGCONT)
        row.injected()
        row.during = count_kinds(copy / "operations.jsonl")["ok"]
        checked = check(file_bank, copy)
        assert checked.returncode == 0, f"cut {cut}, {len(lost)} writes lost\n{checked.stdout}{checked.stderr}"
    row.figures["unsynced_bytes_lost"] = lost_bytes
    worse = file_bank.directory / f"cut-{CUTS - 1}"
    for name in ("perdure.db", "perdure.db-wal"):  # the check can tell: of a disk that lies about syncs it does
        shutil.copy(file_bank.directory / "cut-1" / name, worse / name)
        (worse / "perdure.db-shm").unlink(missing_ok=True)
    assert "I1  BROKEN" in check(file_bank, worse).stdout, "acknowledged operations could be missing unnoticed"
    file_bank.finish(load, transfers)


def check(bank: Namespace, copy: Path) -> subprocess.CompletedProcess[str]:
    """Whether the copy is a whole database, and what `perdure-check` says of it, beside what the driver had been told by then."""
    with closing(sqlite3.connect(copy / "perdure.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    url = f"sqlite:///{copy / 'perdure.db'}?namespace={bank.name}"
    words = [sys.executable, "-m", "perdure_check.cli", "--log", url, f"--operations={copy / 'operations.jsonl'}"]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
