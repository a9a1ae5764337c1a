"""The worker: runs the activities of a queue and, given workflows, owns partitions as well (design.md 6)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

from perdure._activity_worker import ActivityWorker
from perdure._embed import Owner, make_owner
from perdure._foreign_options import WORKER, sift
from perdure._replay.registry import Registry
from perdure._replay.runtime import DEADLOCK_TIMEOUT_MS, CodeHost
from perdure.client import Client
from perdure.client._arguments import expect

_logger = logging.getLogger("perdure.worker")

_READY_MS = 60_000
_WATCH_S = 0.2
_STOP_MS = 10_000


class WorkerOptions(TypedDict, total=False):
    """Keywords of `Worker` that are known from Temporal's SDK and have no effect here: there are no workflow tasks to poll for."""

    nexus_task_executor: Any
    workflow_task_executor: Any
    max_concurrent_workflow_tasks: int | None
    max_concurrent_local_activities: int | None
    max_concurrent_nexus_tasks: int | None
    workflow_task_poller_behavior: Any
    activity_task_poller_behavior: Any
    nexus_task_poller_behavior: Any
    max_concurrent_workflow_task_polls: int | None
    max_concurrent_activity_task_polls: int | None
    nonsticky_to_sticky_poll_ratio: float
    sticky_queue_schedule_to_start_timeout: timedelta
    max_heartbeat_throttle_interval: timedelta
    default_heartbeat_throttle_interval: timedelta
    max_eager_activity_reservations_per_workflow_task: int
    disable_eager_activity_execution: bool
    disable_safe_workflow_eviction: bool
    disable_payload_error_limit: bool
    max_workflow_task_external_storage_concurrency: int
    build_id: str | None


class Worker:
    """Runs activities of one task queue, and workflows if it is given any. Use it as a context manager, or call `run`.

    With workflows this process is an owner: it takes partitions of the whole namespace, so every owner must be given all
    workflows of the namespace. `store_directory` keeps the owner's state between runs; without it a temporary one is rebuilt
    from the log at each start. `token_keys` is a file of secret keys with which owners sign tasks (deploy/SECURITY.md).
    """

    def __init__(
        self,
        client: Client,
        *,
        task_queue: str,
        workflows: Sequence[type] = (),
        activities: Sequence[Callable[..., Any]] = (),
        activity_executor: Executor | None = None,
        max_concurrent_activities: int | None = None,
        graceful_shutdown_timeout: timedelta = timedelta(0),
        workflow_failure_exception_types: Sequence[type[BaseException]] = (),
        identity: str | None = None,
        session_timeout: timedelta = timedelta(seconds=10),
        store_directory: str | Path | None = None,
        token_keys: str | Path | None = None,
        on_fatal_error: Callable[[BaseException], Awaitable[None]] | None = None,
        max_cached_workflows: int | None = None,
        debug_mode: bool = False,
        **options: Unpack[WorkerOptions],
    ) -> None:
        """Check what is given; nothing runs yet. Raises ValueError, TypeError or RegistryError that says what to repair.

        `max_cached_workflows` bounds the runs that are kept in memory between two activations. With `debug_mode` (or the environment
        variable TEMPORAL_DEBUG) workflow code may stand still in a debugger. `options` are known from Temporal's SDK and have no effect;
        others of it are refused by name.
        """
        sift("Worker", options, WORKER)
        expect("client", client, Client)
        expect("task_queue", task_queue, str)
        for name, value in {
            "workflows": workflows,
            "activities": activities,
            "workflow_failure_exception_types": workflow_failure_exception_types,
        }.items():
            expect(name, value, Sequence)
        for one in workflow_failure_exception_types:
            if not (isinstance(one, type) and issubclass(one, BaseException)):
                raise TypeError(f"workflow_failure_exception_types has {one!r}, and must have classes of exceptions")
        expect("activity_executor", activity_executor, Executor, optional=True)
        expect("graceful_shutdown_timeout", graceful_shutdown_timeout, timedelta)
        expect("session_timeout", session_timeout, timedelta)
        expect("identity", identity, str, optional=True)
        for name, count in {"max_concurrent_activities": max_concurrent_activities, "max_cached_workflows": max_cached_workflows}.items():
            expect(name, count, int, optional=True)
            if count is not None and count < 0:
                raise ValueError(f"{name} is {count}, and must be 0 or more")
        if not workflows and not activities:
            raise ValueError(
                "a worker needs workflows, activities or both: pass activities=[...] for a queue's activities, workflows=[...] to own "
                "partitions as well"
            )
        self._client = client
        self._registry = Registry(
            task_queue=task_queue,
            workflows=tuple(workflows),
            activities=tuple(activities),
            data_converter=client.data_converter,
            workflow_failure_exception_types=tuple(workflow_failure_exception_types),
            activity_executor=activity_executor,
            max_concurrent_activities=max_concurrent_activities,
        )
        self._identity = identity or client.identity
        self._session_timeout_ms = max(1, round(session_timeout.total_seconds() * 1000))
        self._store_directory = None if store_directory is None else Path(store_directory)
        self._token_keys = None if token_keys is None else Path(token_keys)
        self._on_fatal_error = on_fatal_error
        self._cached_runs_max = None if max_cached_workflows is None else max(1, max_cached_workflows)
        self._deadlock_timeout_ms = 0 if debug_mode or os.environ.get("TEMPORAL_DEBUG") else DEADLOCK_TIMEOUT_MS
        self._stop_asked = asyncio.Event()
        self._ready = asyncio.Event()
        self._finished = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._body: asyncio.Task[Any] | None = None
        self._fatal: BaseException | None = None
        self._interrupted = False
        self._running = False
        self._ended = False
        self._activity_worker = self._make_activity_worker(graceful_shutdown_timeout) if activities else None

    def _make_activity_worker(self, graceful_shutdown_timeout: timedelta) -> ActivityWorker:
        registry = self._registry
        return ActivityWorker(
            self._client.connection.channel,
            registry.task_queue,
            registry.activities,
            data_converter=registry.data_converter,
            executor=registry.activity_executor,
            max_concurrent_activities=registry.max_concurrent_activities,
            graceful_shutdown_timeout_ms=round(graceful_shutdown_timeout.total_seconds() * 1000),
            identity=self._identity,
            session_timeout_ms=self._session_timeout_ms,
        )

    @property
    def client(self) -> Client:
        """The client whose connection this worker uses."""
        return self._client

    @property
    def task_queue(self) -> str:
        """The queue whose activities this worker runs."""
        return self._registry.task_queue

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._running

    @property
    def is_shutdown(self) -> bool:
        """Whether it has ended."""
        return self._ended

    async def run(self) -> None:
        """Work until `shutdown` is called, or this call is cancelled. Raises what ended the owner or the activity worker."""
        if self._running or self._ended:
            raise RuntimeError("a worker runs once; make a new one")
        self._running = True
        try:
            await self._serve()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._fatal = error
            _logger.critical("the worker of queue %r failed", self.task_queue, exc_info=True)
            if self._on_fatal_error is not None:
                await self._on_fatal_error(error)
            raise
        finally:
            self._running = False
            self._ended = True
            self._finished.set()

    async def shutdown(self) -> None:
        """Stop taking work, let activities end within the graceful timeout, hand partitions over; returns when all that is done."""
        self._stop_asked.set()
        if self._running:
            await self._finished.wait()

    async def __aenter__(self) -> Self:
        self._body = asyncio.current_task()
        self._task = asyncio.create_task(self.run(), name=f"perdure-worker-{self.task_queue}")
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait([self._task, ready], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()
            await asyncio.wait([self._task])
            raise
        finally:
            ready.cancel()
        if self._task.done():
            await self._task
        self._task.add_done_callback(self._interrupt_body)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        body, self._body = self._body, None
        assert self._task is not None
        self._stop_asked.set()
        try:
            await asyncio.wait([self._task])
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
        if self._interrupted and body is not None:
            body.uncancel()  # it was cancelled by this worker and by nobody else
        if self._fatal is not None:
            raise self._fatal
        if not self._task.cancelled():
            self._task.result()

    def _interrupt_body(self, task: asyncio.Task[None]) -> None:
        """Nothing that the body waits for may ever come once its worker has failed."""
        if self._body is not None and not task.cancelled() and task.exception() is not None:
            self._interrupted = True
            self._body.cancel()

    async def _serve(self) -> None:
        """Run the parts side by side; the first that fails ends the others."""
        owner = self._make_owner()
        parts: list[asyncio.Task[None]] = []
        stop = asyncio.create_task(self._stop_asked.wait(), name="perdure-worker-stop")
        try:
            if owner is not None:
                await self._start_owner(owner)
                parts.append(asyncio.create_task(_watch(owner), name="perdure-owner-watch"))
            if self._activity_worker is not None:
                parts.append(asyncio.create_task(self._activity_worker.run(), name="perdure-activity-worker"))
            self._ready.set()
            await asyncio.wait([stop, *parts], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            await self._end(owner, parts)
        for part in parts:
            if not part.cancelled() and (error := part.exception()) is not None:
                raise error

    def _make_owner(self) -> Owner | None:
        registry = self._registry
        if not registry.workflows:
            return None
        host = CodeHost(
            registry.workflows,
            data_converter=registry.data_converter,
            workflow_failure_exception_types=registry.workflow_failure_exception_types,
            deadlock_timeout_ms=self._deadlock_timeout_ms,
        )
        return make_owner(
            self._client.connection.channel.log,
            self._client.namespace,
            host,
            store_directory=self._store_directory,
            identity=self._identity,
            session_timeout_ms=self._session_timeout_ms,
            token_keys=self._token_keys,
            cached_runs_max=self._cached_runs_max,
        )

    async def _start_owner(self, owner: Owner) -> None:
        owner.start()
        ready = await asyncio.to_thread(owner.wait_ready, _READY_MS)
        if owner.failure is not None:
            raise owner.failure
        if not ready:
            _logger.warning("the owner still folds its partitions after %d s; workflows wait for it", _READY_MS // 1000)

    async def _end(self, owner: Owner | None, parts: list[asyncio.Task[None]]) -> None:
        """Activities first, so that the owner can still take their results."""
        if self._activity_worker is not None:
            await self._activity_worker.shutdown()
        for part in parts:
            if part.get_name() == "perdure-owner-watch":
                part.cancel()
        if parts:
            await asyncio.wait(parts)
        if owner is not None:
            with suppress(TimeoutError):
                await owner.stop(_STOP_MS)


async def _watch(owner: Owner) -> None:
    """Raise what ended the owner."""
    while owner.failure is None:  # noqa: ASYNC110 - the owner is a thread and knows no loop
        await asyncio.sleep(_WATCH_S)
    raise owner.failure
