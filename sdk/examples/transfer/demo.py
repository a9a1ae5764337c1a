"""`make demo`: 200 transfers while owner and worker are killed half-way and the owner's store is deleted.

This process is the client. The bank, the owner and the worker are processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perdure.client import Client, WorkflowFailureError
from perdure.exceptions import ActivityError, ApplicationError, PerdureError
from transfer import bank
from transfer.audit import MOVEMENTS, disagreements
from transfer.processes import EXAMPLES, Process, ProcessDied, first_line, perdure
from transfer.shared import TASK_QUEUE, PaymentDetails
from transfer.workflows import MoneyTransfer

REGISTRY = "transfer.app:registry"
DEADLINE_SECONDS = 180
OUTCOME_OF_ERROR = {"InvalidAccountError": "refunded", "InsufficientFundsError": "refused"}
EXPLAINED = {
    "completed": "the money arrived",
    "refunded": "no such account; the money was given back",
    "refused": "insufficient funds; no money moved",
}


def payments(count: int, seed: int) -> list[PaymentDetails]:
    """The transfers: one in ten goes to an account that does not exist, one in twenty asks for more than any account holds."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        source, target = chance.sample(range(bank.ACCOUNTS), 2)
        target_account = "account-nowhere" if number % 10 == 3 else bank.account_name(target)
        cents = 500_000 if number % 20 == 7 else chance.randrange(500, 5_000)
        made.append(PaymentDetails(bank.account_name(source), target_account, cents, f"transfer-{number:03}"))
    return made


@dataclass
class Stage:
    """The processes and where their files are."""

    directory: Path
    log_url: str
    bank_address: str = ""
    broker: Process | None = None
    bank: Process | None = None
    owner: Process | None = None
    worker: Process | None = None

    @property
    def store(self) -> Path:
        """The owner's RocksDB directory."""
        return self.directory / "store"

    def start_broker(self) -> None:
        """Start a Kafka broker, the one that the tests use, and make it the log."""
        tests = EXAMPLES.parent.parent / "tests"
        self.broker = Process("broker", [sys.executable, "-m", "kit.broker"], self.directory, {"PYTHONPATH": str(tests)})
        self.log_url = f"kafka://{self.broker.wait_for(first_line, seconds=900)}"

    def start_bank(self) -> None:
        """Start the bank on a free port."""
        command = [sys.executable, "-m", "transfer.bank", "--listen", "127.0.0.1:0", "--file", str(self.directory / "bank.db")]
        self.bank = Process("bank", command, self.directory)
        self.bank_address = self.bank.wait_for(first_line, seconds=15).rpartition(" ")[2]

    def start_owner_and_worker(self) -> None:
        """Start both; they find the log, and through it each other."""
        owner = perdure("owner", REGISTRY, "--log", self.log_url, "--store", str(self.store))
        worker = perdure("worker", REGISTRY, "--log", self.log_url)
        self.owner = Process("owner", owner, self.directory)
        self.worker = Process("worker", worker, self.directory, {"TRANSFER_BANK": self.bank_address})

    def kill_owner_and_worker(self) -> tuple[int, int]:
        """kill -9 both and delete the store; returns the process ids."""
        assert self.owner is not None
        assert self.worker is not None
        self.owner.kill()
        self.worker.kill()
        shutil.rmtree(self.store, ignore_errors=True)
        return self.owner.pid, self.worker.pid

    def check(self) -> None:
        """Raise ProcessDied if one of them is gone that should be there."""
        for process in (self.bank, self.owner, self.worker):
            if process:
                process.check()

    def stop(self) -> None:
        """End them all."""
        for process in (self.worker, self.owner, self.bank, self.broker):
            if process:
                process.stop()


@dataclass
class Progress:
    """What has become of the transfers so far, shown as one line that is kept up to date."""

    expected: int
    began: float = field(default_factory=time.monotonic)
    started: int = 0
    outcomes: dict[str, str] = field(default_factory=dict)
    _shown: float = 0.0

    def closed(self) -> int:
        """How many transfers have ended."""
        return len(self.outcomes)

    def show(self, *, last: bool = False) -> None:
        """Bring the line up to date; where the output is not a terminal, print one every two seconds."""
        terminal = sys.stdout.isatty()
        if not last and time.monotonic() - self._shown < (0.1 if terminal else 2.0):
            return
        self._shown = time.monotonic()
        counts = Counter(self.outcomes.values())
        bar = "█" * (20 * self.closed() // self.expected)
        text = f"  {time.monotonic() - self.began:5.1f} s  {bar:·<20}  {self.closed():3} of {self.expected} closed"
        text += "".join(f"  {counts[outcome]:3} {outcome}" for outcome in MOVEMENTS)
        print(f"\r\033[K{text}" if terminal else text, end="\n" if last or not terminal else "", flush=True)


async def transfer(client: Client, details: PaymentDetails, progress: Progress) -> None:
    """Start one transfer, wait for its end and note how it ended."""
    handle = await client.start_workflow(MoneyTransfer.run, details, id=details.reference_id, task_queue=TASK_QUEUE)
    progress.started += 1
    try:
        await handle.result()
        outcome = "completed"
    except WorkflowFailureError as failure:
        error = failure.cause.cause if isinstance(failure.cause, ActivityError) else failure.cause
        kind = error.type if isinstance(error, ApplicationError) else type(error).__name__
        outcome = OUTCOME_OF_ERROR.get(kind or "", f"failed with {kind}: {error}")
    progress.outcomes[details.reference_id] = outcome


async def run_transfers(stage: Stage, count: int, seed: int, progress: Progress) -> list[str]:
    """Run them all, kill owner and worker half-way; returns the ids of those that were under way at that moment."""
    todo = payments(count, seed)
    burst = range(count // 2, count // 2 + min(30, count // 4))  # started at once, so that many are half done when the blow falls
    open_when_killed: list[str] = []
    async with asyncio.timeout(DEADLINE_SECONDS), await Client.connect(stage.log_url) as client:
        tasks: list[asyncio.Task[None]] = []
        try:
            for number, details in enumerate(todo):
                tasks.append(asyncio.create_task(transfer(client, details, progress)))
                if number not in burst:
                    await asyncio.sleep(0.03)
                    progress.show()
                elif number == burst[-1]:
                    await _until(lambda: progress.started > burst[-1], stage, progress)
                    open_when_killed = await _kill_half_way(stage, todo[: number + 1], progress)
            await _until(lambda: all(task.done() for task in tasks), stage, progress)
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    progress.show(last=True)
    return open_when_killed


async def _until(condition: Callable[[], bool], stage: Stage, progress: Progress) -> None:
    while not condition():
        stage.check()
        progress.show()
        await asyncio.sleep(0.01)


async def _kill_half_way(stage: Stage, begun: list[PaymentDetails], progress: Progress) -> list[str]:
    progress.show(last=True)
    owner, worker = stage.kill_owner_and_worker()
    print(f"\n  kill -9 {owner} (owner)   kill -9 {worker} (worker)   rm -r {stage.store.name} (RocksDB)")
    still_open = [details.reference_id for details in begun if details.reference_id not in progress.outcomes]
    print(f"  {len(still_open)} transfers are under way, and nobody is left who knows of them but the log")
    await asyncio.sleep(1.0)
    stage.start_owner_and_worker()
    print("  owner and worker started again; they rebuild everything from the log\n", flush=True)
    return still_open


def report(outcomes: dict[str, str], statement: dict[str, Any]) -> bool:
    """Print how it ended; False if anything is wrong."""
    counts = Counter(outcomes.values())
    print(f"\n{len(outcomes)} transfers, every one closed:")
    for outcome, explanation in EXPLAINED.items():
        print(f"  {counts[outcome]:4} {outcome:10} {explanation}")
    references, total = statement["references"], statement["total_cents"]
    print("The bank on the way: " + ", ".join(f"{count} {kind}" for kind, count in statement["trouble"].items()))
    problems = disagreements(outcomes, references, total)
    for problem in problems[:20]:
        print(f"  WRONG: {problem}")
    if not problems:
        print(f"The bank at the end: {bank.ACCOUNTS} accounts hold {total / 100:,.2f}, as at the start;")
        print(f"  its {len(references)} movements are exactly those that the transfers account for, each once.")
    return not problems


def show_history(stage: Stage, workflow_id: str) -> bool:
    """Print one transfer's history with the command that anyone would use; False if that failed."""
    print(f"\nOne that was under way when everything was killed:\n$ perdure workflow show {workflow_id}", flush=True)
    command = perdure("workflow", "show", workflow_id, "--log", stage.log_url)
    return subprocess.run(command, check=False).returncode == 0  # noqa: S603 (our own command line)


def main() -> int:
    """Run the demo; the exit code is 0 only if every transfer closed and every cent is where it belongs."""
    parser = argparse.ArgumentParser(description="200 money transfers survive kill -9.")
    parser.add_argument("--log", default="sqlite", help="sqlite, kafka (a broker is started), or the URL of a log")
    parser.add_argument("--transfers", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or 1))
    parser.add_argument("--directory", type=Path, default=Path(".cache/demo"), help="where its files go; emptied first")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    directory = arguments.directory.resolve()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    try:
        return _run(arguments, directory)
    except KeyboardInterrupt:
        return 130
    except (ProcessDied, TimeoutError, PerdureError) as error:
        print(f"\nThe demo failed: {error or f'not every transfer closed within {DEADLINE_SECONDS} s'}", file=sys.stderr)
        print(f"What the processes printed is in {directory}", file=sys.stderr)
        return 1


def _leave(*_: object) -> None:
    """Leave by an exception, so that the other processes are ended first."""
    sys.exit(143)


def _run(arguments: argparse.Namespace, directory: Path) -> int:
    stage = Stage(directory, f"sqlite:///{directory / 'log.db'}")
    try:
        if arguments.log == "kafka":
            print("starting a Kafka broker (its jars are fetched once) …", flush=True)
            stage.start_broker()
        elif arguments.log != "sqlite":
            stage.log_url = arguments.log
        print(f"{arguments.transfers} transfers among {bank.ACCOUNTS} accounts; processes: bank, owner, worker, and this one, the client")
        print(f"  log    {stage.log_url}\n  files  {directory}\n", flush=True)
        subprocess.run(perdure("namespace", "create", "--log", stage.log_url), check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        stage.start_bank()
        stage.start_owner_and_worker()
        progress = Progress(arguments.transfers)
        open_when_killed = asyncio.run(run_transfers(stage, arguments.transfers, arguments.seed, progress))
        statement = asyncio.run(bank.call(stage.bank_address, operation="statement"))
        right = report(progress.outcomes, statement)
        shown = [one for one in open_when_killed if progress.outcomes[one] == "refunded"] or open_when_killed
        right &= bool(shown) and show_history(stage, shown[0])
        print(f"\n{'Everything is accounted for' if right else 'Something is WRONG'}, after {time.monotonic() - progress.began:.0f} s.")
        return 0 if right else 1
    except subprocess.CalledProcessError as error:
        raise ProcessDied(f"{' '.join(error.cmd[1:])} ended with code {error.returncode}") from error
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # a second one must not cut this short
        stage.stop()


if __name__ == "__main__":
    sys.exit(main())
