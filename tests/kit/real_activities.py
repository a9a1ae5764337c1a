"""Activities of the simulated namespace, as a real worker runs them, and the ledger of every execution, without any dedupe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kit.sim_workflows import REFUSED_AMOUNT
from perdure import activity
from perdure.exceptions import ApplicationError

Attempt = tuple[str, str, int]
"""Run id, activity id, attempt."""


class Execution(NamedTuple):
    """A function that was called."""

    attempt: Attempt
    activity_type: str
    worker: str
    at_ms: int
    at_most_once: bool


@dataclass
class Ledger:
    """What functions were called, and what may explain that one was called again: faults, and workers that came and went."""

    now_ms: Callable[[], int]
    executions: list[Execution] = field(default_factory=list)
    disturbances: list[tuple[int, str]] = field(default_factory=list)
    dispatched_ms: dict[Attempt, int] = field(default_factory=dict)
    details: dict[Attempt, list[Any]] = field(default_factory=dict)
    """Heartbeat details that an attempt's task carries."""

    def disturb(self, what: str) -> None:
        """Something happened after which tasks may come again."""
        self.disturbances.append((self.now_ms(), what))

    def check(self) -> None:
        """P3: what was called beyond its first time is explained by a disturbance since its task left, and nothing is at most once."""
        first_of: dict[Attempt, Execution] = {}
        only_of: dict[tuple[str, str], Execution] = {}
        for execution in self.executions:
            if execution.at_most_once:
                only = only_of.setdefault(execution.attempt[:2], execution)
                assert only is execution, f"P3: at most once, and called twice: {only} and {execution}"
            first = first_of.setdefault(execution.attempt, execution)
            if first is not execution:
                since = self.dispatched_ms[execution.attempt]
                reasons = [what for at_ms, what in self.disturbances if since <= at_ms <= execution.at_ms]
                assert reasons, f"P3: {execution} after {first}, and nothing has happened since {since}"

    def repeated(self) -> int:
        """How many executions were not the first of their attempt."""
        return len(self.executions) - len({execution.attempt for execution in self.executions})


class Activities:
    """The activities of one process. What it does once it is dead counts for nothing."""

    def __init__(self, ledger: Ledger, worker: str, is_dead: Callable[[], bool]) -> None:
        self._ledger = ledger
        self._worker = worker
        self._is_dead = is_dead

    def all(self) -> Sequence[Callable[..., Any]]:
        """For a worker."""
        return (self.withdraw, self.deposit, self.refund, self.inspect, self.charge, self.count_up, self.endless)

    @activity.defn
    async def withdraw(self, amount: int) -> int:
        """Done before it is announced; odd amounts fail at first."""
        attempt = self._execute()
        if amount % 2 and attempt == 1:
            raise ApplicationError("busy", type="Busy")
        return attempt

    @activity.defn
    async def deposit(self, amount: int) -> int:
        """Announced before it is done; unlucky amounts fail for good."""
        attempt = self._execute()
        await asyncio.sleep(0.1)
        if amount == REFUSED_AMOUNT:
            raise ApplicationError("no", type="No", non_retryable=True)
        return attempt

    @activity.defn
    def refund(self, amount: int) -> int:
        """Runs in a thread."""
        return self._execute()

    @activity.defn
    async def inspect(self, number: int) -> int:
        """About as long as the wait before an announcement."""
        attempt = self._execute()
        await asyncio.sleep(0.05)
        return attempt

    @activity.defn
    async def charge(self, amount: int) -> int:
        """Must not be done twice."""
        attempt = self._execute()
        await asyncio.sleep(0.1)
        return attempt

    @activity.defn
    async def count_up(self, end: int) -> int:
        """Goes on from where its last heartbeat says that it was."""
        attempt = self._execute()
        details = activity.info().heartbeat_details
        for number in range(details[0] if details else 0, end):
            await asyncio.sleep(0.3)
            activity.heartbeat(number + 1)
        return attempt

    @activity.defn
    async def endless(self) -> int:
        """Until it is cancelled."""
        attempt = self._execute()
        while True:
            await asyncio.sleep(0.2)
            activity.heartbeat(attempt)

    def _execute(self) -> int:
        info = activity.info()
        if not self._is_dead():
            attempt = (info.workflow_run_id, info.activity_id, info.attempt)
            assert list(info.heartbeat_details) == self._ledger.details[attempt], f"{attempt} was given {info.heartbeat_details}"
            at_most_once = info.retry_policy is not None and info.retry_policy.maximum_attempts == 1
            self._ledger.executions.append(Execution(attempt, info.activity_type, self._worker, self._ledger.now_ms(), at_most_once))
        return info.attempt
