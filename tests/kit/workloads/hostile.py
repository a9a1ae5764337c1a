"""Workflows and activities that hand over, raise and answer what is no value (`kit.hostile`), beside neighbours that mean no harm."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from kit.hostile import ERRORS
from kit.hostile_workflows import ANSWERS, BEYOND_LIMITS, REFUSED, WORKFLOWS, Answers, FailsInAnActivity, HandsOver, Raises
from kit.namespace import Namespace, kill
from kit.operations import Operations
from perdure import Registry, activity, workflow
from perdure.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowQueryFailedError

PATIENCE = timedelta(seconds=60)
MINUTE = timedelta(minutes=1)


@activity.defn
async def inspect(value: int) -> int:
    """Means no harm."""
    return value


@activity.defn(name="hostile")
async def raises(what: str) -> None:
    """Fails in the way that is asked for."""
    raise ERRORS[what]()


@workflow.defn
class Neighbour:
    """Two activities and a timer."""

    @workflow.run
    async def run(self, number: int) -> int:
        await workflow.execute_activity(inspect, number, start_to_close_timeout=MINUTE)
        await workflow.sleep(0.1)
        return await workflow.execute_activity(inspect, number, start_to_close_timeout=MINUTE)


registry = Registry(task_queue="work", workflows=[*WORKFLOWS, Neighbour], activities=[inspect, raises])
check_options: tuple[str, ...] = ("--may-stay-open", "odd-.*")


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """A neighbour."""
    handle = await operations.start(client, Neighbour.run, number, f"neighbour-{number}")
    assert await handle.result() == number


async def check(client: Client, count: int, directory: Path) -> None:
    """The load has looked at every result, and `hostility` at everything else."""


async def hostility(namespace: Namespace, neighbours: int) -> int:
    """Every hostile value beside neighbours on one partition, whose owner is killed in their midst; how many there were."""
    owner, worker = namespace.owner(), namespace.worker()
    load = namespace.load(neighbours, 3, per_second=10)
    await asyncio.to_thread(namespace.until_done, 3)
    async with await Client.connect(namespace.url) as client:
        handed = {f"odd-{number}": what for number, what in enumerate((*REFUSED, *BEYOND_LIMITS))}
        for workflow_id, what in handed.items():
            await client.start_workflow(HandsOver.run, what, id=workflow_id, task_queue="work", rpc_timeout=PATIENCE)
        failing = [f"odd-{kind}-{number}" for kind in ("raises", "activity") for number in range(len(ERRORS))]
        for workflow_id, what in zip(failing, (*ERRORS, *ERRORS), strict=True):
            run = Raises.run if "raises" in workflow_id else FailsInAnActivity.run
            await client.start_workflow(run, what, id=workflow_id, task_queue="work", rpc_timeout=PATIENCE)
        answers = await client.start_workflow(Answers.run, id="odd-answers", task_queue="work", rpc_timeout=PATIENCE)
        await _look(client, handed, failing)
        await asyncio.to_thread(kill, owner)
        owner = namespace.owner()
        for what in ANSWERS:
            with suppress(WorkflowQueryFailedError):
                await answers.query(Answers.ask, what, rpc_timeout=PATIENCE)
        await _look(client, handed, failing)
    await asyncio.to_thread(namespace.finish, load, neighbours, 240)
    assert owner.poll() is None, "the owner has ended"
    assert worker.poll() is None, "the worker has ended"
    return len(handed) + len(failing) + len(ANSWERS)


async def _look(client: Client, handed: dict[str, str], failing: list[str]) -> None:
    """What handed over no value is blocked and says why; an activity that raised has failed its workflow."""
    for workflow_id, what in handed.items():
        described = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=PATIENCE)
        assert described.status is WorkflowExecutionStatus.RUNNING, what
        assert described.activation_failure is not None, what
    for workflow_id in failing:
        handle = client.get_workflow_handle(workflow_id)
        if "activity" in workflow_id:
            try:
                await asyncio.wait_for(handle.result(), 120)
            except WorkflowFailureError:
                continue
            raise AssertionError(f"{workflow_id} has not failed")
        described = await handle.describe(rpc_timeout=PATIENCE)
        assert described.activation_failure is not None or described.status is not WorkflowExecutionStatus.RUNNING, workflow_id
