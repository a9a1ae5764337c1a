"""I12: time does not go back, and what one sender sends arrives in its order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from perdure_check.facts import Entry, Fact
from perdure_check.live import COMMIT
from perdure_check.payloads import first_value
from perdure_check.rules.base import Rule, Watcher

_Last = dict[tuple[str, str], tuple[int, int]]
"""For each sender and receiver: where in the log the newest message is, and its number."""


class TimeAndOrder(Rule):
    """Recorded times rise, whatever the log's clock does; commands are applied in their order, and signals of a run arrive in its."""

    invariant = "I12"
    title = "time and order"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._times: dict[int, int] = defaultdict(int)
        self._applied: dict[int, dict[str, int]] = defaultdict(dict)
        self._last_message: _Last = {}
        operations = self.context.options.operations or ()
        self._numbered = {(one.workflow_id, one.signal, repr(one.input)): one for one in operations if one.sender and one.signal}
        self._last_number: _Last = {}

    def watches(self) -> Mapping[str, Watcher]:
        """See Rule."""
        return {"WorkflowExecutionSignaled": self._signaled}

    def entry(self, entry: Entry) -> None:
        """See Rule."""
        if entry.cause is not None:
            return
        if entry.time_ms < self._times[entry.partition] and entry.kind != "Claim":
            self.breaks(f"its time is {entry.time_ms}, and that of a record before it {self._times[entry.partition]}", entry)
        self._times[entry.partition] = max(self._times[entry.partition], entry.time_ms if entry.kind != "Claim" else 0)
        if entry.kind == COMMIT:
            self._commands(entry)

    def _commands(self, entry: Entry) -> None:
        """Above the watermark, and rising for each workflow id."""
        offsets, body = entry.body["command_offsets"], entry.body
        watermark = self.context.positions[entry.partition].watermark
        if offsets and min(offsets) <= watermark:
            self.breaks(f"it applies the command at {min(offsets)}, and the watermark has been at {watermark}", entry)
        applied = self._applied[entry.partition]
        for one in body["applied"]:
            workflow_id = one["workflow_id"]
            before = applied.get(workflow_id, -1)
            if offsets and before >= min(offsets):
                sentence = f"it applies the command at {min(offsets)} to {workflow_id!r} behind the one at {before}"
                self.breaks(sentence, entry)
            applied[workflow_id] = max(before, one["offset"])
        if (watermark := body["watermark"]) is not None and len(applied) > 1000:
            self._applied[entry.partition] = {name: offset for name, offset in applied.items() if offset > watermark}

    def _signaled(self, fact: Fact) -> None:
        source = fact.body["source"]
        if source is not None:
            pair, event_id = (source["run_id"], fact.run.workflow_id), source["initiated_event_id"]
            other = _in_wrong_order(self._last_message, pair, fact.offset, event_id)
            if other is not None:
                sentence = f"the signals of events {event_id} and {other} of run {source['run_id']} do not arrive in their order"
                self.breaks(sentence, fact.entry, fact.run)
        if self._numbered:
            self._numbered_signal(fact)

    def _numbered_signal(self, fact: Fact) -> None:
        sent = self._numbered.get((fact.run.workflow_id, fact.body["name"], repr(first_value(fact.body["input"]))))
        if sent is None:
            return
        other = _in_wrong_order(self._last_number, (sent.sender, fact.run.workflow_id), fact.offset, sent.number)
        if other is not None:
            sentence = f"signals {sent.number} and {other} of sender {sent.sender!r} do not arrive in their order"
            self.breaks(sentence, fact.entry, fact.run)

    def finish(self) -> None:
        """See Rule."""
        numbered = f", {len(self._numbered)} numbered signals of clients" if self._numbered else "; clients' own numbers were not given"
        set_back_ms = max(self.context.set_back_ms.values(), default=0)
        clock = f"; the log's own clock was set back by up to {set_back_ms} ms" if set_back_ms else ""
        self.detail = f"times, commands, and {len(self._last_message)} pairs of sending run and receiver{numbered}{clock}"


def _in_wrong_order(last: _Last, pair: tuple[str, str], offset: int, number: int) -> int | None:
    """The number of the message with which this one has changed places.

    What a run that was carried had received is told behind what a younger run of its id has received since; its own offset says when.
    """
    at, newest = last.get(pair, (-1, -1))
    if offset < at:
        return newest if number >= newest else None
    last[pair] = offset, max(number, newest)
    return newest if number <= newest else None
