"""A run that is blocked by a limit, or because nobody knows its type, is told in the owner's log and by describe."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from kit.sim_workflows import WORKFLOWS
from kit.world import FIRST, LIMITS, World
from perdure import workflow
from perdure._replay.runtime import CodeHost
from perdure_schemas import notes
from perdure_schemas.commands import StartWorkflow
from perdure_schemas.limits import PENDING_ACTIVITIES_MAX, TASK_QUEUE_CHARACTERS_MAX


@workflow.defn
class Throng:
    """Asks for one activity more than a run may have."""

    @workflow.run
    async def run(self) -> None:
        one = timedelta(minutes=1)
        await asyncio.gather(*(workflow.execute_activity("a", start_to_close_timeout=one) for _ in range(PENDING_ACTIVITIES_MAX + 1)))


@workflow.defn
class LongQueue:
    """Sends an activity where no log can take it."""

    @workflow.run
    async def run(self) -> None:
        queue = "q" * (TASK_QUEUE_CHARACTERS_MAX + 1)
        await workflow.execute_activity("a", task_queue=queue, start_to_close_timeout=timedelta(minutes=1))


@workflow.defn
class LongNextQueue:
    """Continues where no log can take its activities."""

    @workflow.run
    async def run(self) -> None:
        workflow.continue_as_new(task_queue="ä" * (TASK_QUEUE_CHARACTERS_MAX // 6 + 1))


def until(world: World, condition: Callable[[], object]) -> None:
    for _ in range(500):
        if condition():
            return
        world.step()
    raise AssertionError("it did not happen")


@pytest.mark.parametrize(
    ("workflow_type", "says"),
    [
        ("Throng", f"{PENDING_ACTIVITIES_MAX} activities are open, and a run may have {PENDING_ACTIVITIES_MAX}"),
        ("LongQueue", "takes 143 characters of its topic's name, and may take 142"),
        ("LongNextQueue", "takes 144 characters of its topic's name, and may take 142"),
        ("Nobody", "workflow type 'Nobody' (workflow 'refused') is not registered with this owner"),
    ],
)
def test_what_blocks_a_run_is_logged_with_its_ids(workflow_type: str, says: str, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    process = world.start(name=FIRST)
    host = CodeHost([*WORKFLOWS, Throng, LongQueue, LongNextQueue], deadlock_timeout_ms=0)
    process.node._around = replace(process.node._around, host=host, limits=LIMITS)
    world.ask("refused", StartWorkflow(workflow_type, "sim"))

    def failed() -> list[notes.ActivationFailed]:
        recorded = [note for _, _, record in world.live() for transition in record.transitions for note in transition.notes]
        return [note for note in recorded if isinstance(note, notes.ActivationFailed)]

    with caplog.at_level(logging.WARNING, "perdure"):
        until(world, failed)
    assert says in failed()[0].failure.message
    told = [record for record in caplog.records if says in record.getMessage()]
    assert len(told) == 1
    assert told[0].levelno == logging.WARNING
    assert told[0].__dict__["workflow_id"] == "refused"
    assert told[0].__dict__["run_id"]
