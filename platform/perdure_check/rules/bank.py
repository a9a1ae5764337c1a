"""I18: money is conserved. Balances from the events of live records alone, for a bank made of workflows that are not idempotent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perdure_check.facts import Fact, Run
from perdure_check.fold import STARTED
from perdure_check.payloads import first_value
from perdure_check.rules.base import Rule, Watcher


@dataclass(slots=True)
class _AccountRun:
    """One run of an account: what it begins with, and what was moved in it."""

    run: Run
    begins_with: int
    after: str
    moved: int = 0

    @property
    def balance(self) -> int:
        return self.begins_with + self.moved


class BankBalances(Rule):
    """Each completed transfer moved nothing in sum, and each run of an account begins with what the one before it ended with.

    Runs are told in any order where a log was trimmed, so they are put together at the end.
    """

    invariant = "I18"
    title = "money conserved"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._bank = self.context.options.bank
        self._runs: dict[str, _AccountRun] = {}
        self._deposited = self._movements = 0
        self._moved: Counter[str] = Counter()
        self._movers: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self._completed: set[str] = set()

    def watches(self) -> Mapping[str, Watcher]:
        """See Rule."""
        if self._bank is None:
            return {}
        return {
            STARTED: self._started,
            "WorkflowExecutionSignaled": self._signaled,
            "WorkflowExecutionCompleted": self._closed,
        }

    def _started(self, fact: Fact) -> None:
        assert self._bank is not None
        if fact.body["workflow_type"] == self._bank.account_type:
            begins_with = _balance(first_value(fact.body["input"]))
            self._runs[fact.run.run_id] = _AccountRun(fact.run, begins_with, fact.body["continued_run_id"])

    def _signaled(self, fact: Fact) -> None:
        assert self._bank is not None
        account, name = self._runs.get(fact.run.run_id), fact.body["name"]
        amount = first_value(fact.body["input"])
        if account is None or name not in self._bank.moves | self._bank.deposits or not isinstance(amount, int):
            return
        account.moved += amount
        source = fact.body["source"]
        if name in self._bank.deposits or source is None:
            self._deposited += amount
            return
        self._movements += 1
        self._moved[source["run_id"]] += amount
        self._movers[source["run_id"]].append((fact.run.workflow_id, amount))

    def _closed(self, fact: Fact) -> None:
        if fact.entry.offset < self.context.first_ends[fact.run.partition]:  # else its movements may lie behind what was read
            self._completed.add(fact.run.run_id)

    def finish(self) -> None:
        """See Rule."""
        if self._bank is None:
            self.not_checked = "no bank was named (--bank TYPE:SIGNAL)"
            return
        last: dict[str, _AccountRun] = {}
        opened = ended = 0
        for account in sorted(self._runs.values(), key=lambda one: one.run.began_at):
            known = last.get(account.run.workflow_id)
            before = self._runs.get(account.after)
            if before is not None and before.balance != account.begins_with:
                sentence = f"it begins with a balance of {account.begins_with}, and the run before it ended with {before.balance}"
                self.breaks(sentence, None, account.run, account.run.began_at)
            if before is None:
                opened += account.begins_with
                ended += known.balance if known is not None else 0
            last[account.run.workflow_id] = account
        total = sum(account.balance for account in last.values())
        self.detail = f"{len(last)} accounts hold {total} after {self._movements} movements"
        if self.context.options.quiescent and self._bank.total is not None and total != self._bank.total:
            self.breaks(f"all is quiet, the accounts hold {total}, and it should be {self._bank.total}")
        if self.context.is_trimmed or self.context.stopped:
            self._trimmed()
        else:
            self._transfers(total, opened - ended)

    def _trimmed(self) -> None:
        """Transfers from before the log's start cannot be summed one by one; the whole can, if somebody knows what it should be."""
        self.detail += "; transfers from before the log's start cannot be summed one by one (give the copies: --copy)"
        if self._bank is None or self._bank.total is None or not self.context.options.quiescent:
            self.not_checked = self.detail

    def _transfers(self, total: int, opened: int) -> None:
        under_way = sum(amount for run_id, amount in self._moved.items() if run_id not in self._completed)
        if total != opened + self._deposited + under_way:
            self.breaks(f"the accounts hold {total}; {opened} were there, {self._deposited} deposited, {under_way} are under way")
        for run_id, amount in self._moved.items():
            if amount and run_id in self._completed:
                legs = ", ".join(f"{moved} on {workflow_id!r}" for workflow_id, moved in self._movers[run_id])
                self.breaks(f"the completed transfer of run {run_id} made {amount} out of nothing: {legs}")


def _balance(value: Any) -> int:
    """What an account's first argument says: a number, or an object that has a balance."""
    found = value.get("balance", 0) if isinstance(value, dict) else value
    return found if isinstance(found, int) else 0
