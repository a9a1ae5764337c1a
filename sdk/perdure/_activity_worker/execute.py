"""Calls an activity's function and turns whatever comes of it into a report."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from typing import Any

from perdure import activity
from perdure._activity_worker.attempt import Attempt
from perdure._task_token import TaskToken
from perdure.activity import ActivityCancellationDetails, ActivityDefinition, CompleteAsyncError, Context, Event, Info
from perdure.common import RawValue, RetryPolicy
from perdure.converter import DataConverter
from perdure.exceptions import ApplicationError, CancelledError
from perdure_schemas.commands import CancelActivity, CommandBody, CompleteActivity, FailActivity
from perdure_schemas.errors import LimitExceeded
from perdure_schemas.limits import check_payloads
from perdure_schemas.tasks import ActivityTask


class Functions:
    """The activities of a worker, by name. Raises ValueError for two of one name."""

    def __init__(self, activities: tuple[Any, ...]) -> None:
        self._by_name: dict[str | None, tuple[ActivityDefinition, Any]] = {}
        for one in activities:
            definition = ActivityDefinition.must_of(one)
            if definition.name in self._by_name:
                raise ValueError(f"two activities are called {definition.name!r}")
            self._by_name[definition.name] = (definition, one)

    def find(self, name: str) -> tuple[ActivityDefinition, Any]:
        """The activity of a name, or the dynamic one. Raises ApplicationError of type NotFoundError, which is retried."""
        found = self._by_name.get(name) or self._by_name.get(None)
        if found is None:
            known = ", ".join(sorted(one for one in self._by_name if one)) or "none"
            raise ApplicationError(f"activity {name!r} is not registered with this worker, which knows: {known}", type="NotFoundError")
        return found


class Executing:
    """What all attempts of a worker share."""

    def __init__(
        self, functions: Functions, data_converter: DataConverter, executor: Executor, namespace: str, identity: str, shutdown: Event
    ) -> None:
        self._functions = functions
        self._converter = data_converter
        self._executor = executor
        self._namespace = namespace
        self._identity = identity
        self._shutdown = shutdown

    async def execute(self, attempt: Attempt) -> CommandBody | None:
        """Run the function; the report on it, or None where nothing is to be reported."""
        task = attempt.task
        loop = asyncio.get_running_loop()
        timer = None
        if task.start_to_close_timeout_ms:
            ended = ActivityCancellationDetails(timed_out=True)
            timer = loop.call_later(task.start_to_close_timeout_ms / 1000, attempt.cancel, ended)
        try:
            definition, function = self._functions.find(task.activity_type)
            arguments = self._arguments(definition, task)
            attempt.definition = definition
            attempt.context = context = self._context(attempt, loop)
            attempt.runner = asyncio.current_task()
            value = await self._call(attempt, context, definition, function, arguments)
            result = self._converter.payload_converter.to_payloads([value])
            check_payloads(f"result of activity {task.activity_type!r}", result)
            return CompleteActivity(attempt.reference, result, self._identity)
        except CompleteAsyncError:
            await attempt.announced()
            return None
        except LimitExceeded as error:
            return self._failure(attempt, ApplicationError(str(error), type="LimitExceeded", non_retryable=True))
        except (asyncio.CancelledError, CancelledError) as error:
            return self._cancelled(attempt, error)
        except Exception as error:  # noqa: BLE001 - whatever user code raises is data for the owner
            return self._failure(attempt, error)
        finally:
            attempt.runner = None
            if timer is not None:
                timer.cancel()

    def _arguments(self, definition: ActivityDefinition, task: ActivityTask) -> list[Any]:
        if definition.name is None:
            return [[RawValue(payload) for payload in task.input]]
        hints = definition.arguments
        usable = hints if hints is not None and len(hints) >= len(task.input) else None
        return self._converter.payload_converter.from_payloads(task.input, usable)

    async def _call(self, attempt: Attempt, context: Context, definition: ActivityDefinition, function: Any, arguments: list[Any]) -> Any:
        if attempt.details is not None:
            context.details = attempt.details
            context.cancelled.set()
            raise CancelledError
        token = activity._current.set(context)  # noqa: SLF001 - the other half of the same thing
        try:
            if definition.is_async:
                return await function(*arguments)
            copied = contextvars.copy_context()
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, copied.run, _in_thread, attempt, function, arguments)
        finally:
            activity._current.reset(token)  # noqa: SLF001

    def _cancelled(self, attempt: Attempt, error: BaseException) -> CommandBody | None:
        """A cancellation that was asked for, or one that the code made up: the owner tells them apart (semantics 24)."""
        current = asyncio.current_task()
        if current is not None:
            current.uncancel()
        details = attempt.details
        if details is not None and (details.not_found or details.timed_out):
            return None
        if details is not None and details.worker_shutdown:
            return self._failure(attempt, ApplicationError("the worker shut down before the activity ended", type="WorkerShutdown"))
        if details is not None and not details.cancel_requested:
            return self._failure(attempt, ApplicationError("the activity was cancelled: its heartbeat details cannot be encoded"))
        values = error.details if isinstance(error, CancelledError) else ()
        return CancelActivity(attempt.reference, self._converter.payload_converter.to_payloads(values), self._identity)

    def _failure(self, attempt: Attempt, error: BaseException) -> FailActivity:
        failure = self._converter.failure_converter.to_failure(error, self._converter.payload_converter)
        return FailActivity(attempt.reference, failure, self._identity, attempt.unsent_details())

    def _context(self, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> Context:
        return Context(
            info=self._info(attempt.task),
            payload_converter=self._converter.payload_converter,
            loop=loop,
            send_heartbeat=attempt.heartbeat,
            worker_shutdown=self._shutdown,
            cancelled=Event(),
        )

    def _info(self, task: ActivityTask) -> Info:
        return Info(
            activity_id=task.activity_id,
            activity_type=task.activity_type,
            attempt=task.attempt,
            current_attempt_scheduled_time=_moment(task.attempt_scheduled_time_ms),
            heartbeat_details=self._converter.payload_converter.from_payloads(task.heartbeat_details),
            heartbeat_timeout=_duration(task.heartbeat_timeout_ms),
            is_local=False,
            namespace=self._namespace,
            schedule_to_close_timeout=_duration(task.schedule_to_close_timeout_ms),
            scheduled_time=_moment(task.scheduled_time_ms),
            start_to_close_timeout=_duration(task.start_to_close_timeout_ms),
            started_time=datetime.now(UTC),
            task_queue=task.task_queue,
            task_token=TaskToken(task.workflow_id, task.run_id, task.scheduled_event_id, task.attempt).to_bytes(),
            workflow_id=task.workflow_id,
            workflow_namespace=self._namespace,
            workflow_run_id=task.run_id,
            workflow_type=task.workflow_type,
            retry_policy=RetryPolicy.from_options(task.retry_options),
        )


def _in_thread(attempt: Attempt, function: Any, arguments: list[Any]) -> Any:
    with attempt.thread_lock:
        attempt.thread_id = threading.get_ident()
    try:
        return function(*arguments)
    finally:
        with attempt.thread_lock:
            attempt.thread_id = 0


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


def _duration(milliseconds: int) -> timedelta | None:
    return timedelta(milliseconds=milliseconds) if milliseconds else None
