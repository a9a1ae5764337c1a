"""The reads of the bank, for I9: an answer tells of everything that was in the log when the question arrived, and of nothing that was not.

An answer does not say which claim gave it; whoever was superseded before the question was asked shows by an answer that is behind.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import Any

from perdure_check.avro import KIND
from perdure_check.context import Bank
from perdure_check.facts import Arrived, Fact
from perdure_check.payloads import first_value


class BankQueries:
    """By the log's own times: of the movements of an account, of the questions, and of the answers."""

    def __init__(self, bank: Bank) -> None:
        self._query, _, self._field = bank.query.partition(".")
        self._account_type = bank.account_type
        self._counted = bank.counted or bank.moves | bank.deposits
        self._moved_ms: dict[str, array[int]] = defaultdict(lambda: array("q"))
        self._asked: dict[str, tuple[str, int]] = {}
        self.answers = 0
        """How many answers were compared."""

    def signaled(self, fact: Fact) -> None:
        """An account was told something."""
        if fact.run.started.get("workflow_type") == self._account_type and fact.body["name"] in self._counted:
            self._moved_ms[fact.run.workflow_id].append(fact.entry.timestamp_ms)

    def command(self, arrived: Arrived) -> None:
        """Perhaps a question; of its copies the first says what must be known."""
        if arrived.body is None or (request := arrived.body["request"]) is None:
            return
        body = arrived.body["body"]
        if body[KIND] == "QueryWorkflow" and body["query_type"] == self._query and not body["run_id"]:
            self._asked.setdefault(request["request_id"], (arrived.body["workflow_id"], arrived.record.timestamp_ms))

    def reply(self, arrived: Arrived) -> str:
        """What an answer, if it is one, tells that no linearizable read can have told; empty if nothing."""
        if arrived.body is None or arrived.body["body"][KIND] != "QueryAnswered" or arrived.body["request_id"] not in self._asked:
            return ""
        workflow_id, asked_ms = self._asked[arrived.body["request_id"]]
        told = self._count(first_value(arrived.body["body"]["result"]))
        if told is None:
            return ""
        self.answers += 1
        moved_ms = self._moved_ms[workflow_id]
        least, most = bisect_left(moved_ms, asked_ms), bisect_right(moved_ms, arrived.record.timestamp_ms)
        if least <= told <= most:
            return ""
        place = f"the answer at offset {arrived.record.offset} of partition {arrived.record.partition} of the replies"
        return f"{place} tells of {told} movements of {workflow_id!r}; there were {least} when it was asked, and {most} when it was told"

    def _count(self, value: Any) -> int | None:
        found = value.get(self._field) if isinstance(value, dict) and self._field else value
        return found if isinstance(found, int) else None
