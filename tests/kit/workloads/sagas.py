"""Sagas: steps that are undone in reverse order where a later one fails for good. The history of the run must show each of them once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from kit.operations import Operations
from perdure import Registry, activity, workflow
from perdure.client import Client, WorkflowHistory
from perdure.common import RetryPolicy
from perdure.converter import PayloadConverter
from perdure.exceptions import ActivityError, ApplicationError
from perdure_schemas import events

STEPS = 5

Step = tuple[str, int, str]
"""What was done, with which step, and how it ended."""


def failing(number: int) -> int:
    """The step at which a saga fails for good; STEPS where it does not."""
    return number % (STEPS + 1)


@activity.defn
async def do(number: int, step: int) -> int:
    """Fails for good at one step, and at some others once."""
    if step == failing(number):
        raise ApplicationError(f"step {step} cannot be done", non_retryable=True)
    _fail_once(number + step)
    return step


@activity.defn
async def undo(number: int, step: int) -> int:
    """Fails once at some steps."""
    _fail_once(number + step + 1)
    return step


def _fail_once(chance: int) -> None:
    if chance % 3 == 0 and activity.info().attempt == 1:
        raise ApplicationError("not now")


OPTIONS: workflow.ActivityConfig = {
    "start_to_close_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_interval=timedelta(seconds=2)),
}


@workflow.defn
class Saga:
    """Returns the steps that were undone."""

    @workflow.run
    async def run(self, number: int) -> list[int]:
        done = 0
        try:
            while done < STEPS:
                await workflow.execute_activity(do, args=[number, done], **OPTIONS)
                done += 1
        except ActivityError:
            return [await workflow.execute_activity(undo, args=[number, step], **OPTIONS) for step in reversed(range(done))]
        return []


registry = Registry(task_queue="work", workflows=[Saga], activities=[do, undo])
check_options: tuple[str, ...] = ()


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """One saga, and its history."""
    handle = await operations.start(client, Saga.run, number, f"saga-{number}")
    undone = await handle.result()
    judge(number, undone, steps(await handle.fetch_history(), client.data_converter.payload_converter))


def steps(history: WorkflowHistory, converter: PayloadConverter) -> list[Step]:
    """The activities of a run in the order in which they ended, as its history has them."""
    asked: dict[int, events.ActivityTaskScheduled] = {}
    found: list[Step] = []
    for one in history.events:
        match one.event:
            case events.ActivityTaskScheduled():
                asked[one.event_id] = one.event
            case events.ActivityTaskCompleted() | events.ActivityTaskFailed() | events.ActivityTaskTimedOut():
                scheduled = asked[one.event.scheduled_event_id]
                arguments: Sequence[Any] = converter.from_payloads(scheduled.input)
                found.append((scheduled.activity_type, arguments[1], type(one.event).__name__))
    return found


def judge(number: int, undone: list[int], found: list[Step]) -> None:
    """Raise AssertionError unless what was done is undone, each step once and the last one first."""
    fails_at = failing(number)
    wanted: list[Step] = [("do", step, "ActivityTaskCompleted") for step in range(min(fails_at, STEPS))]
    compensated = list(reversed(range(fails_at))) if fails_at < STEPS else []
    if fails_at < STEPS:
        wanted += [("do", fails_at, "ActivityTaskFailed"), *(("undo", step, "ActivityTaskCompleted") for step in compensated)]
    assert found == wanted, f"saga-{number}: its history has {found}, and {wanted} was expected"
    assert undone == compensated, f"saga-{number} says that {undone} was undone, and {compensated} was expected"


async def check(client: Client, count: int, directory: Path) -> None:
    """`one` has looked at everything."""
