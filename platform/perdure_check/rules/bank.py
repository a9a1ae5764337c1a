"""I18: money is conserved. Balances from the events of live records alone, for a bank made of workflows that are not idempotent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from perdure_check.facts import Fact
from perdure_check.fold import STARTED
from perdure_check.payloads import first_value
from perdure_check.rules.base import Rule, Watcher


class BankBalances(Rule):
    """Each completed transfer moved nothing in sum, and each run of an account begins with what its movements so far come to."""

    invariant = "I18"
    title = "money conserved"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._bank = self.context.options.bank
        self._balances: dict[str, int] = {}
        self._opened = self._deposited = self._movements = 0
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
        if fact.body["workflow_type"] != self._bank.account_type:
            return
        workflow_id, begins_with = fact.run.workflow_id, _balance(first_value(fact.body["input"]))
        known = self._balances.get(workflow_id)
        if known is None or not fact.body["continued_run_id"]:
            self._opened += begins_with - (known or 0)
            self._balances[workflow_id] = begins_with
        elif known != begins_with:
            self.breaks(f"it begins with a balance of {begins_with}, and its movements so far come to {known}", fact.entry, fact.run)

    def _signaled(self, fact: Fact) -> None:
        assert self._bank is not None
        if fact.run.started.get("workflow_type") != self._bank.account_type:
            return
        name = fact.body["name"]
        if name not in self._bank.moves and name not in self._bank.deposits:
            return
        amount = first_value(fact.body["input"])
        if not isinstance(amount, int):
            return
        self._balances[fact.run.workflow_id] += amount
        source = fact.body["source"]
        if name in self._bank.deposits or source is None:
            self._deposited += amount
            return
        self._movements += 1
        self._moved[source["run_id"]] += amount
        self._movers[source["run_id"]].append((fact.run.workflow_id, amount))

    def _trimmed(self) -> None:
        """Transfers from before the log's start cannot be summed one by one; the whole can, if somebody knows what it should be."""
        why = "transfers from before the log's start cannot be summed one by one (give the copies: --copy)"
        self.detail += f"; {why}"
        if self._bank is None or self._bank.total is None or not self.context.options.quiescent:
            self.not_checked = self.detail

    def _closed(self, fact: Fact) -> None:
        self._completed.add(fact.run.run_id)

    def finish(self) -> None:
        """See Rule."""
        if self._bank is None:
            self.not_checked = "no bank was named (--bank TYPE:SIGNAL)"
            return
        total = sum(self._balances.values())
        self.detail = f"{len(self._balances)} accounts hold {total} after {self._movements} movements"
        if self.context.options.quiescent and self._bank.total is not None and total != self._bank.total:
            self.breaks(f"all is quiet, the accounts hold {total}, and it should be {self._bank.total}")
        if self.context.is_trimmed or self.context.stopped:
            self._trimmed()
            return
        under_way = sum(amount for run_id, amount in self._moved.items() if run_id not in self._completed)
        if total != self._opened + self._deposited + under_way:
            sentence = f"the accounts hold {total}; {self._opened} were there, {self._deposited} deposited, {under_way} are under way"
            self.breaks(sentence)
        for run_id, amount in self._moved.items():
            if amount and run_id in self._completed:
                legs = ", ".join(f"{moved} on {workflow_id!r}" for workflow_id, moved in self._movers[run_id])
                self.breaks(f"the completed transfer of run {run_id} made {amount} out of nothing: {legs}")


def _balance(value: Any) -> int:
    """What an account's first argument says: a number, or an object that has a balance."""
    found = value.get("balance", 0) if isinstance(value, dict) else value
    return found if isinstance(found, int) else 0
