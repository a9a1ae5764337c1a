"""A real worker, a real channel and a memory log; the owner's end is a script."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from kit.scripted_owner import ScriptedOwner, eventually
from perdure._activity_worker import ActivityWorker
from perdure._channel import Channel
from perdure._log.memory import MemoryLog
from perdure._log.memory.sessions import Group
from perdure._log.port import Delivery
from perdure.converter import DataConverter
from perdure_schemas.codec import encode_task
from perdure_schemas.commands import (
    ActivityReference,
    ActivityStarted,
    CancelActivity,
    Command,
    CompleteActivity,
    FailActivity,
)
from perdure_schemas.payload import Payloads
from perdure_schemas.replies import ActivityAttention, ActivityStartAcknowledged, ReplyBody
from perdure_schemas.tasks import ActivityTask
from perdure_schemas.topics import task_topic, tasks_topic, workers_group

QUEUE = "work"
Outcome = CompleteActivity | FailActivity | CancelActivity


class Bench:
    """The two ends and the wire between them."""

    def __init__(self, log: MemoryLog, owner: ScriptedOwner) -> None:
        self.log = log
        self.owner = owner
        self._numbers = itertools.count(1)
        self._open: list[tuple[Channel, ActivityWorker, asyncio.Task[None]]] = []
        log.create_topics([task_topic("default", QUEUE, partitions=1)], 1_000)
        owner.script = grant

    def dispatch(self, activity_type: str, *values: Any, **fields: Any) -> ActivityTask:
        """Put a task on the queue."""
        number = next(self._numbers)
        given: dict[str, Any] = {
            "workflow_id": f"w-{number}",
            "run_id": f"r-{number}",
            "workflow_type": "Flow",
            "scheduled_event_id": 5,
            "attempt": 1,
            "activity_id": "1",
            "task_queue": QUEUE,
            "scheduled_time_ms": 1_700_000_000_000,
            "attempt_scheduled_time_ms": 1_700_000_000_500,
            "input": payloads(*values),
            "start_to_close_timeout_ms": 60_000,
        }
        task = ActivityTask(activity_type=activity_type, **{**given, **fields})
        self.put(encode_task(task), task.workflow_id.encode())
        return task

    def put(self, value: bytes, key: bytes = b"") -> None:
        """Put any bytes on the queue."""
        producer = self.log.producer(Delivery.PIPELINED)
        producer.append(tasks_topic("default", QUEUE), 0, key, value)
        assert producer.flush(1_000)
        producer.close()

    @asynccontextmanager
    async def worker(self, *activities: Callable[..., Any], ready: bool = True, **options: Any) -> AsyncIterator[ActivityWorker]:
        """A worker that runs; `ready`: it already holds its partition, so that what is dispatched now is new to it."""
        channel = await Channel.open(self.log, "default")
        worker = ActivityWorker(channel, QUEUE, activities, identity="me", **options)
        run = asyncio.create_task(worker.run())
        try:
            if ready:
                await eventually(lambda: bool(self.group().held) or run.done(), "the worker has joined")
            yield worker
        finally:
            await worker.shutdown()
            await run
            await channel.close()

    def group(self) -> Group:
        """The consumer group as the log knows it."""
        groups = self.log.medium.groups
        name = workers_group("default", QUEUE)
        return groups.get(name) or Group()

    def committed(self) -> int:
        """Up to where tasks need no other delivery."""
        return self.group().committed.get(0, 0)

    def outcomes(self, task: ActivityTask | None = None) -> list[Outcome]:
        """What was reported, in order; on one attempt only, if it is given."""
        bodies = [c.body for _, c in self.owner.commands if isinstance(c.body, CompleteActivity | FailActivity | CancelActivity)]
        return [b for b in bodies if task is None or b.activity == reference(task)]

    async def outcome(self, task: ActivityTask) -> Outcome:
        """The report on one attempt."""
        await eventually(lambda: bool(self.outcomes(task)), f"a report on {task.activity_type}")
        return self.outcomes(task)[0]

    async def failure(self, task: ActivityTask) -> Any:
        """The failure that was reported on one attempt."""
        outcome = await self.outcome(task)
        assert isinstance(outcome, FailActivity), outcome
        return outcome.failure

    async def started(self, task: ActivityTask) -> ActivityStarted:
        """The announcement of one attempt."""
        await eventually(lambda: bool(self.starts(task)), f"the start of {task.activity_type}")
        return self.starts(task)[0]

    def starts(self, task: ActivityTask) -> list[ActivityStarted]:
        """The announcements of one attempt."""
        return [body for body in self.owner.received(ActivityStarted) if body.activity == reference(task)]

    async def attend(self, task: ActivityTask, **what: bool) -> None:
        """Tell the worker of an announced attempt that something is the matter with it."""
        start = await self.started(task)
        self.owner.tell(start.worker, start.nonce, attention(start.activity, task.workflow_id, **what))


def reference(task: ActivityTask) -> ActivityReference:
    return ActivityReference(task.run_id, task.scheduled_event_id, task.attempt)


def payloads(*values: Any) -> Payloads:
    return DataConverter.default.payload_converter.to_payloads(values)


def values(of: Payloads) -> list[Any]:
    return DataConverter.default.payload_converter.from_payloads(of)


def attention(activity: ActivityReference, workflow_id: str, **what: bool) -> ActivityAttention:
    return ActivityAttention(workflow_id, activity.run_id, activity.scheduled_event_id, activity.attempt, **what)


def acknowledge(command: Command, *, granted: bool = True, cancel_requested: bool = False) -> Iterable[ReplyBody]:
    """What an owner says to an announcement."""
    if not isinstance(command.body, ActivityStarted):
        return ()
    activity = command.body.activity
    return [
        ActivityStartAcknowledged(
            command.workflow_id,
            activity.run_id,
            activity.scheduled_event_id,
            activity.attempt,
            command.body.nonce,
            granted,
            cancel_requested,
        )
    ]


def grant(command: Command) -> Iterable[ReplyBody]:
    """An owner to whom every attempt is welcome."""
    return acknowledge(command)
