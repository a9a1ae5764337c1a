"""I11: timers and timeouts are never early, fire once, not when they were cancelled, and not where a report was there in time (R12)."""

from __future__ import annotations

from collections.abc import Mapping

from perdure_check.avro import KIND, Decoded
from perdure_check.effects import Attempt
from perdure_check.facts import Activity, Arrived, Fact, Run
from perdure_check.rules.base import Rule, Watcher

_START_TO_CLOSE, _SCHEDULE_TO_START, _SCHEDULE_TO_CLOSE = 1, 2, 3
REPORTS = frozenset({"CompleteActivity", "FailActivity", "CancelActivity"})


class Timers(Rule):
    """By recorded time exactly, and by the log's append time within the bound of clocks."""

    invariant = "I11"
    title = "timers"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._fired = 0
        self._timed_out: dict[Attempt, tuple[int, int, Run]] = {}
        """When an attempt that timed out was due to, and where that is recorded."""

    def watches(self) -> Mapping[str, Watcher]:
        """See Rule."""
        return {
            "TimerFired": self._timer,
            "TimerCanceled": self._canceled,
            "ActivityTaskTimedOut": self._activity,
            "ActivityAttemptFailed": self._activity,
            "ActivityAttemptDispatched": self._dispatched,
            "WorkflowExecutionTimedOut": self._workflow,
        }

    def _timer(self, fact: Fact) -> None:
        self._fired += 1
        due_ms = fact.run.timers.get(fact.body["started_event_id"])
        if due_ms is None:
            what = f"timer {fact.body['timer_id']} of event {fact.body['started_event_id']}"
            self.breaks(f"{what} fires, and does not run: it has fired, was cancelled, or never began", fact.entry, fact.run)
            return
        self._not_before(fact, due_ms, f"timer {fact.body['timer_id']}")

    def _canceled(self, fact: Fact) -> None:
        if fact.body["started_event_id"] not in fact.run.timers:
            sentence = f"timer {fact.body['timer_id']} is cancelled, and does not run"
            self.breaks(sentence, fact.entry, fact.run)

    def _activity(self, fact: Fact) -> None:
        activity = fact.run.activities.get(fact.body["scheduled_event_id"])
        due_ms = 0 if activity is None else _due_ms(activity, fact.body["failure"])
        if activity is None or not due_ms:
            return
        scheduled = fact.body["scheduled_event_id"]
        self._not_before(fact, due_ms, f"the timeout of event {scheduled}")
        self._timed_out[fact.run.run_id, scheduled, activity.attempt] = due_ms, fact.entry.offset, fact.run

    def command(self, arrived: Arrived) -> None:
        """See Rule."""
        if not self._timed_out or arrived.body is None or arrived.body["body"][KIND] not in REPORTS:
            return
        reference = arrived.body["body"]["activity"]
        attempt = reference["run_id"], reference["scheduled_event_id"], reference["attempt"]
        found = self._timed_out.get(attempt)
        if found is None or attempt in self.context.expected.parked:
            return
        due_ms, offset, run = found
        at_ms = arrived.record.timestamp_ms
        bound_ms = self.context.options.clock_bound_ms
        if at_ms < due_ms - bound_ms and self.context.set_back_ms[run.partition] <= bound_ms:
            where = f"partition {arrived.record.partition}, offset {arrived.record.offset}"
            report = f"its report was in the commands at {at_ms} ({where})"
            self.breaks(f"attempt {attempt[2]} of event {attempt[1]} timed out, due at {due_ms}; {report}", None, run, offset)

    def _dispatched(self, fact: Fact) -> None:
        activity = fact.run.activities.get(fact.body["scheduled_event_id"])
        if activity is not None and activity.retry_at_ms:
            what = f"attempt {fact.body['attempt']} of event {fact.body['scheduled_event_id']}"
            self._not_before(fact, activity.retry_at_ms, what)

    def _workflow(self, fact: Fact) -> None:
        run_timeout_ms = fact.run.started.get("run_timeout_ms", 0)
        deadline_ms = fact.run.started.get("execution_deadline_ms", 0)
        due = [fact.run.start_ms + run_timeout_ms] if run_timeout_ms else []
        due += [deadline_ms] if deadline_ms else []
        if not due:
            self.breaks("it timed out, and has no timeout", fact.entry, fact.run)
        else:
            self._not_before(fact, min(due), "its timeout")

    def _not_before(self, fact: Fact, due_ms: int, what: str) -> None:
        if fact.time_ms < due_ms:
            self.breaks(
                f"{what} was due at {due_ms} and is recorded at {fact.time_ms}, {due_ms - fact.time_ms} ms early", fact.entry, fact.run
            )
            return
        bound_ms, partition = self.context.options.clock_bound_ms, fact.run.partition
        if fact.carried or self.context.set_back_ms[partition] > bound_ms:
            return  # a clock that was set back so far says nothing about partition time, which goes on (R13)
        if self.context.stamps_ms[partition] < due_ms - bound_ms:
            sentence = f"{what} was due at {due_ms}, and the log took the record at {fact.entry.timestamp_ms}, beyond the bound of clocks"
            self.breaks(sentence, fact.entry, fact.run)

    def finish(self) -> None:
        """See Rule."""
        self.detail = f"{self._fired} timers fired, {len(self._timed_out)} attempts timed out, none early and none whose report was there"


def _due_ms(activity: Activity, failure: list[Decoded]) -> int:
    """When the owner's timeout that a failure tells of was due; 0 if it is none, or that cannot be said."""
    info = failure[0]["info"] if failure and failure[0]["source"] == "perdure" else None
    kind = None if info is None else info.get("timeout_type")
    options = activity.options
    match kind:
        case k if k == _SCHEDULE_TO_CLOSE and len(failure) == 1 and options["schedule_to_close_timeout_ms"]:
            # With a cause it may be that no further attempt would have had the time.
            return int(activity.scheduled_ms + options["schedule_to_close_timeout_ms"])
        case k if k == _START_TO_CLOSE and activity.start_ms and options["start_to_close_timeout_ms"]:
            return int(activity.start_ms + options["start_to_close_timeout_ms"])
        case k if k == _SCHEDULE_TO_START and not activity.start_ms and options["schedule_to_start_timeout_ms"]:
            return int(activity.dispatched_ms + options["schedule_to_start_timeout_ms"])
        case _:
            return 0
