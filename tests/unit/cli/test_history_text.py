from dataclasses import MISSING, fields
from typing import Any, get_args

from perdure_platform.cli.history_text import history_rows
from perdure_schemas.events import (
    ActivityTaskCompleted,
    ActivityTaskFailed,
    ActivityTaskScheduled,
    ActivityTaskStarted,
    Event,
    TimerStarted,
    WorkflowExecutionCompleted,
    WorkflowExecutionStarted,
)
from perdure_schemas.failure import ApplicationFailureInfo, Failure, RetryState
from perdure_schemas.payload import Payload
from perdure_schemas.replies import HistoryEvent

ONE = (Payload({"encoding": b"json/plain"}, b"1"),)


def rows(*events: Event) -> list[tuple[int, str, str, str]]:
    return list(history_rows([HistoryEvent(number, 1000 + 250 * number, event) for number, event in enumerate(events, start=1)]))


def test_a_history_reads_as_calls_and_results_with_times_since_its_start() -> None:
    shown = rows(
        WorkflowExecutionStarted("Transfer", "queue", ONE, "run"),
        ActivityTaskScheduled("1", "withdraw", "queue", ONE),
        ActivityTaskStarted(2, 3, last_failure=Failure("the bank is down")),
        ActivityTaskCompleted(2, 3, ONE),
        WorkflowExecutionCompleted(ONE),
    )
    assert shown == [
        (1, "+0 ms", "WorkflowExecutionStarted", "Transfer(1)"),
        (2, "+250 ms", "ActivityTaskScheduled", "withdraw(1)"),
        (3, "+500 ms", "ActivityTaskStarted", "withdraw (event 2), attempt 3 after the bank is down"),
        (4, "+750 ms", "ActivityTaskCompleted", "withdraw (event 2) -> 1"),
        (5, "+1 s", "WorkflowExecutionCompleted", "-> 1"),
    ]


def test_a_failed_activity_names_itself_and_its_failure() -> None:
    failure = Failure("no such account", info=ApplicationFailureInfo(type="InvalidAccountError"))
    shown = rows(ActivityTaskScheduled("1", "deposit", "queue"), ActivityTaskFailed(1, 0, failure, RetryState.NON_RETRYABLE_FAILURE))
    assert shown[1][3] == "deposit (event 1): InvalidAccountError: no such account"


def test_an_activity_whose_schedule_is_not_shown_is_still_named_by_its_event() -> None:
    assert rows(ActivityTaskCompleted(7, 8))[0][3] == "activity (event 7) -> "


def test_a_timer_shows_its_span() -> None:
    assert rows(TimerStarted("1", 60_000))[0][3] == "timer 1, 1 m 0 s"


def test_every_kind_of_event_has_a_line() -> None:
    kinds = get_args(Event)
    assert len(kinds) > 20
    for kind in kinds:
        assert next(history_rows([HistoryEvent(1, 0, _example(kind))]))[2] == kind.__name__


def _example(kind: type[Event]) -> Event:
    """An event of the kind, its required fields filled by type name."""
    values: dict[str, Any] = {}
    for field in fields(kind):
        if field.default is MISSING and field.default_factory is MISSING:
            text = str(field.type)
            values[field.name] = 1 if text == "int" else () if text.startswith("tuple") else Failure("x") if text == "Failure" else "x"
            if text == "RetryState":
                values[field.name] = RetryState.UNSPECIFIED
    return kind(**values)
