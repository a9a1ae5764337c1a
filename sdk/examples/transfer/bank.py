"""A small bank: a process of its own with accounts in its own SQLite file, reached over a loopback socket.

It knows nothing of workflows. Every request carries a reference; a reference that was served before gets the first answer
again and moves no money, as with a real payment service. It is sometimes slow, sometimes down, and sometimes it does
what it was asked and loses the connection before it answers.

One request is one line of JSON, and so is its answer:
    {"operation": "withdraw", "account": "account-3", "cents": 1200, "reference": "transfer-001-withdrawal"}
    {"ok": true, "confirmation": "withdraw-17"}   or   {"ok": false, "error": "InsufficientFundsError", "message": "…"}
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ACCOUNTS = 10
OPENING_CENTS = 100_000
DEFAULT_ADDRESS = "127.0.0.1:8765"
OUTAGE_SECONDS = 0.7

_SCHEMA = """
CREATE TABLE IF NOT EXISTS account (name TEXT PRIMARY KEY, cents INTEGER NOT NULL CHECK (cents >= 0)) STRICT;
CREATE TABLE IF NOT EXISTS movement (
    reference TEXT PRIMARY KEY, operation TEXT NOT NULL, account TEXT NOT NULL, cents INTEGER NOT NULL
) STRICT;
"""


def account_name(number: int) -> str:
    """The name of one of the bank's accounts, numbered from 0."""
    return f"account-{number}"


class Ledger:
    """The accounts and every movement of money, in SQLite."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.executescript(_SCHEMA)
        opening = [(account_name(number), OPENING_CENTS) for number in range(ACCOUNTS)]
        self._database.executemany("INSERT OR IGNORE INTO account VALUES (?, ?)", opening)

    def move(self, operation: str, account: str, cents: int, reference: str) -> dict[str, Any]:
        """Withdraw or deposit once per reference; the answer is a confirmation or the reason why not."""
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        try:
            answer = self._moved_before(reference) or self._move(operation, account, cents, reference)
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")
        return answer

    def _moved_before(self, reference: str) -> dict[str, Any] | None:
        row = self._database.execute("SELECT rowid, operation FROM movement WHERE reference = ?", (reference,)).fetchone()
        return {"ok": True, "confirmation": f"{row[1]}-{row[0]}"} if row else None

    def _move(self, operation: str, account: str, cents: int, reference: str) -> dict[str, Any]:
        row = self._database.execute("SELECT cents FROM account WHERE name = ?", (account,)).fetchone()
        if row is None:
            return {"ok": False, "error": "InvalidAccountError", "message": f"there is no account {account!r}"}
        if operation == "withdraw" and row[0] < cents:
            message = f"{account} holds {row[0] / 100:,.2f}, which is less than {cents / 100:,.2f}"
            return {"ok": False, "error": "InsufficientFundsError", "message": message}
        change = -cents if operation == "withdraw" else cents
        self._database.execute("UPDATE account SET cents = cents + ? WHERE name = ?", (change, account))
        cursor = self._database.execute("INSERT INTO movement VALUES (?, ?, ?, ?)", (reference, operation, account, cents))
        return {"ok": True, "confirmation": f"{operation}-{cursor.lastrowid}"}

    def statement(self) -> dict[str, Any]:
        """The total of all accounts, and every reference that moved money."""
        total = self._database.execute("SELECT sum(cents) FROM account").fetchone()[0]
        references = [row[0] for row in self._database.execute("SELECT reference FROM movement ORDER BY rowid")]
        return {"ok": True, "total_cents": total, "references": references}


@dataclass
class Mood:
    """How well the bank serves; seeded, so that two runs meet the same kinds of trouble."""

    random: random.Random
    next_outage: float = 2.0
    trouble: dict[str, int] = field(default_factory=lambda: {"slow": 0, "refused while down": 0, "answers lost": 0})

    def is_down(self, open_seconds: float) -> bool:
        """Whether the bank, open for so long, serves nobody: for 0.7 s every four to eight seconds, whether it is asked or not."""
        while open_seconds >= self.next_outage + OUTAGE_SECONDS:
            self.next_outage += self.random.uniform(4.0, 8.0)
        down = open_seconds >= self.next_outage
        self.trouble["refused while down"] += down
        return down

    def delay_seconds(self) -> float:
        """How long this request takes; one in twenty is slow."""
        if self.random.random() < 0.05:
            self.trouble["slow"] += 1
            return self.random.uniform(0.2, 0.8)
        return self.random.uniform(0.001, 0.02)

    def loses_answer(self) -> bool:
        """Whether the connection breaks after the work is done."""
        lost = self.random.random() < 0.03
        self.trouble["answers lost"] += lost
        return lost


class Bank:
    """Serves the ledger over loopback."""

    def __init__(self, ledger: Ledger, mood: Mood) -> None:
        self._ledger = ledger
        self._mood = mood
        self._opened = time.monotonic()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it closes."""
        try:
            while line := await reader.readline():
                answer = await self._answer(json.loads(line))
                if answer is None:
                    return
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            pass  # the caller went away, perhaps by kill -9; it will ask again
        finally:
            writer.close()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The answer, or None for hanging up."""
        if request["operation"] == "statement":
            return {**self._ledger.statement(), "trouble": self._mood.trouble}
        if self._mood.is_down(time.monotonic() - self._opened):
            return {"ok": False, "error": "BankUnavailableError", "message": "the bank is down for a moment"}
        await asyncio.sleep(self._mood.delay_seconds())
        answer = self._ledger.move(request["operation"], request["account"], int(request["cents"]), request["reference"])
        return None if self._mood.loses_answer() else answer


async def call(address: str, **request: object) -> dict[str, Any]:
    """Send one request to the bank at `host:port` and return its answer; raises ConnectionError if there is none."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        line = await reader.readline()
    finally:
        writer.close()
    if not line:
        raise ConnectionError("the bank closed the connection before it answered")
    answer: dict[str, Any] = json.loads(line)
    return answer


async def main(arguments: argparse.Namespace) -> None:
    """Serve until the process is ended."""
    host, _, port = arguments.listen.rpartition(":")
    bank = Bank(Ledger(arguments.file), Mood(random.Random(arguments.seed)))
    server = await asyncio.start_server(bank.serve, host, int(port), backlog=1000)
    bound = server.sockets[0].getsockname()
    print(f"bank: {arguments.file} on {bound[0]}:{bound[1]}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A small bank that is sometimes slow or down.")
    parser.add_argument("--file", type=Path, default=Path("bank.db"), help="its SQLite file")
    parser.add_argument("--listen", default=DEFAULT_ADDRESS, help="host:port; port 0 picks a free one")
    parser.add_argument("--seed", type=int, default=1, help="of its bad moments")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
