"""Workflow code that hands over values that are none (`kit.hostile`), and what it says of those that only look odd."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import StrEnum
from typing import Any

from kit.hostile import ERRORS, HALF, Odd
from perdure import workflow
from perdure.common import RetryPolicy
from perdure.workflow import ContinueAsNewError

MINUTE = timedelta(minutes=1)


class Name(StrEnum):
    """Names as some keep them."""

    QUEUE = "sim"
    KIND = "inspect"


def _activity(name: Any = "inspect", **options: Any) -> Callable[[], Awaitable[Any]]:
    return lambda: workflow.execute_activity(name, 1, **{"start_to_close_timeout": MINUTE, **options})


def _retried(**fields: Any) -> Callable[[], Awaitable[Any]]:
    return _activity(retry_policy=RetryPolicy(**fields))


def _signal(workflow_id: Any = "other", name: Any = "move", run_id: Any = None) -> Callable[[], Awaitable[Any]]:
    return lambda: workflow.get_external_workflow_handle(workflow_id, run_id=run_id).signal(name, 1)


def _cancel(**reason: Any) -> Callable[[], Awaitable[Any]]:
    return lambda: workflow.get_external_workflow_handle("other").cancel(**reason)


def _plain(call: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
    async def run() -> Any:
        return call()

    return run


def _next(**options: Any) -> Callable[[], Awaitable[Any]]:
    return _plain(lambda: workflow.continue_as_new("a", **options))


async def _forged() -> None:
    raise ContinueAsNewError("not an action")


REFUSED: dict[str, tuple[Callable[[], Awaitable[Any]], str]] = {
    "activity id, a UUID": (_activity(activity_id=uuid.UUID(int=5)), r"an activity: activity_id is UUID\(.*must be text .*give str\("),
    "activity id, half a character": (_activity(activity_id=HALF), "an activity: activity_id is .*lone surrogates"),
    "activity name, bytes": (_activity(b"inspect"), "inspect"),
    "task queue, a number": (_activity(task_queue=5), r"an activity: task_queue is 5 \(an int\)"),
    "task queue, half a character": (_activity(task_queue=HALF), "task_queue is .*lone surrogates"),
    "timeout, a number": (_activity(start_to_close_timeout=5), "start_to_close_timeout is 5 .*must be a timedelta"),
    "cancellation type, text": (_activity(cancellation_type="try"), "cancellation_type is 'try' .*TRY_CANCEL"),
    "retry policy, a dict": (_activity(retry_policy={"maximum_attempts": 1}), "retry_policy is {.*must be a RetryPolicy"),
    "retried but for a class": (_retried(non_retryable_error_types=[ValueError]), r"non_retryable_error_types\[0\] is .*'ValueError'"),
    "retried but for half a character": (_retried(non_retryable_error_types=[HALF]), r"non_retryable_error_types\[0\] .*surrogates"),
    "attempts, a float": (_retried(maximum_attempts=2.5), "maximum_attempts is 2.5 .*whole number"),
    "attempts, too many": (_retried(maximum_attempts=10**30), "maximum_attempts is 1000.* 64 bits"),
    "coefficient, nan": (_retried(backoff_coefficient=math.nan), "backoff_coefficient is nan"),
    "coefficient, too large": (_retried(backoff_coefficient=10**400), "backoff_coefficient is 10000"),
    "workflow id, a UUID": (_signal(uuid.UUID(int=5)), "a signal to another workflow: workflow id is UUID"),
    "workflow id, half a character": (_signal(HALF), "workflow id is .*surrogates"),
    "run id, a UUID": (_signal(run_id=uuid.UUID(int=5)), "run_id is UUID"),
    "signal name, half a character": (_signal(name=HALF), "signal is .*surrogates"),
    "cancel reason, none": (_cancel(reason=None), "the cancellation of another workflow: reason is None"),
    "cancel reason, an exception": (_cancel(reason=ValueError("x")), "reason is ValueError"),
    "cancel reason, half a character": (_cancel(reason=HALF), "reason is .*surrogates"),
    "patch id, a number": (_plain(lambda: workflow.patched(5)), r"patched\(\): id is 5 \(an int\)"),  # type: ignore[arg-type]
    "patch id, half a character": (_plain(lambda: workflow.patched(HALF)), r"patched\(\): id is .*surrogates"),
    "timer, nan": (lambda: workflow.sleep(math.nan), "a timer's delay is nan"),
    "next type, half a character": (_next(workflow=HALF), r"continue_as_new\(\): workflow is .*surrogates"),
    "next queue, a number": (_next(task_queue=5), r"continue_as_new\(\): task_queue is 5"),
    "memo, half a character": (_next(memo={HALF: 1}), r"continue_as_new\(\): memo\[a name in it\] is .*surrogates"),
    "memo, a number": (_next(memo={5: 1}), r"memo\[a name in it\] is 5"),
    "memo, no JSON": (_next(memo={"a": Odd()}), "Odd"),
    "next retry policy, a class": (_next(retry_policy=RetryPolicy(non_retryable_error_types=[ValueError])), "ValueError"),  # type: ignore[list-item]
    "a forged end": (_forged, "'not an action'"),
    "result, no JSON": (_plain(Odd), "Odd"),
}
"""What is handed over, and what the error of the activation says of it. It blocks its run until the code is mended."""

BEYOND_LIMITS: dict[str, tuple[Callable[[], Awaitable[Any]], str]] = {
    "signal name, too long": (_signal(name="x" * 2_000), "the signal name has 2000 bytes"),
    "cancel reason, ten million characters": (_cancel(reason="x" * 10_000_000), "the reason of a cancel request has 10000000 bytes"),
    "next queue, too long": (_next(task_queue="x" * 2_000), "task queue has 2000 bytes"),
    "next type, too long": (_next(workflow="x" * 2_000), "next run's workflow type has 2000 bytes"),
    "memo, too large": (_next(memo={"a": "x" * 3_000_000}), "next run's memo has 30000"),
    "retried but for a hundred thousand names": (
        _retried(non_retryable_error_types=["x" * 10] * 100_000),
        "list of error types has 1000000",
    ),
}
"""The same, where it is the owner that refuses: values as they should be, and too large."""

TAKEN: dict[str, Callable[[], Awaitable[Any]]] = {
    "names of enumerations": lambda: workflow.execute_activity(
        Name.KIND, 1, task_queue=Name.QUEUE, activity_id=Name.KIND, start_to_close_timeout=MINUTE
    ),
    "the longest timeouts": _activity(schedule_to_close_timeout=timedelta.max, start_to_close_timeout=timedelta.max),
    "a negative timeout": _activity(start_to_close_timeout=timedelta(seconds=-1), retry_policy=RetryPolicy(maximum_attempts=1)),
    "an infinite coefficient": _retried(backoff_coefficient=math.inf),
    "the longest interval": _retried(initial_interval=timedelta.max),
    "half a character as a value": _plain(lambda: HALF),
}
"""What looks odd, and is as good as any."""


@workflow.defn
class HandsOver:
    """Hands one odd value over, and has a task of an odd name."""

    @workflow.run
    async def run(self, what: str) -> Any:
        self.other = asyncio.create_task(workflow.wait_condition(lambda: False), name=HALF)
        if what in TAKEN:
            return await TAKEN[what]()
        return await (REFUSED | BEYOND_LIMITS)[what][0]()


@workflow.defn
class Raises:
    """Fails, in its own code or in an activity."""

    @workflow.run
    async def run(self, what: str) -> None:
        raise ERRORS[what]()


@workflow.defn
class FailsInAnActivity:
    """Fails as its activity does."""

    @workflow.run
    async def run(self, what: str) -> None:
        once = RetryPolicy(maximum_attempts=1)
        await workflow.execute_activity("hostile", what, start_to_close_timeout=MINUTE, retry_policy=once)


ANSWERS: dict[str, Callable[[], Any]] = {
    "half a character": lambda: HALF,
    "no JSON": Odd,
    **{f"raises {what}": lambda raised=raised: _raise(raised()) for what, raised in ERRORS.items()},  # type: ignore[misc]
}


def _raise(error: BaseException) -> None:
    raise error


@workflow.defn
class Answers:
    """Is asked, and says odd things."""

    @workflow.run
    async def run(self) -> None:
        self.other = asyncio.create_task(workflow.wait_condition(lambda: False), name=HALF)
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def ask(self, what: str) -> Any:
        return ANSWERS[what]()


WORKFLOWS = [Answers, FailsInAnActivity, HandsOver, Raises]
