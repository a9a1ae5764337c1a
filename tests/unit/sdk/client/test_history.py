"""Histories as JSON."""

from __future__ import annotations

import json

import pytest

from perdure.client import WorkflowHistory
from perdure_schemas.commands import ExternalSource, ReplyAddress
from perdure_schemas.errors import CodecError
from perdure_schemas.events import (
    ActivityTaskFailed,
    MarkerRecorded,
    ResultWaiter,
    TimerStarted,
    WorkflowExecutionSignaled,
    WorkflowExecutionStarted,
)
from perdure_schemas.failure import ActivityFailureInfo, ApplicationFailureInfo, Failure, RetryState, TimeoutFailureInfo, TimeoutType
from perdure_schemas.options import RetryOptions
from perdure_schemas.payload import Payload
from perdure_schemas.replies import HistoryEvent

PAYLOAD = Payload({"encoding": b"json/plain", "odd": b"\x00\xff"}, b'{"a": 1}')
FAILURE = Failure(
    "outer",
    cause=Failure(
        "inner",
        "trace",
        "sdk",
        Failure("innermost", info=ApplicationFailureInfo("T", True, (PAYLOAD,), 5)),
        TimeoutFailureInfo(TimeoutType.HEARTBEAT),
    ),
    info=ActivityFailureInfo(5, 6, "me", "withdraw", "1", RetryState.TIMEOUT),
)
EVENTS = (
    HistoryEvent(
        1,
        1_700_000_000_123,
        WorkflowExecutionStarted(
            "Transfer",
            "bank",
            (PAYLOAD, Payload()),
            "run-0",
            memo={"note": PAYLOAD},
            retry_options=RetryOptions(non_retryable_error_types=("A", "B")),
            continued_failure=FAILURE,
            waiter=ResultWaiter(ReplyAddress("client", 3), "request"),
        ),
    ),
    HistoryEvent(2, 1_700_000_000_124, WorkflowExecutionSignaled("go", (PAYLOAD,), source=ExternalSource("wf", "run", 7))),
    HistoryEvent(3, 1_700_000_000_124, TimerStarted("1", 500)),
    HistoryEvent(4, 1_700_000_000_999, ActivityTaskFailed(5, 6, FAILURE, RetryState.MAXIMUM_ATTEMPTS_REACHED)),
    HistoryEvent(5, 1_700_000_001_000, MarkerRecorded("patch", {"id": "x"})),
)


def test_a_history_survives_its_json() -> None:
    history = WorkflowHistory("wf-1", EVENTS, "run-1")
    assert WorkflowHistory.from_json("wf-1", history.to_json()) == history
    assert WorkflowHistory.from_json("wf-1", json.loads(json.dumps(history.to_json_dict()))) == history


def test_json_has_the_shape_that_temporals_tools_use() -> None:
    event = WorkflowHistory("wf-1", EVENTS).to_json_dict()["events"][2]
    assert event == {
        "eventId": 3,
        "eventTime": "2023-11-14T22:13:20.124Z",
        "eventType": "TimerStarted",
        "timerStartedEventAttributes": {"timerId": "1", "delayMs": 500},
    }


def test_a_history_reads_as_one_line_per_event() -> None:
    lines = str(WorkflowHistory("wf-1", EVENTS)).splitlines()
    assert len(lines) == len(EVENTS)
    assert "TimerStarted" in lines[2]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"events": [{}]}', '{"events": [{"eventId": 1, "eventTime": "x", "eventType": "os:system"}]}']
)
def test_what_is_no_history_is_refused(text: str) -> None:
    with pytest.raises(CodecError, match="not the history"):
        WorkflowHistory.from_json("wf-1", text)
