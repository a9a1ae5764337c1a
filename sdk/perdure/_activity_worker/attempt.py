"""One attempt of an activity while a worker has it: may it run, what becomes of it, is the owner told (design.md 7)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from enum import Enum
from typing import Any

from perdure._activity_worker.announce import Line
from perdure._activity_worker.execute import Functions, arguments, call, make_info
from perdure._activity_worker.heartbeat import Heartbeats
from perdure._activity_worker.poll import Delivery, Poller
from perdure._activity_worker.report import deliver
from perdure._channel import Channel
from perdure._log.errors import LogError, RecordTooLarge
from perdure._log.port import Headers
from perdure._telemetry.quiet import QuietLogger
from perdure._telemetry.spans import activity_attempt
from perdure.activity import ActivityCancellationDetails, CompleteAsyncError, Context, Event, running
from perdure.converter import DataConverter
from perdure.converter._failure import failure_of
from perdure.converter._payload import naming
from perdure.exceptions import ApplicationError, ApplicationErrorCategory, CancelledError
from perdure_schemas.commands import ActivityReference, CancelActivity, Command, CompleteActivity, FailActivity
from perdure_schemas.conform import conformed
from perdure_schemas.errors import CodecError, LimitExceeded
from perdure_schemas.failure import ApplicationFailureInfo, Failure
from perdure_schemas.headers import TASK_TOKEN, TRACE_PARENT
from perdure_schemas.limits import check_payloads
from perdure_schemas.payload import Payloads
from perdure_schemas.tasks import ActivityTask
from perdure_schemas.text import kind_of, text

_logger = QuietLogger("perdure.worker")

ANNOUNCE_AFTER_S = 0.05
"""An attempt that is done before this is never announced."""

Outcome = CompleteActivity | FailActivity | CancelActivity
Key = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Services:
    """What all attempts of a worker share."""

    channel: Channel
    poller: Poller
    functions: Functions
    converter: DataConverter
    executor: Executor
    identity: str
    shutdown: Event


class Ending(Enum):
    """How an attempt left the worker."""

    SETTLED = "settled"
    """No other delivery of its task is needed."""
    LOST = "lost"
    """The task is another member's now, or comes again; it has not run."""


class _NotHere(Exception):
    """The attempt must not run; nothing is reported."""

    def __init__(self, ending: Ending) -> None:
        self.ending = ending


class Attempt:
    """One attempt, from its delivery to its report. Belongs to the loop."""

    def __init__(self, services: Services, delivery: Delivery) -> None:
        task = delivery.task
        self.delivery = delivery
        self.again: list[Delivery] = []
        """Further deliveries of this attempt, that came while it was here."""
        self.is_abortable = False
        """Whether it waits for the owner or the log, rather than for the function."""
        self.settled = asyncio.Event()
        """Set when no other delivery of the task is needed: the log knows that the attempt has begun, or how it ended."""
        self._services = services
        self._activity = ActivityReference(task.run_id, task.scheduled_event_id, task.attempt)
        self._headers: Headers = ((TRACE_PARENT, task.trace_parent.encode()),) if task.trace_parent else ()
        if delivery.token:
            self._headers = (*self._headers, (TASK_TOKEN, delivery.token))
        self._line = Line(
            services.channel,
            task.workflow_id,
            self._activity,
            services.identity,
            task.announce_first,
            self._headers,
            self._settle,
            self.cancel,
        )
        self._heartbeats = Heartbeats(
            services.channel,
            task.workflow_id,
            self._activity,
            self._line.nonce,
            self._headers,
            task.heartbeat_timeout_ms,
            self._line.open,
        )
        self._details: ActivityCancellationDetails | None = None
        self._context: Context | None = None
        self._interrupt: Callable[[], object] | None = None
        self._heartbeat_error: Exception | None = None
        self._is_aborted = False
        self._task: asyncio.Task[Ending] | None = None

    @property
    def key(self) -> Key:
        """What tells this attempt from every other."""
        return (self._activity.run_id, self._activity.scheduled_event_id, self._activity.attempt)

    @property
    def name(self) -> str:
        """For messages."""
        task = self.delivery.task
        return f"activity {task.activity_type!r} (id {task.activity_id!r}, attempt {task.attempt}) of workflow {task.workflow_id!r}"

    def start(self) -> asyncio.Task[Ending]:
        """Let it live; the task ends with it. Its failure is a LogError, which leaves the worker without a log."""
        self._task = asyncio.get_running_loop().create_task(self._live())
        return self._task

    def announce(self) -> None:
        """Have the start in the log soon, so that the offset can be committed."""
        self._line.open()

    def attach(self, delivery: Delivery) -> None:
        """The same attempt was delivered once more."""
        self.again.append(delivery)
        if self.settled.is_set():
            self._services.poller.settle(delivery.partition, delivery.offset)

    def cancel(self, details: ActivityCancellationDetails) -> None:
        """Ask the activity to end; the first reason counts (semantics 24)."""
        if self._details is not None:
            return
        self._details = details
        if self._context is not None:
            self._context.details = details
            self._context.cancelled.set()
        if self._interrupt is not None and asyncio.current_task() is self._task:
            # Asked by the activity itself: its step has to end first, or the interrupt could strike what follows the function.
            asyncio.get_running_loop().call_soon(self._interrupt_if_running)
        else:
            self._interrupt_if_running()

    def abort(self) -> None:
        """End at once, without a report."""
        self._is_aborted = True
        if self._interrupt is not None:
            self._interrupt()
        if self._task is not None:
            self._task.cancel()

    def _interrupt_if_running(self) -> None:
        if self._interrupt is not None:
            self._interrupt()

    # -- the life

    async def _live(self) -> Ending:
        task = self.delivery.task
        announcing: asyncio.TimerHandle | None = None
        try:
            if task.announce_first or self.delivery.may_be_repeated:
                await self._ask()
            else:
                announcing = asyncio.get_running_loop().call_later(ANNOUNCE_AFTER_S, self._line.open)
            await self._run_and_report()
            self._settle()
            return Ending.SETTLED
        except _NotHere as reason:
            if reason.ending is Ending.SETTLED:
                self._settle()
            return reason.ending
        finally:
            if announcing is not None:
                announcing.cancel()
            self._heartbeats.close()
            self._line.close()

    async def _run_and_report(self) -> None:
        """Whatever goes wrong in here is this attempt's failure and ends neither another one nor the worker (P9). Raises LogError."""
        try:
            outcome = await self._outcome()
            self.is_abortable = True
            if outcome is None:
                await self._line.logged()  # from here on the owner's timers watch over the attempt
            else:
                await self._report(outcome)
        except LogError:
            raise
        except Exception as defect:
            _logger.critical("a defect in the worker, over %s; the attempt fails, and the others go on", self.name, exc_info=True)
            await self._deliver_plain(f"a defect in the worker: {kind_of(defect)}: {text(defect)}", kind_of(defect))

    async def _ask(self) -> None:
        """Return if the attempt may run. What may be a repeated delivery runs only once its offset is committed (R21)."""
        self._interrupt = self._stop_asking
        self.is_abortable = True
        delivery = self.delivery
        try:
            if not await self._line.granted():
                raise _NotHere(Ending.SETTLED)
            # A grant is spent by the one delivery that asked for it, so that it needs no commit.
            if not delivery.task.announce_first and not await self._services.poller.committed(delivery.partition, delivery.offset):
                raise _NotHere(Ending.LOST)
        except asyncio.CancelledError:
            if self._is_aborted or not self.settled.is_set():
                raise _NotHere(Ending.LOST) from None
        finally:
            self._interrupt = None
            self.is_abortable = False
            current = asyncio.current_task()
            if current is not None and not self._is_aborted:
                while current.cancelling():
                    current.uncancel()

    def _stop_asking(self) -> None:
        """Only a shutdown ends the asking early: a cancel request comes with the answer, or stands behind it."""
        if self._task is not None and self._details is not None and self._details.worker_shutdown:
            self._task.cancel()

    async def _outcome(self) -> Outcome | None:
        """Run the function; what is to be reported, or None for nothing."""
        task, services = self.delivery.task, self._services
        try:
            value = await self._run()
            result = self._payloads("result", [value])
        except CompleteAsyncError:
            return None
        except BaseException as error:
            if self._is_aborted or self._is_ended_from_outside(error):
                raise
            outcome: Outcome = self._failed(error)
        else:
            outcome = CompleteActivity(self._activity, result, services.identity)
        if self._details is not None and (self._details.not_found or self._details.timed_out):
            _logger.debug("%s is no longer wanted; its outcome is not reported", self.name)
            return None
        if isinstance(outcome, FailActivity):
            self._log_failure(task, outcome)
        return outcome

    def _is_ended_from_outside(self, error: BaseException) -> bool:
        """Whether it is this coroutine that is dropped, or the process that is interrupted, and not the activity that raised `error`."""
        if isinstance(error, GeneratorExit):
            return asyncio._get_running_loop() is None or asyncio.current_task() is not self._task  # noqa: SLF001 - the one that does not raise
        if not isinstance(error, KeyboardInterrupt):
            return False
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        return last is not None and last.tb_frame.f_code.co_filename == asyncio.runners.__file__  # a second Ctrl-C, raised by its handler

    def _payloads(self, what: str, values: Sequence[Any]) -> Payloads:
        """Values of the activity as payloads. Raises LimitExceeded, a ValueError for a converter's payload that is none, and its errors."""
        with naming(f"{what} of activity {self.delivery.task.activity_type!r}"):
            payloads = conformed(self._services.converter.payload_converter.to_payloads(values), Payloads)
        check_payloads(f"{what} of {self.name}", payloads)
        return payloads

    async def _run(self) -> Any:
        task, services = self.delivery.task, self._services
        converter = services.converter.payload_converter
        definition, function = services.functions.find(task.activity_type)
        context = Context(
            make_info(self.delivery, services.channel.namespace, converter, services.channel.log.now_ms()),
            converter,
            self._beat,
            services.shutdown,
            details=self._details,
        )
        values = arguments(definition, task, converter)
        if self._details is not None:
            raise CancelledError
        self._context = context
        timeout: asyncio.TimerHandle | None = None
        if task.start_to_close_timeout_ms:
            # The owner's clock decides; this one only ends what the owner no longer waits for.
            loop = asyncio.get_running_loop()
            timeout = loop.call_later(task.start_to_close_timeout_ms / 1000, self.cancel, ActivityCancellationDetails(timed_out=True))
        try:
            with (
                activity_attempt(
                    task.trace_parent,
                    task.activity_type,
                    task.workflow_id,
                    task.run_id,
                    task.activity_id,
                    task.scheduled_event_id,
                    task.attempt,
                ),
                running(context),
            ):
                return await call(definition, function, values, context, services.executor, self._set_interrupt)
        finally:
            if timeout is not None:
                timeout.cancel()

    def _set_interrupt(self, interrupt: Callable[[], object] | None) -> None:
        self._interrupt = interrupt

    def _beat(self, details: Sequence[Any]) -> None:
        """From any thread. Details that cannot be sent cancel the activity, which then fails with this error (semantics 26)."""
        try:
            payloads = self._payloads("heartbeat", details)
        except Exception as error:  # noqa: BLE001 - converters and details are user code
            if self._heartbeat_error is None:
                self._heartbeat_error = error
                assert self._task is not None
                self._task.get_loop().call_soon_threadsafe(self.cancel, ActivityCancellationDetails())
        else:
            self._heartbeats.record(payloads)

    # -- the report

    def _failed(self, error: BaseException) -> FailActivity | CancelActivity:
        converter = self._services.converter
        details = self._heartbeats.close()
        if isinstance(error, asyncio.CancelledError | CancelledError):
            reason = self._details
            if reason is not None and reason.cancel_requested:
                try:
                    values = self._payloads("cancellation details", error.details if isinstance(error, CancelledError) else ())
                except Exception as problem:  # noqa: BLE001 - converters and details are user code
                    _logger.warning("the cancellation details of %s are dropped: %s: %s", self.name, kind_of(problem), text(problem))
                    values = ()
                return CancelActivity(self._activity, values, self._services.identity)
            error = self._unrequested(error, reason)
        if isinstance(error, LimitExceeded):
            error = ApplicationError(str(error), type="LimitExceeded", non_retryable=True)
        failure = failure_of(error, converter.failure_converter, converter.payload_converter)
        return FailActivity(self._activity, failure, self._services.identity, details)

    def _unrequested(self, error: BaseException, reason: ActivityCancellationDetails | None) -> BaseException:
        """A cancellation that is no answer to a request is a failure like any other (semantics 24)."""
        if reason is not None and reason.worker_shutdown:
            return ApplicationError("the worker shut down before the activity ended", type="WorkerShutdown")
        if reason is not None and self._heartbeat_error is not None:
            return self._heartbeat_error
        failure = ApplicationError("the activity raised a cancellation that nobody had requested", type="CancelledError")
        failure.__cause__ = error
        return failure

    async def _report(self, outcome: Outcome) -> None:
        try:
            await deliver(self._services.channel, Command(self.delivery.task.workflow_id, outcome), self._headers)
        except RecordTooLarge as error:
            await self._deliver_plain(str(error), "LimitExceeded", non_retryable=True)
        except CodecError as error:
            _logger.exception("the report on %s cannot be written; the attempt fails", self.name)
            await self._deliver_plain(f"its report cannot be written: {text(error)}", kind_of(error))

    async def _deliver_plain(self, message: str, kind: str, *, non_retryable: bool = False) -> None:
        """Report a failure of which every part is ours."""
        failure = Failure(message, source="perdure", info=ApplicationFailureInfo(kind, non_retryable))
        command = Command(self.delivery.task.workflow_id, FailActivity(self._activity, failure, self._services.identity))
        await deliver(self._services.channel, command, self._headers)

    def _settle(self) -> None:
        if not self.settled.is_set():
            self.settled.set()
            for delivery in (self.delivery, *self.again):
                self._services.poller.settle(delivery.partition, delivery.offset)

    def _log_failure(self, task: ActivityTask, outcome: FailActivity) -> None:
        category = getattr(outcome.failure.info, "category", ApplicationErrorCategory.UNSPECIFIED)
        level = logging.DEBUG if category is ApplicationErrorCategory.BENIGN else logging.WARNING
        if _logger.isEnabledFor(level):
            extra = {"workflow_id": task.workflow_id, "workflow_run_id": task.run_id, "activity_id": task.activity_id}
            _logger.log(level, "%s failed: %s", self.name, _told(outcome.failure), extra=extra)


def _told(failure: Failure) -> str:
    """A failure and its causes in one line, each with the type of its exception: the message of a KeyError alone says nothing."""
    told = []
    cause: Failure | None = failure
    while cause is not None:
        kind = getattr(cause.info, "type", "")
        told.append(f"{kind}: {cause.message}" if kind and isinstance(kind, str) else cause.message)
        cause = cause.cause
    return " <- ".join(told)
