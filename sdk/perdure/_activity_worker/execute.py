"""Calls an activity's function: finds it, decodes its arguments, makes its info."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from perdure._activity_worker.cancel import ThreadCall
from perdure._activity_worker.poll import Delivery
from perdure._task_token import TaskToken
from perdure.activity import ActivityDefinition, Context, Info
from perdure.common import RawValue, RetryPolicy
from perdure.converter import PayloadConverter
from perdure.converter._payload import naming
from perdure.exceptions import ApplicationError
from perdure_schemas.tasks import ActivityTask
from perdure_schemas.text import text

_UTC_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Functions:
    """The activities of a worker, by name."""

    def __init__(self, activities: Sequence[Callable[..., Any]]) -> None:
        """Raises ValueError for what is not an activity, and for two of one name."""
        self._by_name: dict[str | None, tuple[ActivityDefinition, Callable[..., Any]]] = {}
        for one in activities:
            definition = ActivityDefinition.must_of(one)
            if isinstance(one, type):
                raise ValueError(f"the activity {definition.name!r} is a class; give an instance of {one.__qualname__}")
            if definition.name in self._by_name:
                raise ValueError(f"two activities are called {definition.name!r}; name one of them with @activity.defn(name=...)")
            self._by_name[definition.name] = (definition, one)

    def has_sync(self) -> bool:
        """Whether threads are needed."""
        return any(not definition.is_async for definition, _ in self._by_name.values())

    def find(self, name: str) -> tuple[ActivityDefinition, Callable[..., Any]]:
        """The activity of a name, or the dynamic one. Raises ApplicationError of type NotFoundError, which is retried (semantics 28)."""
        found = self._by_name.get(name) or self._by_name.get(None)
        if found is None:
            known = ", ".join(sorted(one for one in self._by_name if one)) or "none"
            raise ApplicationError(f"activity {name!r} is not registered on this worker, which knows: {known}", type="NotFoundError")
        return found


def check_executor(executor: Executor) -> Executor:
    """Return an executor that can run sync activities; raise ValueError for one that cannot."""
    if isinstance(executor, ProcessPoolExecutor):
        raise ValueError("activities cannot run in a ProcessPoolExecutor; give a ThreadPoolExecutor, and start processes from the activity")
    return executor


def arguments(definition: ActivityDefinition, task: ActivityTask, converter: PayloadConverter) -> list[Any]:
    """What the function is called with. Raises what the converter raises."""
    if definition.name is None:
        return [[RawValue(payload) for payload in task.input]]
    with naming(f"input of activity {task.activity_type!r}"):
        return converter.from_payloads(task.input, definition.parameters.of(len(task.input)))


async def call(
    definition: ActivityDefinition,
    function: Callable[..., Any],
    values: Sequence[Any],
    context: Context,
    executor: Executor,
    interruptible: Callable[[Callable[[], object] | None], None],
) -> Any:
    """Run the function. `interruptible` is told, before, how to interrupt it, and with None that it is over."""
    loop = asyncio.get_running_loop()
    if definition.is_async:
        current = asyncio.current_task()
        assert current is not None
        interruptible(current.cancel)
        try:
            return await function(*values)
        finally:
            interruptible(None)
            while current.cancelling():
                current.uncancel()
    thread_call = context.shield = ThreadCall(function, values)
    interruptible(None if definition.no_thread_cancel_exception else thread_call.interrupt)
    try:
        return await loop.run_in_executor(executor, contextvars.copy_context().run, _without_generator_exit, thread_call.run)
    finally:
        interruptible(None)


def _without_generator_exit(run: Callable[[], Any]) -> Any:
    """Thrown into the coroutine that waits for the thread, this exception would end that coroutine instead of the activity."""
    try:
        return run()
    except GeneratorExit as error:
        raise RuntimeError("the activity raised GeneratorExit") from error


def make_info(delivery: Delivery, namespace: str, converter: PayloadConverter, now_ms: int) -> Info:
    """What the activity may know. Raises ApplicationError, not to be retried, if heartbeat details cannot be read (semantics 26)."""
    task = delivery.task
    try:
        details = converter.from_payloads(task.heartbeat_details)
    except Exception as error:
        raise ApplicationError(
            f"the heartbeat details of an earlier attempt cannot be decoded: {text(error)}", type=type(error).__name__, non_retryable=True
        ) from error
    return Info(
        activity_id=task.activity_id,
        activity_type=task.activity_type,
        attempt=task.attempt,
        current_attempt_scheduled_time=_moment(task.attempt_scheduled_time_ms),
        heartbeat_details=details,
        heartbeat_timeout=_duration(task.heartbeat_timeout_ms),
        is_local=False,
        namespace=namespace,
        schedule_to_close_timeout=_duration(task.schedule_to_close_timeout_ms),
        scheduled_time=_moment(task.scheduled_time_ms),
        start_to_close_timeout=_duration(task.start_to_close_timeout_ms),
        started_time=_moment(now_ms),
        task_queue=task.task_queue,
        task_token=TaskToken(
            task.workflow_id, task.run_id, task.scheduled_event_id, task.attempt, delivery.token.decode("ascii", "replace")
        ).to_bytes(),
        workflow_id=task.workflow_id,
        workflow_namespace=namespace,
        workflow_run_id=task.run_id,
        workflow_type=task.workflow_type,
        retry_policy=RetryPolicy.from_options(task.retry_options),
    )


def _moment(milliseconds: int) -> datetime:
    return _UTC_EPOCH + timedelta(milliseconds=milliseconds)


def _duration(milliseconds: int) -> timedelta | None:
    return timedelta(milliseconds=milliseconds) if milliseconds else None
