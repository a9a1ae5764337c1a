"""One run's code between activations: runs it until every coroutine is blocked, and collects what it asks for.

The order of an activation is part of the format (semantics 5.1): signals first, in the order of arrival, until nothing moves; then
everything else, until nothing moves. Conditions are looked at when nothing is ready. That is recorded in a run's first activation, as
flags; a run keeps the behaviour that it began with.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import math
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NoReturn

from perdure._replay import actions, border, groups_of_errors, refuse
from perdure._replay.actions import Action
from perdure._replay.border import ActionT
from perdure._replay.host import Activated, Activation, ActivationError, QueryError, RunStart
from perdure._replay.loop import WorkflowLoop, WorkflowTimerHandle, no_context
from perdure._replay.matching import PATCH_MARKER, Mismatch, match
from perdure._replay.pending import Evicted, PendingActivity, PendingExternal, PendingTimer
from perdure._replay.values_before import converter_before
from perdure._replay.watchdog import ActivationInterrupted, Watchdog
from perdure._telemetry.quiet import QuietLogger
from perdure.common import RawValue, RetryPolicy
from perdure.converter import DataConverter
from perdure.converter._failure import failure_of, writable
from perdure.converter._payload import naming
from perdure.exceptions import ActivityError, CancelledError, FailureError, is_cancelled_exception
from perdure.workflow._context import ActivityOptions, Info, Runtime
from perdure.workflow._definition import (
    HandlerUnfinishedPolicy,
    QueryDefinition,
    SignalDefinition,
    WorkflowDefinition,
    check_dynamic,
)
from perdure.workflow._errors import ContinueAsNewError, NondeterminismError, ReadOnlyContextError
from perdure_schemas import events
from perdure_schemas.events import Event
from perdure_schemas.failure import ActivityFailureInfo, ApplicationFailureInfo, CanceledFailureInfo, Failure, RetryState
from perdure_schemas.limits import DURATION_MS_MAX, HISTORY_LENGTH_SUGGEST
from perdure_schemas.options import ActivityCancellationType
from perdure_schemas.payload import Payload, Payloads
from perdure_schemas.text import kind_of, text

SIGNALS_FIRST = 1
"""Flag: signals of an activation run to their first wait before anything else of it is applied."""

SETTLED_STAYS = 2
"""Flag: what ends in the very activation in which the code gives it up is not cancelled any more. Code that a signal moved on may give a
timer up that has fired by then."""

OWN_DEADLINES = 3
"""Flag: a condition's timeout is the runtime's own. asyncio's takes one step more in Python 3.11 than it does in 3.12."""

CREATION_ORDER = 4
"""Flag: groups, waits, deadlines and locks are Perdure's own (`primitives`), and hashes of tasks and futures come from what user code
made. asyncio's differ between versions of Python. A group of exceptions is what its members are (`groups_of_errors`)."""

TYPED_VALUES = 10
"""Flag: values are read as their hints say or not at all (`values_before` has what was), also by handlers set at run time."""

BEHAVIOUR = (SIGNALS_FIRST, SETTLED_STAYS, OWN_DEADLINES, CREATION_ORDER, TYPED_VALUES)

HISTORY_BYTES_SUGGEST = 4 * 1024 * 1024
"""Bytes of history after which continue-as-new is suggested."""

EVICTION_HANDLES_MAX = 10_000
"""Callbacks that finally blocks get when a run is dropped."""

EVICTION_EXITS_MAX = 10
"""How often a coroutine of a dropped run is told to end."""

_unending: list[Any] = []
"""Coroutines that do not end; kept, because collecting them would resume their code wherever that happens."""

_NO_IDS: frozenset[int] = frozenset()
_NO_NAMES: frozenset[str] = frozenset()
_NO_PATCHES: Mapping[str, bool] = MappingProxyType({})

_logger = QuietLogger("perdure.workflow")


class CodeInstance(Runtime):
    """A run of a workflow class. Everything of the run lives here, and nothing of it elsewhere.

    There are as many of these as runs in memory, and nearly all of them wait: what is empty is shared or absent, and made when needed.
    """

    __slots__ = (
        "__weakref__",
        "_activity_count",
        "_arguments",
        "_buffered",
        "_cancel_reason",
        "_close",
        "_conditions",
        "_error",
        "_failure_types",
        "_failures",
        "_flags",
        "_handlers",
        "_history_bytes",
        "_history_length",
        "_info",
        "_interrupted",
        "_is_typed",
        "_loop",
        "_new",
        "_object",
        "_patches",
        "_pending",
        "_primary",
        "_queries",
        "_random",
        "_recorded_patches",
        "_requested",
        "_settled",
        "_signals",
        "_start",
        "_time_ms",
        "_timer_count",
        "_watchdog",
        "definition",
        "is_read_only",
        "is_replaying",
        "payload_converter",
    )

    def __init__(
        self,
        definition: WorkflowDefinition,
        start: RunStart,
        flags: tuple[int, ...],
        data_converter: DataConverter,
        failure_types: tuple[type[BaseException], ...],
        watchdog: Watchdog,
    ) -> None:
        self.definition = definition
        self._is_typed = not flags or TYPED_VALUES in flags  # none: this run begins now
        self.payload_converter = data_converter.payload_converter if self._is_typed else converter_before(data_converter.payload_converter)
        self._failures = data_converter.failure_converter
        self._start = start
        self._failure_types = definition.failure_exception_types + failure_types
        self._watchdog = watchdog
        self._flags = _flag_set(flags)
        self._settled: frozenset[int] = _NO_IDS
        """What ends in the activation under way."""
        self._info: Info | None = None
        self.is_replaying = False
        self.is_read_only = False
        self._loop = WorkflowLoop(self)  # type: ignore[abstract]  # the rest is refused
        self._random: random.Random | None = None
        self._object: Any = None
        self._arguments: list[Any] | None = None
        self._primary: asyncio.Task[None] | None = None
        self._signals = definition.signals
        self._queries = definition.queries
        self._buffered: list[events.WorkflowExecutionSignaled] = []
        self._handlers: dict[asyncio.Task[None], SignalDefinition] | None = None
        self._conditions: list[tuple[Callable[[], bool], asyncio.Future[None]]] | None = None
        self._requested: list[Action] | None = None
        self._close: actions.CloseAction | None = None
        self._error: BaseException | None = None
        self._interrupted = False
        self._new: list[PendingActivity | PendingTimer | PendingExternal] | None = None
        self._pending: dict[int, PendingActivity | PendingTimer | PendingExternal] = {}
        """What the code waits for, by the event that began it."""
        self._activity_count = 0
        self._timer_count = 0
        self._patches: Mapping[str, bool] = _NO_PATCHES
        self._recorded_patches: frozenset[str] = _NO_NAMES
        self._cancel_reason: str | None = None
        self._time_ms = start.start_time_ms
        self._history_length = 0
        self._history_bytes = 0

    # -- WorkflowInstance

    def activate(self, activation: Activation) -> Activated:
        """Run the code until every coroutine is blocked. Raises ActivationError."""
        if unknown := sorted(self._flags.difference(BEHAVIOUR)):
            text = f"it began with behaviour {unknown} of a newer build: run the owner with that build"
            raise self._failed(NondeterminismError(f"workflow {self._start.workflow_id!r}, run {self._start.run_id}: {text}"))
        self._time_ms = max(self._time_ms, activation.time_ms)
        self._loop.now_seconds = self._time_ms / 1000
        self._history_length = activation.first_produced_event_id - 1
        self._history_bytes = activation.history_size_bytes
        self.is_replaying = activation.recorded is not None
        self._recorded_patches = _recorded_patches(activation.recorded) if activation.recorded else _NO_NAMES
        new_flags = () if self._flags else BEHAVIOUR
        self._flags = self._flags or _flag_set(BEHAVIOUR)
        self._loop.is_by_creation = CREATION_ORDER in self._flags
        self._settled = _settled(activation.inbound) if SETTLED_STAYS in self._flags else _NO_IDS
        refused = contextvars.copy_context().run(self._run, activation)  # what the code sets is not seen by other runs
        error = self._error or refused
        if error is not None:
            raise self._failed(error)
        try:
            requested = self._collect()
        except Exception as problem:  # a warning, where those are errors
            raise self._failed(problem) from problem
        if activation.recorded is None:
            ids = list(range(activation.first_produced_event_id, activation.first_produced_event_id + len(requested)))
        else:
            try:
                ids = match(requested, activation.recorded, activation.first_produced_event_id)
            except Mismatch as mismatch:
                text = f"[nondeterminism] workflow {self._start.workflow_id!r}, run {self._start.run_id}: {mismatch}"
                raise self._failed(NondeterminismError(text)) from None
        self._number(requested, ids)
        return Activated(tuple(requested), new_flags)

    def query(self, query_type: str, args: Payloads, header: dict[str, Payload]) -> Payloads:
        """Call a query handler. Raises QueryError."""
        del header
        handler = self._queries.get(query_type) or self._queries.get(None)
        if handler is None and query_type != "__stack_trace":
            known = ", ".join(sorted(name for name in self._queries if name)) or "none"
            raise QueryError(
                Failure(f"workflow {self._start.workflow_id!r} has no query {query_type!r}; it has: {known}", source="perdure")
            )
        self.is_read_only = self.is_replaying = True
        try:
            with self._on_loop():
                return contextvars.copy_context().run(self._answer, handler, query_type, args)
        except BaseException as error:  # whatever user code raises, the owner goes on
            if self._interrupted:
                text = f"query {query_type!r} ran for more than {self._watchdog.timeout_ms} ms, and was interrupted"
                raise QueryError(Failure(f"[deadlock] {text}", source="perdure")) from error
            raise QueryError(self._failure(error)) from error
        finally:
            self.is_read_only = self.is_replaying = False

    def _answer(self, handler: QueryDefinition | None, query_type: str, args: Payloads) -> Payloads:
        is_trace = handler is None or query_type == "__stack_trace"
        value = self._stack_trace() if is_trace else self._ask(handler, query_type, args)  # type: ignore[arg-type]  # None is a trace
        return self._encode(f"answer of query {query_type!r}", [value])

    def close(self) -> None:
        """Drop the coroutines: finally blocks run, and can ask for nothing."""
        if self._loop.is_closing:
            return
        self._loop.is_closing = True
        self.is_replaying = True
        with self._loop.running():
            try:
                self._watchdog.begin(f"dropping workflow {self._start.workflow_id!r}, run {self._start.run_id}")
                with refuse.waits_refused():
                    contextvars.copy_context().run(self._unwind)
            except BaseException as error:  # noqa: BLE001 - nothing that dropped code does may reach the owner
                _logger.debug("workflow %r: %r while it was dropped", self._start.workflow_id, error)
            finally:
                self._watchdog.end()
        self._loop.drop()
        self._object = self._primary = None
        self._handlers = None
        self._conditions = None
        self._pending.clear()

    def _unwind(self) -> None:
        for task in self._loop.open_tasks():
            task.cancel()
        try:
            self._loop.run_until_blocked(EVICTION_HANDLES_MAX)
        finally:
            # What is suspended all the same is ended here, or the garbage collector would do it, in the midst of another run.
            for task in self._loop.open_tasks():
                _end_coroutine(task.get_coro())

    # -- one activation

    def _run(self, activation: Activation) -> BaseException | None:
        refused: BaseException | None = None
        try:
            with self._on_loop():
                try:
                    refuse.enter()
                    self._apply_signals([event for _, event in activation.inbound if isinstance(event, events.WorkflowExecutionSignaled)])
                    self._apply_others(
                        [event for _, event in activation.inbound if not isinstance(event, events.WorkflowExecutionSignaled)]
                    )
                finally:
                    refused = refuse.leave()
        except ActivationInterrupted:
            self._interrupted = True
        except BaseException as error:  # noqa: BLE001 - whatever user code raises, the owner goes on
            self._error = error
        if self._interrupted:
            self._error = TimeoutError(
                f"[deadlock] workflow {self._start.workflow_id!r}, run {self._start.run_id}: its code ran for more than "
                f"{self._watchdog.timeout_ms} ms without waiting, and was interrupted at {self._watchdog.stood_at}. {_where(self._loop)}"
            )
        return refused

    @contextmanager
    def _on_loop(self) -> Iterator[None]:
        with self._loop.running():
            try:
                self._watchdog.begin(f"workflow {self._start.workflow_id!r}, run {self._start.run_id}")
                with refuse.waits_refused():
                    yield
            finally:
                self._interrupted = self._watchdog.end()  # it may have hit a task that kept it to itself

    def _apply_signals(self, signals: Sequence[events.WorkflowExecutionSignaled]) -> None:
        if not signals:
            return
        if not self._ensure_object():
            return
        for signal in signals:
            self._deliver(signal)
        self._run_to_the_end()

    def _apply_others(self, others: Sequence[Event]) -> None:
        if not others:
            return
        for event in others:
            if isinstance(event, events.WorkflowExecutionStarted):
                if not self._ensure_object():
                    return
                self._primary = self._loop.create_own_task(self._main(), "run")
            else:
                self._apply(event)
        self._run_to_the_end()

    def _apply(self, event: Event) -> None:
        match event:
            case events.TimerFired():
                timer = self._pending.pop(event.started_event_id, None)
                if isinstance(timer, PendingTimer):
                    timer.handle.timer = None
                    self._loop.fire(timer.handle)
            case events.ActivityTaskCompleted():
                self._resolve_activity(event.scheduled_event_id, result=event.result)
            case events.ActivityTaskFailed() | events.ActivityTaskTimedOut():
                self._fail_activity(event, event.failure, event.retry_state)
            case events.ActivityTaskCanceled():
                cause = Failure("Cancelled", source="perdure", info=CanceledFailureInfo(event.details))
                self._fail_activity(event, cause, RetryState.CANCEL_REQUESTED)
            case events.WorkflowExecutionCancelRequested():
                self._cancel_reason = event.reason
                if self._primary is not None:
                    self._loop.call_soon(self._primary.cancel)
            case events.ExternalWorkflowExecutionSignaled() | events.ExternalWorkflowExecutionCancelRequested():
                self._resolve_external(event.initiated_event_id, None)
            case events.SignalExternalWorkflowExecutionFailed() | events.RequestCancelExternalWorkflowExecutionFailed():
                self._resolve_external(event.initiated_event_id, event.failure)
            case _:
                pass

    def _run_to_the_end(self) -> None:
        """Run until nothing is ready and no condition has become true."""
        while True:
            self._loop.run_until_blocked()
            if self._error is not None:
                return
            if not self._check_conditions():
                return

    def _check_conditions(self) -> bool:
        moved = False
        conditions = self._conditions or []
        for item in list(conditions):
            fn, future = item
            if future.done():
                conditions.remove(item)
                continue
            try:
                true = fn()
            except Exception as error:  # noqa: BLE001 - it does not go to the waiter (semantics 35)
                conditions.remove(item)  # or it would raise for ever, where that fails the workflow
                self._raised(error)
                return True
            if true:
                conditions.remove(item)
                future.set_result(None)
                moved = True
        if not conditions:
            self._conditions = None
        return moved

    def _collect(self) -> list[Action]:
        if CREATION_ORDER in self._flags:
            for pending in self._new or ():
                if isinstance(pending, PendingActivity) and not pending.is_awaited:
                    self._withdraw(pending.action)  # given up before its task began, so nobody waits for it
        requested, self._requested = self._requested or [], None
        if self._close is not None:
            requested.append(self._close)
            self._warn_of_unfinished()
        return requested

    def _number(self, requested: Sequence[Action], ids: Sequence[int]) -> None:
        """What was started gets the id of its event, by which the answer will name it."""
        by_action = {id(action): event_id for action, event_id in zip(requested, ids, strict=True)}
        new, self._new = self._new or (), None
        for pending in new:
            event_id = by_action.get(id(pending.action))
            if event_id is None:
                continue
            pending.became(event_id)
            self._pending[event_id] = pending

    # -- the code

    def _ensure_object(self) -> bool:
        """Make the workflow's object; False if that has failed the workflow (semantics 4.4)."""
        if self._object is None and self._close is None:
            try:
                self._arguments = self._decode(
                    f"input of workflow {self._start.started.workflow_type!r}", self._start.started.input, self.definition
                )
                arguments = self._arguments if self.definition.init_takes_arguments else []
                self._object = self.definition.cls(*arguments)
            except Exception as error:
                if not self.is_failure_exception(error) and not isinstance(error, ExceptionGroup):
                    raise
                self._raised(error)
        return self._object is not None

    def _take_arguments(self) -> list[Any]:
        """What the run method is called with; the call keeps it from here on, for as long as the code does."""
        arguments, self._arguments = self._arguments, None
        return arguments or []

    async def _main(self) -> None:
        try:
            result = await self.definition.run(self._object, *self._take_arguments())
            with self.unrestricted():
                payloads = self._encode(f"result of workflow {self._start.started.workflow_type!r}", [result])
            self._end(actions.CompleteWorkflow(payloads))
        except BaseException as error:  # noqa: BLE001 - sorted into failures of the workflow and of the activation
            self._raised(error)

    def _raised(self, error: BaseException) -> None:
        """Workflow failure or activation failure (semantics 4.4)."""
        if self._loop.is_closing:
            return
        if isinstance(error, BaseExceptionGroup):
            error = self._what_group_is(error)
        if isinstance(error, ActivationInterrupted | Evicted):
            raise error
        if isinstance(error, ContinueAsNewError):
            self._end(error.action)
        elif is_cancelled_exception(error) and self._cancel_reason is not None:
            self._end(actions.CancelWorkflowExecution())
        elif isinstance(error, asyncio.CancelledError):
            cancelled = CancelledError()
            cancelled.__cause__ = None
            self._fail(cancelled)
        elif self.is_failure_exception(error):
            self._fail(error)
        elif self._error is None:
            self._error = error

    def _fail(self, error: BaseException) -> None:
        """Fail the workflow; an error that cannot be written blocks it, as a result does that cannot."""
        try:
            with refuse.unrestricted():
                failure = writable(self._failures.to_failure(error, self.payload_converter))
        except Exception as problem:  # noqa: BLE001 - converters are user code
            if self._error is None:
                self._error = TypeError(f"the workflow failed with {kind_of(error)}, which cannot be encoded: {text(problem)}")
                self._error.__suppress_context__ = True
        else:
            self._end(actions.FailWorkflow(failure))

    def _end(self, close: actions.CloseAction) -> None:
        try:
            close = border.checked(close)
        except Exception as error:  # noqa: BLE001 - it is nobody's to catch, as it comes when the code has ended
            if self._error is None:
                self._error = error
            return
        if self._close is None:
            self._close = close

    def is_failure_exception(self, error: BaseException) -> bool:
        """Whether `error` fails the workflow rather than the activation."""
        if self._is_failure(error):
            return True
        if CREATION_ORDER not in self._flags or not isinstance(error, BaseExceptionGroup):
            return False
        return groups_of_errors.is_failure(error, self._is_failure)

    def _is_failure(self, error: BaseException) -> bool:
        return isinstance(error, (FailureError, TimeoutError, *self._failure_types))

    def _what_group_is(self, group: BaseExceptionGroup[Any]) -> BaseException:
        """A group that fails the workflow as it is did so before CREATION_ORDER. Any other blocked it, and nothing was recorded."""
        if not self._is_failure(group):
            return groups_of_errors.what_it_is(group, self._is_failure)
        if CREATION_ORDER not in self._flags:
            return group
        return groups_of_errors.what_it_is(group, lambda error: self._is_failure(error) or isinstance(error, Exception))

    def _failed(self, error: BaseException) -> ActivationError:
        if isinstance(error, NondeterminismError) and isinstance(error, self._failure_types):
            _logger.warning("workflow %r: %s", self._start.workflow_id, error)
        extra = {
            "__temporal_error_identifier": "WorkflowTaskFailure",
            "workflow_id": self._start.workflow_id,
            "run_id": self._start.run_id,
            "workflow_type": self._start.started.workflow_type,
        }
        failure = self._failure(error)
        _logger.warning(
            "workflow %r, run %s (%s): its code is blocked and will be tried again: %s: %s",
            self._start.workflow_id,
            self._start.run_id,
            self._start.started.workflow_type,
            type(error).__name__,
            failure.message,
            extra=extra,
        )
        return ActivationError(failure, nondeterminism=isinstance(error, NondeterminismError))

    def _failure(self, error: BaseException) -> Failure:
        """The error as data. What makes text of it is foreign code, which may loop as well."""
        self._watchdog.begin(f"writing an error of workflow {self._start.workflow_id!r}, run {self._start.run_id}")
        try:
            with refuse.unrestricted():
                return failure_of(error, self._failures, self.payload_converter)
        except BaseException as problem:  # noqa: BLE001 - a converter that leaves, or was interrupted
            message = f"{kind_of(error)}, which cannot be encoded: {kind_of(problem)}: {text(problem)}"
            return Failure(message, source="perdure", info=ApplicationFailureInfo(kind_of(error)))
        finally:
            self._watchdog.end()

    def _exception(self, failure: Failure) -> BaseException:
        return self._failures.from_failure(failure, self.payload_converter)

    def _decode(
        self, what: str, payloads: Payloads, called: WorkflowDefinition | SignalDefinition | QueryDefinition, name: str = ""
    ) -> list[Any]:
        """What the code is called with; a dynamic handler is told its `name` first."""
        named = [name] if called.name is None and name else []
        if called.name is None and not (self._is_typed and called.parameters.is_variadic):
            return [*named, [RawValue(payload) for payload in payloads]]
        if self._is_typed:
            hints = called.parameters.of(len(named) + len(payloads))
        else:
            hints = called.arguments if called.arguments is not None and len(called.arguments) >= len(payloads) else None
        with refuse.unrestricted(), naming(what):
            return [*named, *self.payload_converter.from_payloads(payloads, hints[len(named) :] if hints else None)]

    def _encode(self, what: str, values: Sequence[Any]) -> Payloads:
        with refuse.unrestricted(), naming(what):
            return border.payloads(what, self.payload_converter.to_payloads(values))

    # -- signals and queries

    def _deliver(self, signal: events.WorkflowExecutionSignaled) -> None:
        handler = self._signals.get(signal.name) or self._signals.get(None)
        if handler is None:
            self._buffered.append(signal)
            return
        try:
            arguments = self._decode(f"input of signal {signal.name!r}", signal.input, handler, signal.name)
        except Exception as error:  # noqa: BLE001 - one bad signal does not stop the workflow (semantics 4.4)
            with refuse.unrestricted():
                _logger.error("workflow %r: signal %r cannot be decoded and is dropped: %r", self._start.workflow_id, signal.name, error)
            return
        task = self._loop.create_own_task(self._handle(handler, arguments), f"signal {signal.name}")
        self._handlers = self._handlers or {}
        self._handlers[task] = handler

    async def _handle(self, handler: SignalDefinition, arguments: list[Any]) -> None:
        try:
            outcome = handler.function(*arguments) if handler.is_bound else handler.function(self._object, *arguments)
            if asyncio.iscoroutine(outcome):
                await outcome
        except BaseException as error:  # noqa: BLE001 - as for the run method
            self._raised(error)
        finally:
            task = asyncio.current_task()
            if task is not None and self._handlers is not None:
                self._handlers.pop(task, None)

    def _ask(self, handler: QueryDefinition, query_type: str, args: Payloads) -> Any:
        arguments = self._decode(f"input of query {query_type!r}", args, handler, query_type)
        value = handler.function(*arguments) if handler.is_bound else handler.function(self._object, *arguments)
        if not asyncio.iscoroutine(value):
            return value
        try:
            value.send(None)
        except StopIteration as returned:
            return returned.value
        finally:
            value.close()
        raise ReadOnlyContextError(f"query {query_type!r} waits for something; a query answers at once")

    def set_signal_handler(self, name: str | None, handler: Callable[..., Any] | None) -> None:
        self._check_writable("set a signal handler")
        others = {known: signal for known, signal in self._signals.items() if known != name}
        if handler is None:
            self._signals = others
            return
        definition = SignalDefinition(name, handler, is_bound=True)
        if name is None and self._is_typed:
            check_dynamic(definition, "signal")
        self._signals = {**others, name: definition}
        waiting = [signal for signal in self._buffered if name is None or signal.name == name]
        self._buffered = [signal for signal in self._buffered if signal not in waiting]
        for signal in waiting:
            self._deliver(signal)

    def get_signal_handler(self, name: str | None) -> Callable[..., Any] | None:
        return self._bound(self._signals.get(name))

    def set_query_handler(self, name: str | None, handler: Callable[..., Any] | None) -> None:
        self._check_writable("set a query handler")
        others = {known: query for known, query in self._queries.items() if known != name}
        if handler is None:
            self._queries = others
            return
        definition = QueryDefinition(name, handler, is_bound=True)
        if name is None and self._is_typed:
            check_dynamic(definition, "query")
        self._queries = {**others, name: definition}

    def get_query_handler(self, name: str | None) -> Callable[..., Any] | None:
        return self._bound(self._queries.get(name))

    def _bound(self, handler: SignalDefinition | QueryDefinition | None) -> Callable[..., Any] | None:
        if handler is None or handler.is_bound:
            return None if handler is None else handler.function
        bound: Callable[..., Any] = handler.function.__get__(self._object)
        return bound

    def all_handlers_finished(self) -> bool:
        return not self._handlers

    def _warn_of_unfinished(self) -> None:
        names = sorted(
            str(handler.name)
            for handler in (self._handlers or {}).values()
            if handler.unfinished_policy is HandlerUnfinishedPolicy.WARN_AND_ABANDON
        )
        if names and not self.is_replaying:
            warnings.warn(
                f"[TMPRL1102] workflow {self._start.workflow_id!r} ended while signal handlers were running: {', '.join(names)}. "
                "Wait for them with workflow.wait_condition(workflow.all_handlers_finished), or set unfinished_policy",
                RuntimeWarning,
                stacklevel=2,
            )

    # -- what code asks for

    @property
    def info(self) -> Info:
        """See Runtime. Made when it is asked for."""
        if self._info is None:
            self._info = _info(self._start)
        return self._info

    def now_ms(self) -> int:
        return self._time_ms

    def instance(self) -> Any:
        return self._object

    def random(self) -> random.Random:
        self._check_writable("use the random generator")
        if self._random is None:
            seed = hashlib.blake2b(self._start.run_id.encode(), digest_size=16).digest()
            self._random = random.Random(int.from_bytes(seed, "big"))
        return self._random

    def history_length(self) -> int:
        return self._history_length

    def history_size(self) -> int:
        return self._history_bytes

    def is_continue_as_new_suggested(self) -> bool:
        return self._history_length >= HISTORY_LENGTH_SUGGEST or self._history_bytes >= HISTORY_BYTES_SUGGEST

    def cancellation_reason(self) -> str | None:
        return self._cancel_reason

    def last_failure(self) -> BaseException | None:
        failure = self._start.started.continued_failure
        return None if failure is None else self._exception(failure)

    @contextmanager
    def unrestricted(self) -> Iterator[None]:
        with refuse.unrestricted():
            yield

    def patched(self, patch_id: str, *, deprecated: bool) -> bool:
        self._check_writable("call patched")
        patch_id = border.name("patched()", "id", patch_id)
        known = self._patches.get(patch_id)
        if known is not None:
            return known
        use = not self.is_replaying or patch_id in self._recorded_patches
        self._patches = {**self._patches, patch_id: use}
        if use:
            self._request(actions.RecordMarker(PATCH_MARKER, {"id": patch_id, "deprecated": "true" if deprecated else "false"}))
        return use

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        handle = WorkflowTimerHandle(self._loop.time() + seconds, _wake, (future,), self._loop, no_context())
        self.timer_started(handle, seconds)
        try:
            await future
        finally:
            handle.cancel()

    async def wait_condition(self, fn: Callable[[], bool], timeout_seconds: float | None) -> None:
        self._check_writable("wait for a condition")
        future: asyncio.Future[None] = self._loop.create_future()
        if self._conditions is None:
            self._conditions = []
        self._conditions.append((fn, future))
        if timeout_seconds is None:
            await future
        elif OWN_DEADLINES not in self._flags:
            await asyncio.wait_for(future, timeout_seconds)
        elif timeout_seconds <= 0:
            future.cancel()
            raise TimeoutError
        else:
            deadline = self._loop.call_later(timeout_seconds, _expire, future)
            try:
                await future
            finally:
                deadline.cancel()

    def start_activity(self, name: str, arguments: Sequence[Any], options: ActivityOptions) -> asyncio.Task[Any]:
        self._check_writable("start an activity")
        self._activity_count += 1
        payloads = self._encode(f"input of activity {name!r}", arguments)
        action = self._request(
            actions.ScheduleActivity(
                activity_id=options.activity_id or str(self._activity_count),
                activity_type=name,
                task_queue=options.task_queue or "",
                input=payloads,
                schedule_to_close_timeout_ms=border.duration_ms("schedule_to_close_timeout", options.schedule_to_close_timeout),
                schedule_to_start_timeout_ms=border.duration_ms("schedule_to_start_timeout", options.schedule_to_start_timeout),
                start_to_close_timeout_ms=border.duration_ms("start_to_close_timeout", options.start_to_close_timeout),
                heartbeat_timeout_ms=border.duration_ms("heartbeat_timeout", options.heartbeat_timeout),
                retry_options=border.retry_options(options.retry_policy),
                cancellation_type=ActivityCancellationType.TRY_CANCEL if options.cancellation_type is None else options.cancellation_type,
            )
        )
        pending = PendingActivity(action, self._loop.create_future(), options.result_type)
        self._is_new(pending)
        return self._loop.create_task(self._await_activity(pending), name=f"activity {name}")

    async def _await_activity(self, pending: PendingActivity) -> Any:
        """Cancelling the task asks for the activity's cancellation; what the task then waits for is the cancellation type's to say."""
        pending.is_awaited = True
        while True:
            try:
                payloads = await asyncio.shield(pending.future)
                break
            except asyncio.CancelledError:
                if self._loop.is_closing or pending.future.done():
                    raise
                self._cancel_activity(pending)
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
        hints = None if pending.result_type is None else [pending.result_type]
        with self.unrestricted(), naming(f"result of activity {pending.action.activity_type!r}"):
            values = self.payload_converter.from_payloads(payloads, hints)
        return values[0] if values else None

    def _cancel_activity(self, pending: PendingActivity) -> None:
        if pending.is_cancel_requested:
            return
        pending.is_cancel_requested = True
        kind = pending.action.cancellation_type
        if not pending.event_id:
            self._withdraw(pending.action)
            pending.future.set_exception(self._activity_cancelled(pending))
            return
        if kind is not ActivityCancellationType.ABANDON and pending.event_id not in self._settled:
            self._request(actions.RequestCancelActivity(pending.event_id))
        if kind is not ActivityCancellationType.WAIT_CANCELLATION_COMPLETED:
            self._pending.pop(pending.event_id, None)
            pending.future.set_exception(self._activity_cancelled(pending))

    def _activity_cancelled(self, pending: PendingActivity) -> ActivityError:
        error = ActivityError(
            "Activity cancelled",
            scheduled_event_id=pending.event_id,
            started_event_id=0,
            identity="",
            activity_type=pending.action.activity_type,
            activity_id=pending.action.activity_id,
            retry_state=RetryState.CANCEL_REQUESTED,
        )
        error.__cause__ = CancelledError()
        return error

    def _resolve_activity(self, scheduled_event_id: int, *, result: Payloads) -> None:
        pending = self._pending.pop(scheduled_event_id, None)
        if isinstance(pending, PendingActivity) and not pending.future.done():
            pending.future.set_result(result)

    def _fail_activity(
        self,
        event: events.ActivityTaskFailed | events.ActivityTaskTimedOut | events.ActivityTaskCanceled,
        cause: Failure,
        retry_state: RetryState,
    ) -> None:
        pending = self._pending.pop(event.scheduled_event_id, None)
        if not isinstance(pending, PendingActivity) or pending.future.done():
            return
        words = {events.ActivityTaskTimedOut: "Activity task timed out", events.ActivityTaskCanceled: "Activity cancelled"}
        info = ActivityFailureInfo(
            event.scheduled_event_id,
            event.started_event_id,
            getattr(event, "identity", ""),
            pending.action.activity_type,
            pending.action.activity_id,
            retry_state,
        )
        failure = Failure(words.get(type(event), "Activity task failed"), source="perdure", cause=cause, info=info)
        with self.unrestricted():
            pending.future.set_exception(self._exception(failure))

    async def signal_external(self, workflow_id: str, run_id: str, name: str, arguments: Sequence[Any]) -> None:
        self._check_writable("signal another workflow")
        payloads = self._encode(f"input of signal {name!r} to workflow {workflow_id!r}", arguments)
        pending = self._external(actions.SignalExternalWorkflow(workflow_id, run_id, name, payloads))
        try:
            await asyncio.shield(pending.future)
        except asyncio.CancelledError:
            if not pending.event_id and not self._loop.is_closing:
                self._withdraw(pending.action)  # not sent yet, so it never is
            raise

    async def cancel_external(self, workflow_id: str, run_id: str, reason: str) -> None:
        self._check_writable("cancel another workflow")
        await asyncio.shield(self._external(actions.CancelExternalWorkflow(workflow_id, run_id, reason)).future)

    def _external(self, action: actions.SignalExternalWorkflow | actions.CancelExternalWorkflow) -> PendingExternal:
        pending = PendingExternal(self._request(action), self._loop.create_future())
        self._is_new(pending)
        return pending

    def _resolve_external(self, initiated_event_id: int, failure: Failure | None) -> None:
        pending = self._pending.pop(initiated_event_id, None)
        if not isinstance(pending, PendingExternal) or pending.future.done():
            return
        if failure is None:
            pending.future.set_result(None)
        else:
            pending.future.set_exception(self._exception(failure))

    def continue_as_new(self, arguments: Sequence[Any], options: Mapping[str, Any]) -> NoReturn:
        self._check_writable("continue as new")
        workflow = options.get("workflow")
        name = workflow if isinstance(workflow, str) else _workflow_name(workflow)
        memo = options.get("memo")
        payloads = self._encode("input of the next run", arguments)
        with self.unrestricted(), naming("memo of the next run"):
            encoded_memo = None if not memo else {key: self.payload_converter.to_payload(value) for key, value in memo.items()}
        action = actions.ContinueAsNewWorkflow(
            workflow_type=name,
            task_queue=options.get("task_queue") or "",
            input=payloads,
            run_timeout_ms=border.duration_ms("run_timeout", options.get("run_timeout")),
            task_timeout_ms=border.duration_ms("task_timeout", options.get("task_timeout")),
            backoff_start_interval_ms=border.duration_ms("backoff_start_interval", options.get("backoff_start_interval")),
            retry_options=border.retry_options(options.get("retry_policy")),
            memo=encoded_memo,
        )
        raise ContinueAsNewError(border.checked(action))

    # -- timers of the loop

    def timer_started(self, handle: WorkflowTimerHandle, seconds: float) -> None:
        """The loop, or a sleep, has a timer that is to fire after so long."""
        self._check_writable("start a timer")
        self._timer_count += 1
        if math.isnan(seconds) and not self.is_replaying and self._error is None:  # what was recorded was a timer of 0 s
            self._error = ValueError("a timer's delay is nan, and must be a number of seconds")
        seconds = min(max(0.0, seconds), DURATION_MS_MAX / 1000)  # whoever sleeps for ever writes inf, or sys.maxsize
        action = actions.StartTimer(str(self._timer_count), min(_ceil_ms(seconds), DURATION_MS_MAX))
        timer = PendingTimer(self._request(action), handle)
        handle.timer = timer
        self._is_new(timer)

    def timer_cancelled(self, handle: WorkflowTimerHandle) -> None:
        """A timer is cancelled, or was and is let go."""
        timer: PendingTimer | None = handle.timer
        handle.timer = None
        if timer is None or self._loop.is_closing:
            return
        if timer.event_id:
            self._pending.pop(timer.event_id, None)
            if timer.event_id not in self._settled:
                self._request(actions.CancelTimer(timer.action.timer_id, timer.event_id))
        else:
            self._withdraw(timer.action)

    # -- small parts

    def _request(self, action: ActionT) -> ActionT:
        """The action as it is asked for. Raises TypeError or ValueError for what cannot be recorded."""
        self._check_writable("ask for anything")
        action = border.checked(action)
        if self._requested is None:
            self._requested = []
        self._requested.append(action)
        return action

    def _is_new(self, pending: PendingActivity | PendingTimer | PendingExternal) -> None:
        """It gets the id of its event at the end of the activation."""
        if self._new is None:
            self._new = []
        self._new.append(pending)

    def _withdraw(self, action: Action) -> None:
        """Asked for and taken back within one activation: it leaves no trace."""
        self._requested = [other for other in self._requested or () if other is not action]
        self._new = [pending for pending in self._new or () if pending.action is not action]

    def _check_writable(self, what: str) -> None:
        if self._loop.is_closing:
            raise Evicted
        if self.is_read_only:
            self.refuse_read_only(what)

    def refuse_read_only(self, what: str) -> NoReturn:
        """A query tried to change something."""
        raise ReadOnlyContextError(f"a query cannot {what}; it only reads")

    def log_unhandled(self, context: dict[str, Any]) -> None:
        """An error in a task of the workflow's own that nobody awaits."""
        error = context.get("exception")
        if isinstance(error, ActivationInterrupted):
            raise error
        if error is not None and not self.is_replaying:
            with refuse.unrestricted():
                _logger.error("workflow %r: %s", self._start.workflow_id, context.get("message"), exc_info=error)

    def _stack_trace(self) -> str:
        parts = []
        for task in self._loop.open_tasks():
            frames = "".join(f"  {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}\n" for frame in task.get_stack())
            parts.append(f"{task.get_name()}\n{frames}")
        return "\n".join(parts)


def _settled(inbound: Sequence[tuple[int, Event]]) -> frozenset[int]:
    """The ids under which what ends with these events was begun."""
    found = set()
    for _, event in inbound:
        match event:
            case events.TimerFired(started_event_id=event_id):
                found.add(event_id)
            case (
                events.ActivityTaskCompleted(scheduled_event_id=event_id)
                | events.ActivityTaskFailed(scheduled_event_id=event_id)
                | events.ActivityTaskTimedOut(scheduled_event_id=event_id)
                | events.ActivityTaskCanceled(scheduled_event_id=event_id)
            ):
                found.add(event_id)
    return frozenset(found) if found else _NO_IDS


def _recorded_patches(recorded: Sequence[Event]) -> frozenset[str]:
    """The patches that an activation was recorded with."""
    markers = [event for event in recorded if isinstance(event, events.MarkerRecorded) and event.marker_name == PATCH_MARKER]
    return frozenset([marker.details.get("id", "") for marker in markers]) if markers else _NO_NAMES


@lru_cache(maxsize=64)
def _flag_set(flags: tuple[int, ...]) -> frozenset[int]:
    """Runs of one build share it."""
    return frozenset(flags)


def _ceil_ms(seconds: float) -> int:
    """Late, never early; but for what a difference of two times as floats is off."""
    return max(0, math.ceil(seconds * 1000 - 0.001))


def _end_coroutine(coroutine: Any) -> None:
    for _ in range(EVICTION_EXITS_MAX):
        try:
            coroutine.close()
        except RuntimeError:
            continue  # it waits for something again
        except BaseException as error:  # noqa: BLE001 - nothing that dropped code does may reach the owner
            _logger.debug("%r while a coroutine was dropped", error)
        return
    _unending.append(coroutine)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _expire(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())


def _workflow_name(workflow: Any) -> str:
    """The name of a workflow that is given by its run method or its class."""
    if workflow is None:
        return ""
    definition = WorkflowDefinition.of_target(workflow)
    if definition is None:
        shown = getattr(workflow, "__qualname__", repr(workflow))
        raise TypeError(f"continue_as_new(): workflow is {shown}, and must be a run method, a decorated workflow class, or a name as a str")
    return definition.name or ""


def _where(loop: WorkflowLoop) -> str:
    names = ", ".join(task.get_name() for task in loop.open_tasks()[:5])
    return f"Tasks under way: {names}" if names else ""


def _info(start: RunStart) -> Info:
    started = start.started
    begun = datetime.fromtimestamp(start.start_time_ms / 1000, tz=UTC)

    def duration(milliseconds: int) -> timedelta | None:
        return timedelta(milliseconds=milliseconds) if milliseconds else None

    return Info(
        attempt=started.attempt,
        continued_run_id=started.continued_run_id or None,
        cron_schedule=None,
        execution_timeout=duration(started.execution_timeout_ms),
        first_execution_run_id=started.first_execution_run_id,
        headers=started.header,
        namespace=start.namespace,
        parent=None,
        raw_memo=started.memo,
        retry_policy=RetryPolicy.from_options(started.retry_options) if started.retry_options is not None else None,
        run_id=start.run_id,
        run_timeout=duration(started.run_timeout_ms),
        start_time=begun,
        task_queue=started.task_queue,
        task_timeout=timedelta(milliseconds=started.task_timeout_ms or 10_000),
        workflow_id=start.workflow_id,
        workflow_start_time=begun,
        workflow_type=started.workflow_type,
    )
