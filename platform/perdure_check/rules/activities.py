"""I5: attempts of an activity count from 1, it ends once, and its outcome is that of the attempt that was out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from perdure_check.avro import KIND
from perdure_check.effects import Attempt, number_of
from perdure_check.facts import Activity, Arrived, Fact
from perdure_check.fold import ACTIVITY_ENDS
from perdure_check.rules.base import Rule, Watcher
from perdure_check.verdict import Witness

_REPORT_OF = {"ActivityTaskCompleted": "CompleteActivity", "ActivityTaskFailed": "FailActivity", "ActivityAttemptFailed": "FailActivity"}
"""What a worker must have said, for each outcome that is a worker's word."""


@dataclass(slots=True, eq=False)
class _Outcome:
    """An outcome, and where: one of the commands that its record applies must be the report of that very attempt, with that result."""

    report: str
    attempt: Attempt
    result: int
    partition: int
    offset: int
    reported: bool = False


class Activities(Rule):
    """Per (run, scheduled event). That closed runs accept nothing is looked at with I3."""

    invariant = "I5"
    title = "activities"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._outcomes = 0
        self._reported: list[_Outcome] = []
        self._by_command: dict[tuple[int, int], list[_Outcome]] = defaultdict(list)
        self._granted: dict[Attempt, str] = {}
        """The nonce of the delivery that alone may run an attempt."""

    def watches(self) -> Mapping[str, Watcher]:
        """See Rule."""
        notes = ("ActivityAttemptFailed", "ActivityAttemptDispatched", "ActivityAttemptStarted", "ActivityHeartbeatRecorded")
        return {
            "ActivityTaskStarted": self._started,
            **dict.fromkeys(ACTIVITY_ENDS, self._ended),
            **dict.fromkeys((*notes, "ActivityTaskParked"), self._note),
        }

    def _started(self, fact: Fact) -> None:
        activity = self._activity(fact)
        if activity is None:
            return
        if fact.body["attempt"] != activity.attempt:
            self._of(fact, f"attempt {fact.body['attempt']} is the one that ends it, and attempt {activity.attempt} is out")
        if activity.started_event_id:
            self._of(fact, f"its start is recorded twice, first as event {activity.started_event_id}")

    def _ended(self, fact: Fact) -> None:
        self._outcomes += 1
        activity = self._activity(fact)
        if activity is None:
            return
        started = fact.body["started_event_id"]
        if started != activity.started_event_id:
            self._of(fact, f"{fact.kind} names event {started} as its start, and event {activity.started_event_id} is")
        if fact.kind == "ActivityTaskCompleted" and activity.retry_at_ms and not activity.rests:
            self._of(fact, f"attempt {activity.attempt} completed, and had not been dispatched")
        if fact.kind in ("ActivityTaskCompleted", "ActivityTaskFailed") and not started:
            self._of(fact, f"{fact.kind} without a start")
        self._needs_report(fact, activity.attempt)

    def _needs_report(self, fact: Fact, attempt: int) -> None:
        report = _REPORT_OF.get(fact.kind, "")
        is_owners = report == "FailActivity" and fact.body["failure"][:1] and fact.body["failure"][0]["source"] == "perdure"
        if not report or is_owners or fact.carried:
            return
        name = fact.run.run_id, fact.body["scheduled_event_id"], attempt
        outcome = _Outcome(report, name, number_of(fact.body.get("result")), fact.entry.partition, fact.entry.offset)
        self._reported.append(outcome)
        for offset in fact.entry.body["command_offsets"]:
            self._by_command[fact.entry.partition, offset].append(outcome)

    def command(self, arrived: Arrived) -> None:
        """See Rule."""
        outcomes = self._by_command.pop((arrived.record.partition, arrived.record.offset), None)
        if outcomes is None or arrived.body is None:
            return
        body = arrived.body["body"]
        for outcome in outcomes:
            if body[KIND] == outcome.report and number_of(body.get("result")) == outcome.result:
                told = body["activity"]
                named = told["run_id"], told["scheduled_event_id"], told["attempt"]
                # Who completes an activity from outside may name it by its id, and then means the attempt that is out.
                outcome.reported |= named == outcome.attempt or bool(told["activity_id"] and told["run_id"] in ("", outcome.attempt[0]))

    def _note(self, fact: Fact) -> None:
        scheduled = fact.body["scheduled_event_id"]
        if fact.kind == "ActivityAttemptStarted" and fact.body["granted"]:
            self._granted[fact.run.run_id, scheduled, fact.body["attempt"]] = fact.body["nonce"]
        if scheduled in fact.same_transition:
            return
        activity = self._activity(fact)
        if activity is None:
            return
        attempt = fact.body["attempt"]
        if fact.kind == "ActivityAttemptFailed":
            self._needs_report(fact, attempt)
        if attempt != activity.attempt:
            self._of(fact, f"{fact.kind} of attempt {attempt}, and attempt {activity.attempt} is the current one")
        elif fact.kind == "ActivityAttemptFailed":
            maximum = activity.options["retry_options"]["maximum_attempts"]
            if maximum and attempt >= maximum:
                self._of(fact, f"another attempt is to follow attempt {attempt}, and {maximum} are allowed")
        elif fact.kind == "ActivityTaskParked" and activity.start_ms:
            self._of(fact, f"the task of attempt {attempt} is parked, and a worker has it since {activity.start_ms}")
        elif fact.kind == "ActivityHeartbeatRecorded" and fact.body["counter"] <= activity.heartbeat_counter:
            self._of(fact, f"heartbeat {fact.body['counter']} is recorded behind heartbeat {activity.heartbeat_counter}")

    def _activity(self, fact: Fact) -> Activity | None:
        activity = fact.run.activities.get(fact.body["scheduled_event_id"])
        if activity is None and fact.run.is_open:
            self._of(fact, f"{fact.kind}, and the activity has ended before or was never scheduled")
        return activity

    def _of(self, fact: Fact, sentence: str) -> None:
        self.breaks(f"activity of event {fact.body['scheduled_event_id']}: {sentence}", fact.entry, fact.run)

    def task(self, arrived: Arrived) -> None:
        """See Rule."""
        if (
            arrived.body is not None
            and (maximum := arrived.body["retry_options"]["maximum_attempts"])
            and arrived.body["attempt"] > maximum
        ):
            record = arrived.record
            self.breaks(f"{record.topic}[{record.partition}]:{record.offset} is attempt {arrived.body['attempt']} of at most {maximum}")

    def reply(self, arrived: Arrived) -> None:
        """See Rule."""
        if arrived.body is None or arrived.body["body"][KIND] != "ActivityStartAcknowledged" or not arrived.body["body"]["granted"]:
            return
        told = arrived.body["body"]
        nonce = self._granted.get((told["run_id"], told["scheduled_event_id"], told["attempt"]))
        if nonce is not None and nonce != told["nonce"]:
            whom = f"attempt {told['attempt']} of event {told['scheduled_event_id']} of run {told['run_id']}"
            self.breaks(f"{arrived.reply} grants {whom} to delivery {told['nonce']!r}, and it was granted to {nonce!r}")

    def finish(self) -> None:
        """See Rule."""
        if self.context.begins_at_zero(f"{self.context.namespace}.commands") and not self.context.stopped:
            for outcome in self._reported:
                if not outcome.reported:
                    run_id, scheduled, attempt = outcome.attempt
                    sentence = (
                        f"the outcome of attempt {attempt} of event {scheduled} of run {run_id} is no {outcome.report} that it applies"
                    )
                    self.witness(Witness(sentence, outcome.partition, (outcome.offset,)))
        self.detail = f"{self._outcomes} outcomes, each of the attempt that was out, and {len(self._reported)} as workers reported them"
