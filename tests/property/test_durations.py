"""Whatever durations a client, a worker or workflow code gives: they are refused, or every record and row of theirs can be written (P9)."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.code import Code, value
from kit.core import Core
from perdure import workflow
from perdure._replay import actions
from perdure.common import RetryPolicy
from perdure_platform.partition.apply import write_run
from perdure_platform.partition.transition.draft import Decision
from perdure_schemas.codec import encode_history
from perdure_schemas.commands import CancelWorkflow, FailActivity, StartWorkflow
from perdure_schemas.failure import ApplicationFailureInfo, Failure
from perdure_schemas.history import CommitRecord
from perdure_schemas.limits import DURATION_MS_MAX
from perdure_schemas.options import RetryOptions
from perdure_schemas.replies import RefusalCode, Refused

INT64 = st.one_of(
    st.sampled_from([0, 0, 1, -1, DURATION_MS_MAX, DURATION_MS_MAX + 1, (1 << 63) - 1, -(1 << 63)]),
    st.integers(-(1 << 63), (1 << 63) - 1),
)
RETRIES = st.one_of(st.none(), st.builds(RetryOptions, INT64, st.floats(), INT64, st.integers(-1, 3)))
FAILED = Failure("no")


def kept(core: Core, decision: Decision) -> None:
    """Do what an owner does with a decision: encode its record, write its rows."""
    encode_history(
        CommitRecord(1, "claim", 1, core.now_ms, -1, requests=decision.requests, transitions=tuple(r.transition() for r in decision.runs))
    )
    for run in decision.runs:
        write_run(run.before, run.state, {})


def lived(core: Core, start: StartWorkflow) -> None:
    """Start it, let its activity fail, pass a day, cancel it."""
    kept(core, core.start(start))
    if core.state is None:
        return
    for _ in range(3):
        for activity in list(core.run.activities):
            failure = Failure("no", info=ApplicationFailureInfo(next_retry_delay_ms=core.now_ms << 20))
            kept(core, core.take(FailActivity(core.attempt(), failure if activity % 2 else FAILED)))
        kept(core, core.pass_time(24 * 3600 * 1000))
    kept(core, core.take(CancelWorkflow()))


@settings(max_examples=300)
@given(execution=INT64, run=INT64, task=INT64, delay=INT64, retry=RETRIES, fails=st.booleans())
def test_a_start_with_any_durations(execution: int, run: int, task: int, delay: int, retry: RetryOptions | None, fails: bool) -> None:
    core = Core(code=lambda run, activation: (actions.FailWorkflow(FAILED),)) if fails else Core()
    start = StartWorkflow(
        "T", "q", execution_timeout_ms=execution, run_timeout_ms=run, task_timeout_ms=task, start_delay_ms=delay, retry_options=retry
    )
    lived(core, start)


@settings(max_examples=300)
@given(timeouts=st.tuples(INT64, INT64, INT64, INT64), retry=RETRIES, run=st.integers(0, DURATION_MS_MAX))
def test_an_activity_with_any_durations(timeouts: tuple[int, int, int, int], retry: RetryOptions | None, run: int) -> None:
    close, start, start_to_close, heartbeat = timeouts
    action = actions.ScheduleActivity("1", "a", "", (), {}, close, start, start_to_close, heartbeat, retry)
    lived(Core(code=lambda run, activation: (action,) if len(run.activities) == 0 else ()), StartWorkflow("T", "q", run_timeout_ms=run))


@given(timer=INT64, run=INT64, task=INT64, delay=INT64, retry=RETRIES)
def test_a_timer_and_a_next_run_with_any_durations(timer: int, run: int, task: int, delay: int, retry: RetryOptions | None) -> None:
    again = actions.ContinueAsNewWorkflow(run_timeout_ms=run, task_timeout_ms=task, backoff_start_interval_ms=delay, retry_options=retry)
    lived(Core(code=lambda run, activation: (actions.StartTimer("1", timer),)), StartWorkflow("T", "q"))
    lived(Core(code=lambda run, activation: (again,) if run.start_time_ms == 1_000_000 else ()), StartWorkflow("T", "q"))


@pytest.mark.parametrize("wrong", [{"run_timeout_ms": -1}, {"start_delay_ms": 1 << 62}, {"retry_options": RetryOptions(-5)}])
def test_a_refused_start_says_what_is_wrong(wrong: dict[str, Any]) -> None:
    decision = Core().start(StartWorkflow("T", "q", **wrong))
    (reply,) = decision.replies
    assert isinstance(reply.body, Refused)
    assert reply.body.code is RefusalCode.LIMIT_EXCEEDED
    assert reply.body.message.startswith("the ")
    assert "it must be" in reply.body.message


@workflow.defn
class Sleeper:
    @workflow.run
    async def run(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@pytest.mark.parametrize("seconds", [sys.maxsize, float("inf"), 1e300, timedelta.max.total_seconds()])
def test_code_may_sleep_for_ever(seconds: float) -> None:
    code = Code(Sleeper, value(seconds))
    assert code.begin() == [actions.StartTimer("1", DURATION_MS_MAX)]
    code.close()


@pytest.mark.parametrize("policy", [RetryPolicy(backoff_coefficient=float("nan")), RetryPolicy(backoff_coefficient=0.5)])
def test_a_policy_without_a_time_for_the_next_attempt_is_refused_where_it_is_made(policy: RetryPolicy) -> None:
    with pytest.raises(ValueError, match="backoff_coefficient"):
        policy.to_options()


def test_the_longest_policy_of_a_client_is_one_that_owners_take() -> None:
    options = RetryPolicy(initial_interval=timedelta.max).to_options()
    lived(Core(), StartWorkflow("T", "q", retry_options=options, execution_timeout_ms=DURATION_MS_MAX, start_delay_ms=DURATION_MS_MAX))
