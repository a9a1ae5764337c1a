from dataclasses import replace

import pytest

from perdure_platform.cli.description_text import described_json, print_description
from perdure_schemas.failure import ApplicationFailureInfo, Failure
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.replies import PendingActivity, RunSummary, WorkflowDescribed

SUMMARY = RunSummary("transfer-1", "run", "run", "MoneyTransfer", "transfers", WorkflowStatus.RUNNING, 1_700_000_000_000, history_length=5)


def test_a_run_that_waits_for_an_activity_shows_its_attempts(capsys: pytest.CaptureFixture[str]) -> None:
    failure = Failure("the bank is down", info=ApplicationFailureInfo(type="BankUnavailableError"))
    pending = PendingActivity("1", "withdraw", 2, "backing_off", 3, 0, next_attempt_time_ms=1_700_000_004_000, last_failure=failure)
    print_description(WorkflowDescribed(SUMMARY, (pending,), cancel_requested=True))
    lines = capsys.readouterr().out.splitlines()
    assert "status       running, cancel requested" in lines
    assert lines[-1].split()[:5] == ["1", "withdraw", "backing", "off", "3"]
    assert lines[-1].endswith("2023-11-14 22:13:24.000  BankUnavailableError: the bank is down")
    assert not any(line.startswith("blocked by") for line in lines)


def test_a_blocked_run_its_next_timer_and_what_its_activities_lack_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    described = WorkflowDescribed(replace(SUMMARY, blocked=True), pending_timers=2, next_timer_time_ms=1_700_000_004_000)
    print_description(described, ["queue 'far' has no worker polling"])
    lines = capsys.readouterr().out.splitlines()
    assert "status          running (blocked)" in lines
    assert "next timer      2023-11-14 22:13:24.000" in lines
    assert lines[-1] == "queue 'far' has no worker polling"


def test_scripts_are_told_every_queue_by_its_name() -> None:
    own, other = (PendingActivity(name, "withdraw", 2, "scheduled", 1, 0, task_queue=name) for name in ("", "far"))
    shown = described_json(WorkflowDescribed(SUMMARY, (own, other)), ["far"])
    assert [activity["task_queue"] for activity in shown["pending_activities"]] == ["transfers", "far"]
    assert shown["task_queues_without_worker"] == ["far"]
    assert shown["summary"]["blocked"] is False


def test_a_run_whose_code_fails_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    blocked = Failure("unsupported operand", stack_trace="  File app.py, line 3", info=ApplicationFailureInfo(type="TypeError"))
    print_description(WorkflowDescribed(SUMMARY, activation_failure=blocked, activation_attempt=4))
    out = capsys.readouterr().out
    assert "blocked by          TypeError: unsupported operand" in out
    assert "failed activations  4" in out
    assert out.endswith("\n  File app.py, line 3\n")
