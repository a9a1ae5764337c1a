"""What workflow code can ask of its runtime. The runtime itself is `perdure._replay`; this module knows only its outline."""

from __future__ import annotations

import asyncio
import logging
import random as random_module
import sys
import traceback
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Unpack

from perdure._foreign_options import CONTINUE_AS_NEW, NoOptions, sift
from perdure.common import RetryPolicy
from perdure.converter import PayloadConverter
from perdure.workflow._definition import WorkflowDefinition
from perdure.workflow._errors import NotInWorkflowError
from perdure_schemas.payload import Payload


@dataclass(frozen=True)
class Info:
    """A run, as its code may know it. Times are UTC; timeouts that were not given are None."""

    attempt: int
    continued_run_id: str | None
    cron_schedule: str | None
    execution_timeout: timedelta | None
    first_execution_run_id: str
    headers: Mapping[str, Payload]
    namespace: str
    parent: None
    raw_memo: Mapping[str, Payload]
    retry_policy: RetryPolicy | None
    run_id: str
    run_timeout: timedelta | None
    start_time: datetime
    task_queue: str
    task_timeout: timedelta
    workflow_id: str
    workflow_start_time: datetime
    workflow_type: str

    def get_current_history_length(self) -> int:
        """Events in the history so far."""
        return Runtime.current().history_length()

    def get_current_history_size(self) -> int:
        """Bytes in the history so far, roughly."""
        return Runtime.current().history_size()

    def is_continue_as_new_suggested(self) -> bool:
        """Whether the history has grown so long that a new run is advisable."""
        return Runtime.current().is_continue_as_new_suggested()


@dataclass(frozen=True)
class ActivityOptions:
    """How an activity is to be run; see `start_activity`."""

    task_queue: str | None = None
    result_type: Any = None
    schedule_to_close_timeout: timedelta | None = None
    schedule_to_start_timeout: timedelta | None = None
    start_to_close_timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    retry_policy: RetryPolicy | None = None
    cancellation_type: Any = None
    activity_id: str | None = None


class Runtime(ABC):
    """The outline of what runs a workflow."""

    __slots__ = ()

    @staticmethod
    def current() -> Runtime:
        """The runtime of the code that calls. Raises NotInWorkflowError outside of a workflow."""
        runtime = Runtime.maybe_current()
        if runtime is None:
            raise NotInWorkflowError("this works only inside of a workflow: call it from a run method or a handler")
        return runtime

    @staticmethod
    def maybe_current() -> Runtime | None:
        """The same, or None."""
        loop = asyncio._get_running_loop()  # noqa: SLF001 - the one that does not raise
        return getattr(loop, "perdure_runtime", None)

    definition: WorkflowDefinition
    payload_converter: PayloadConverter
    is_replaying: bool
    is_read_only: bool

    @property
    @abstractmethod
    def info(self) -> Info: ...

    @abstractmethod
    def now_ms(self) -> int: ...

    @abstractmethod
    def instance(self) -> Any: ...

    @abstractmethod
    def random(self) -> random_module.Random: ...

    @abstractmethod
    def history_length(self) -> int: ...

    @abstractmethod
    def history_size(self) -> int: ...

    @abstractmethod
    def is_continue_as_new_suggested(self) -> bool: ...

    @abstractmethod
    def cancellation_reason(self) -> str | None: ...

    @abstractmethod
    def is_failure_exception(self, error: BaseException) -> bool: ...

    @abstractmethod
    def last_failure(self) -> BaseException | None: ...

    @abstractmethod
    def patched(self, patch_id: str, *, deprecated: bool) -> bool: ...

    @abstractmethod
    async def sleep(self, seconds: float) -> None: ...

    @abstractmethod
    async def wait_condition(self, fn: Callable[[], bool], timeout_seconds: float | None) -> None: ...

    @abstractmethod
    def start_activity(self, name: str, arguments: Sequence[Any], options: ActivityOptions) -> Any: ...

    @abstractmethod
    async def signal_external(self, workflow_id: str, run_id: str, name: str, arguments: Sequence[Any]) -> None: ...

    @abstractmethod
    async def cancel_external(self, workflow_id: str, run_id: str, reason: str) -> None: ...

    @abstractmethod
    def continue_as_new(self, arguments: Sequence[Any], options: Mapping[str, Any]) -> NoReturn: ...

    @abstractmethod
    def set_signal_handler(self, name: str | None, handler: Callable[..., Any] | None) -> None: ...

    @abstractmethod
    def get_signal_handler(self, name: str | None) -> Callable[..., Any] | None: ...

    @abstractmethod
    def set_query_handler(self, name: str | None, handler: Callable[..., Any] | None) -> None: ...

    @abstractmethod
    def get_query_handler(self, name: str | None) -> Callable[..., Any] | None: ...

    @abstractmethod
    def all_handlers_finished(self) -> bool: ...

    @abstractmethod
    @contextmanager
    def unrestricted(self) -> Iterator[None]:
        yield


def info() -> Info:
    """The run that calls."""
    return Runtime.current().info


def instance() -> Any:
    """The workflow object that calls."""
    return Runtime.current().instance()


def in_workflow() -> bool:
    """Whether the caller is workflow code."""
    return Runtime.maybe_current() is not None


def now() -> datetime:
    """The time of this activation, the same on replay; UTC."""
    return datetime.fromtimestamp(Runtime.current().now_ms() / 1000, tz=UTC)


def time() -> float:
    """The same in seconds since 1970."""
    return Runtime.current().now_ms() / 1000


def time_ns() -> int:
    """The same in nanoseconds."""
    return Runtime.current().now_ms() * 1_000_000


def random() -> random_module.Random:
    """A generator that gives the same numbers on replay."""
    return Runtime.current().random()


def uuid4() -> uuid.UUID:
    """A UUID that is the same on replay."""
    return uuid.UUID(bytes=Runtime.current().random().getrandbits(128).to_bytes(16, "big"), version=4)


def payload_converter() -> PayloadConverter:
    """The converter of this workflow's values."""
    return Runtime.current().payload_converter


def memo() -> Mapping[str, Any]:
    """The memo that the workflow was started with, decoded."""
    runtime = Runtime.current()
    return {name: runtime.payload_converter.from_payload(payload) for name, payload in runtime.info.raw_memo.items()}


_MISSING: Any = object()


def memo_value(key: str, default: Any = _MISSING, *, type_hint: Any = None) -> Any:
    """One value of the memo. Raises KeyError if it is not there and no default is given."""
    runtime = Runtime.current()
    payload = runtime.info.raw_memo.get(key)
    if payload is None:
        if default is _MISSING:
            raise KeyError(f"the memo has no value {key!r}")
        return default
    return runtime.payload_converter.from_payload(payload, type_hint)


def cancellation_reason() -> str | None:
    """Why cancellation was requested; None if it was not."""
    return Runtime.current().cancellation_reason()


def is_failure_exception(error: BaseException) -> bool:
    """Whether `error`, raised from this workflow, would fail it rather than block it."""
    return Runtime.current().is_failure_exception(error)


def get_last_failure() -> BaseException | None:
    """What failed the run before this one, if this one is a retry."""
    return Runtime.current().last_failure()


def patched(id: str) -> bool:  # noqa: A002 - the name that users know
    """True where the new code should run: in runs that reach this line for the first time, and in those that took it before."""
    return Runtime.current().patched(id, deprecated=False)


def deprecate_patch(id: str) -> None:  # noqa: A002 - the name that users know
    """Say that no run needs the code from before the patch any more."""
    Runtime.current().patched(id, deprecated=True)


async def sleep(duration: float | timedelta, *, summary: str | None = None) -> None:
    """Wait; a timer in the log, so it may last for years. Raises RuntimeError for a negative duration."""
    del summary
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if seconds < 0:
        raise RuntimeError(f"a workflow cannot sleep for {seconds} s")
    await Runtime.current().sleep(seconds)


async def wait_condition(
    fn: Callable[[], bool],
    *,
    timeout: timedelta | float | None = None,  # noqa: ASYNC109 - the name that users know
    timeout_summary: str | None = None,
) -> None:
    """Wait until `fn` is true. It is looked at whenever the code has gone as far as it can.

    Raises TimeoutError after `timeout`; 0 raises at once.
    """
    del timeout_summary
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    await Runtime.current().wait_condition(fn, seconds)


def all_handlers_finished() -> bool:
    """Whether no signal handler is under way; to wait for before the workflow ends."""
    return Runtime.current().all_handlers_finished()


def set_signal_handler(name: str, handler: Callable[..., Any] | None) -> None:
    """Handle a signal from now on; those of this name that came before are delivered at once.

    Values are decoded as the parameters of `handler` are annotated.
    """
    Runtime.current().set_signal_handler(name, handler)


def get_signal_handler(name: str) -> Callable[..., Any] | None:
    """The handler of a signal."""
    return Runtime.current().get_signal_handler(name)


def set_dynamic_signal_handler(handler: Callable[..., Any] | None) -> None:
    """Handle signals that have no handler of their own; those that came before are delivered at once.

    The handler takes `(name: str, args: Sequence[RawValue])`; one with `*args` gets decoded values. Raises ValueError for others.
    """
    Runtime.current().set_signal_handler(None, handler)


def get_dynamic_signal_handler() -> Callable[..., Any] | None:
    """The handler of signals that have none of their own."""
    return Runtime.current().get_signal_handler(None)


def set_query_handler(name: str, handler: Callable[..., Any] | None) -> None:
    """Answer a query from now on. Values are decoded as the parameters of `handler` are annotated."""
    Runtime.current().set_query_handler(name, handler)


def get_query_handler(name: str) -> Callable[..., Any] | None:
    """The handler of a query."""
    return Runtime.current().get_query_handler(name)


def set_dynamic_query_handler(handler: Callable[..., Any] | None) -> None:
    """Answer queries that have no handler of their own. It takes what `set_dynamic_signal_handler` says."""
    Runtime.current().set_query_handler(None, handler)


def get_dynamic_query_handler() -> Callable[..., Any] | None:
    """The handler of queries that have none of their own."""
    return Runtime.current().get_query_handler(None)


def continue_as_new(
    arg: Any = _MISSING,
    *,
    args: Sequence[Any] = (),
    workflow: Callable[..., Any] | str | None = None,
    task_queue: str | None = None,
    run_timeout: timedelta | None = None,
    task_timeout: timedelta | None = None,
    backoff_start_interval: timedelta | None = None,
    retry_policy: RetryPolicy | None = None,
    memo: Mapping[str, Any] | None = None,
    **others: Unpack[NoOptions],
) -> NoReturn:
    """End this run and start the next one of the same workflow id, with an empty history. What is not given is inherited."""
    sift("workflow.continue_as_new", others, CONTINUE_AS_NEW)
    options = {
        "workflow": workflow,
        "task_queue": task_queue,
        "run_timeout": run_timeout,
        "task_timeout": task_timeout,
        "backoff_start_interval": backoff_start_interval,
        "retry_policy": retry_policy,
        "memo": memo,
    }
    Runtime.current().continue_as_new(positional(arg, args), options)


def positional(arg: Any, args: Sequence[Any]) -> list[Any]:
    """The arguments of a call that takes `arg` or `args`. Raises ValueError for both."""
    if arg is not _MISSING and args:
        raise ValueError("give arg or args, not both")
    return [arg] if arg is not _MISSING else list(args)


class unsafe:  # noqa: N801 - a namespace, as users know it
    """What to know, and to lift, with care."""

    @staticmethod
    def is_replaying() -> bool:
        """Whether the code is being taken again through what it has done before."""
        return Runtime.current().is_replaying

    @staticmethod
    def is_read_only() -> bool:
        """Whether the caller is a query."""
        return Runtime.current().is_read_only

    @staticmethod
    @contextmanager
    def imports_passed_through() -> Iterator[None]:
        """Accepted, and without effect: modules are never imported twice."""
        yield

    @staticmethod
    @contextmanager
    def sandbox_unrestricted() -> Iterator[None]:
        """Let code touch clocks, files and the rest. What it does there must not change what the workflow does."""
        runtime = Runtime.maybe_current()
        if runtime is None:
            yield
            return
        with runtime.unrestricted():
            yield


class LoggerAdapter(logging.LoggerAdapter[logging.Logger]):
    """Logs with the run's names, and not at all during replay unless `log_during_replay` is set."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger, {})
        self.workflow_info_on_message = True
        self.workflow_info_on_extra = True
        self.log_during_replay = False

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the run's names to the message and to the record."""
        runtime = Runtime.maybe_current()
        if runtime is not None:
            names = _names(runtime.info)
            if self.workflow_info_on_message:
                msg = f"{msg} ({names})"
            if self.workflow_info_on_extra:
                extra = {"temporal_workflow": names, **names, **(kwargs.get("extra") or {})}
                kwargs = {**kwargs, "extra": extra}
        return msg, kwargs

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """Quiet while history is replayed; a query is heard."""
        runtime = Runtime.maybe_current()
        if runtime is not None and runtime.is_replaying and not runtime.is_read_only and not self.log_during_replay:
            return False
        return super().isEnabledFor(level)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Handlers may look at clocks and write to files, and fail; that is not the workflow's doing, nor seen by it: replay is silent."""
        if not self.isEnabledFor(level):
            return
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # the record names the caller's line, not this method's
        with unsafe.sandbox_unrestricted():
            try:
                super().log(level, msg, *args, **kwargs)
            except Exception:  # noqa: BLE001 - as above
                if logging.raiseExceptions and sys.stderr:  # as logging itself tells of such an error
                    traceback.print_exc(file=sys.stderr)


def _names(info: Info) -> dict[str, Any]:
    return {
        "attempt": info.attempt,
        "namespace": info.namespace,
        "run_id": info.run_id,
        "task_queue": info.task_queue,
        "workflow_id": info.workflow_id,
        "workflow_type": info.workflow_type,
    }


logger = LoggerAdapter(logging.getLogger("perdure.workflow"))
"""Logs from workflow code, once per event rather than once per replay."""
