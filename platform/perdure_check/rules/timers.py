"""I11: timers and timeouts are never early, fire once, and not when they were cancelled."""

from __future__ import annotations

from collections.abc import Mapping

from perdure_check.facts import Fact
from perdure_check.rules.base import Rule, Watcher

_SCHEDULE_TO_CLOSE = 3


class Timers(Rule):
    """By recorded time exactly, and by the log's append time within the bound of clocks."""

    invariant = "I11"
    title = "timers"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._fired = 0

    def watches(self) -> Mapping[str, Watcher]:
        """See Rule."""
        return {
            "TimerFired": self._timer,
            "TimerCanceled": self._canceled,
            "ActivityTaskTimedOut": self._activity,
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
        chain = fact.body["failure"]
        info = chain[0]["info"] if chain else None
        if activity is None or info is None or info.get("timeout_type") != _SCHEDULE_TO_CLOSE:
            return
        timeout_ms = activity.options["schedule_to_close_timeout_ms"]
        if timeout_ms and len(chain) == 1:  # with a cause it may be that no further attempt would have had the time
            self._not_before(fact, activity.scheduled_ms + timeout_ms, f"the timeout of event {fact.body['scheduled_event_id']}")

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
        elif not fact.carried and fact.entry.timestamp_ms < due_ms - self.context.options.clock_bound_ms:
            sentence = f"{what} was due at {due_ms}, and the log took the record at {fact.entry.timestamp_ms}, beyond the bound of clocks"
            self.breaks(sentence, fact.entry, fact.run)

    def finish(self) -> None:
        """See Rule."""
        self.detail = f"{self._fired} timers fired, none early"
