"""What a command says while it waits, on stderr: nothing waits in silence, and nothing is said twice."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from perdure._log.errors import LogError, TopicNotFound
from perdure.client import Client, RPCError, RPCTimeoutOrCancelledError
from perdure_platform.cli.exits import typed
from perdure_platform.cli.options import DEFAULT_LOG
from perdure_platform.cli.output import failure_text, print_text
from perdure_platform.cli.patience import Patience
from perdure_schemas.replies import PendingActivity, WorkflowDescribed
from perdure_schemas.topics import tasks_topic, workers_group

NOBODY_SECONDS = 3.0
"""After so long without an answer, somebody who waits is told what may be missing."""

LOOK_FIRST_SECONDS = 1.0
LOOK_LAST_SECONDS = 10.0
"""While a result is awaited, the run is described after the first, and then ever less often."""

POLLERS_SECONDS = 5.0
"""What the question may take who polls a queue."""

T = TypeVar("T")


@dataclass
class Notices:
    """What one command says while it waits. `log_url` and `namespace` are as they were typed, for the commands that it names."""

    log_url: str
    namespace: str | None
    said: set[str] = field(default_factory=set)
    has_heard_owner: bool = False
    """Whether an owner has answered while a result was awaited."""

    def say(self, text: str) -> None:
        """Print a line on stderr, unless it was printed before."""
        if text not in self.said:
            self.said.add(text)
            print_text(f"perdure: {text}", err=True)

    def forget(self, text: str) -> None:
        """Let a line be printed again when it is true again."""
        self.said.discard(text)

    def typed(self, command: str, *names: str) -> str:
        """A command for this log and namespace as one types it."""
        where = []
        url = self.log_url.partition("?")[0]  # what follows may hold passwords
        if self.log_url not in (DEFAULT_LOG, os.environ.get("PERDURE_LOG")):
            where += ["--log", shlex.quote(url)]
        if self.namespace and self.namespace != os.environ.get("PERDURE_NAMESPACE"):
            where += ["--namespace", shlex.quote(self.namespace)]
        return typed(" ".join(["perdure", command, *where]), *names)

    def no_owner(self, where: str) -> str:
        """What is said where nobody answers."""
        return (
            f"no owner has answered for {where} yet. If none is running, start one: {self.typed('owner')} MODULE:NAME "
            "(after a crash, the next one waits until the session of the last is over)"
        )


def place_of(client: Client, workflow_id: str) -> str:
    """The partition of a workflow id, for messages. An id that cannot be one is refused by the call that is given it."""
    if not workflow_id.isprintable():
        return f"namespace {client.namespace!r}"
    return f"partition {client.connection.channel.partition_of(workflow_id)} of namespace {client.namespace!r}"


async def answered(call: Coroutine[Any, Any, T], notices: Notices, where: str) -> T:
    """Await the answer of an owner; say after a while that none has come yet."""
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait([task], timeout=NOBODY_SECONDS)
        if not done:
            notices.say(notices.no_owner(where))
        return await task
    finally:
        task.cancel()


class _Says(logging.Handler):
    def __init__(self, notices: Notices) -> None:
        super().__init__(logging.WARNING)
        self._notices = notices

    def emit(self, record: logging.LogRecord) -> None:
        self._notices.say(record.getMessage())


@asynccontextmanager
async def watched(client: Client, notices: Notices, workflow_id: str, run_id: str | None) -> AsyncIterator[None]:
    """Say what keeps a run from going on while its result is awaited: what blocks its code comes from the client, which is told at once;
    owners, workers and attempts that fail are looked for from time to time."""
    logger, handler = logging.getLogger("perdure.client"), _Says(notices)
    logger.addHandler(handler)
    watching = asyncio.create_task(_watch(client, notices, workflow_id, run_id))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def _watch(client: Client, notices: Notices, workflow_id: str, run_id: str | None) -> None:
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    nobody = notices.no_owner(place_of(client, workflow_id))
    patience = Patience("")
    idle_before: frozenset[str] = frozenset()
    pause_s = LOOK_FIRST_SECONDS
    while True:
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LOOK_LAST_SECONDS)
        try:
            described = (await handle.describe(rpc_timeout=patience.call(NOBODY_SECONDS))).raw_description
        except RPCTimeoutOrCancelledError:
            notices.say(nobody)
            continue
        except (RPCError, LogError):
            continue  # whoever waits for the result is told
        notices.has_heard_owner = True
        notices.forget(nobody)
        for activity in described.pending_activities:
            if activity.last_failure is not None:
                what = f"activity {activity.activity_id!r} ({activity.activity_type}) of workflow {workflow_id!r}"
                notices.say(f"{what} fails and is tried again: {failure_text(activity.last_failure)}")
        idle = await idle_queues(client, described, patience)
        for queue in sorted(idle & idle_before):  # a worker may be on its way
            notices.say(f"workflow {workflow_id!r} waits: {no_worker(notices, queue)}")
        idle_before = idle


def no_worker(notices: Notices, queue: str) -> str:
    """What is said of a queue that no worker polls."""
    return f"queue {queue!r} has no worker polling; start one: {notices.typed('worker')} MODULE:NAME"


def queue_of(described: WorkflowDescribed, activity: PendingActivity) -> str:
    """The task queue of a pending activity."""
    return activity.task_queue or described.summary.task_queue


async def idle_queues(client: Client, described: WorkflowDescribed, patience: Patience) -> frozenset[str]:
    """The queues on which activities of a run wait for a worker, and which none polls. Nothing is said of one that cannot be looked at."""
    waiting = {queue_of(described, one) for one in described.pending_activities if one.state in ("scheduled", "backing_off")}
    timeout_ms = round(patience.call(POLLERS_SECONDS).total_seconds() * 1000)
    return frozenset(await asyncio.to_thread(_without_poller, client, waiting, timeout_ms)) if waiting else frozenset()


def _without_poller(client: Client, queues: Iterable[str], timeout_ms: int) -> list[str]:
    log = client.connection.channel.log
    found = []
    for queue in queues:
        try:
            group = log.describe_group(workers_group(client.namespace, queue), tasks_topic(client.namespace, queue), timeout_ms)
            has_poller = bool(group.members)
        except TopicNotFound:  # a worker would have made it
            has_poller = False
        except LogError:  # the log is away, or this user may not look
            continue
        if not has_poller:
            found.append(queue)
    return found
