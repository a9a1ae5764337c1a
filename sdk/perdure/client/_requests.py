"""Call -> command -> awaited reply: how a call is sent, sent again, answered, or given up.

- A call that acts makes one request id and one expiry, and every copy of its command carries both: it acts at most once.
- A call that reads is simply asked again.
- A copy is sent only when the earlier ones have been acknowledged or have failed: what still waits in our own producer needs no company.
- No task, no thread and no poll per call: its caller waits on one future, and one timer of the loop wakes it for the next copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from perdure._channel import Channel
from perdure._log.errors import LogBusy, LogClosed, LogError, LogUnavailable
from perdure._log.port import Headers
from perdure._replies import Replies
from perdure._telemetry.context import inject
from perdure._telemetry.spans import client_call
from perdure.client._blocked import BlockedLog
from perdure.client._errors import log_error, refusal_error
from perdure.service import OutcomeUnknownError, RPCTimeoutOrCancelledError
from perdure_schemas.commands import AwaitWorkflow, Command, CommandBody, Request
from perdure_schemas.limits import REQUEST_LIFE_MAX_MS, check_id
from perdure_schemas.replies import RefusalCode, Refused, ReplyBody, WorkflowBlocked, WorkflowClosed

DEFAULT_TIMEOUT = timedelta(seconds=30)
"""Deadline of every call but the wait for a result."""

REPEATABLE_MS = 60_000
"""How long after its deadline a call may be repeated with its request id: also the slack for clocks that disagree."""

REQUEST_LIFETIME = timedelta(hours=1)
"""The same for a call whose caller chose the request id, and so means to repeat it, if need be after a crash."""

_JITTER = 0.2

_Body = TypeVar("_Body", bound=ReplyBody)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between copies: the first wait, doubled each time up to the last one."""

    first_s: float
    last_s: float

    def wait_s(self, copies: int, chance: Callable[[], float]) -> float:
        """How long to wait after this many copies, jittered by `chance` so that many callers do not return as one."""
        return float(min(self.first_s * 2 ** min(copies - 1, 30), self.last_s)) * (1 + _JITTER * (2 * chance() - 1))


CALL_PACE = Pace(1.0, 5.0)
RESULT_PACE = Pace(5.0, 30.0)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One question and how it is asked. `what` names it in messages; `until` is in the loop's time, None without deadline."""

    what: str
    partition: int
    command: Callable[[], Command]
    headers: Headers
    until: float | None
    timeout: timedelta | None
    pace: Pace
    acts: bool
    on_blocked: Callable[[WorkflowBlocked], None] = lambda _: None


class Requests:
    """The calls of one client over one channel."""

    def __init__(
        self,
        channel: Channel,
        *,
        call_pace: Pace = CALL_PACE,
        result_pace: Pace = RESULT_PACE,
        request_lifetime: timedelta = REQUEST_LIFETIME,
    ) -> None:
        self.channel = channel
        self._named_life_ms = max(_milliseconds(request_lifetime), REPEATABLE_MS)
        self._call_pace = call_pace
        self._result_pace = result_pace

    def new_request_id(self) -> str:
        """A name for one request that nobody else uses."""
        return self.channel.new_request_id()

    def listen(self, request_id: str) -> Replies:
        """Replies to a request, for calls that get more than one."""
        return self.channel.listen(request_id)

    async def act(
        self,
        what: str,
        workflow_id: str,
        body: CommandBody,
        wanted: tuple[type[_Body], ...],
        replies: Replies,
        *,
        request_id: str,
        named: bool,
        timeout: timedelta | None,  # noqa: ASYNC109 - it is kept across copies
        headers: Headers = (),
    ) -> _Body:
        """Ask for something to be done, once, however often it is asked.

        `replies` listens on `request_id`; `named` tells that the caller chose that id. Raises the refusal's exception, LogError where
        nothing was sent, and OutcomeUnknownError at the deadline.
        """
        if named:
            check_id("request id", request_id)
        timeout = DEFAULT_TIMEOUT if timeout is None else timeout
        life_ms = _milliseconds(timeout) + (self._named_life_ms if named else REPEATABLE_MS)
        expires_at_ms = self.channel.log.now_ms() + min(life_ms, REQUEST_LIFE_MAX_MS - REPEATABLE_MS)
        command = Command(workflow_id, body, Request(request_id, expires_at_ms, self.channel.address))
        until = asyncio.get_running_loop().time() + timeout.total_seconds()
        partition = self.channel.partition_of(workflow_id)
        with client_call(body, workflow_id):
            exchange = _Exchange(what, partition, lambda: command, (*inject(), *headers), until, timeout, self._call_pace, acts=True)
            return await self._run(exchange, wanted, replies)

    async def read(
        self,
        what: str,
        workflow_id: str,
        body: CommandBody,
        wanted: type[_Body],
        *,
        timeout: timedelta | None,  # noqa: ASYNC109 - it is kept across copies
        partition: int | None = None,
    ) -> _Body:
        """Ask for something to be told. `partition` is given for questions about a partition, whose workflow id is empty."""
        timeout = DEFAULT_TIMEOUT if timeout is None else timeout
        until = asyncio.get_running_loop().time() + timeout.total_seconds()
        where = self.channel.partition_of(workflow_id) if partition is None else partition
        request_id = self.channel.new_request_id()
        question = self._question(workflow_id, body, request_id)
        with self.channel.listen(request_id) as replies, client_call(body, workflow_id):
            return await self._run(
                _Exchange(what, where, question, inject(), until, timeout, self._call_pace, acts=False), (wanted,), replies
            )

    async def wait_closed(
        self,
        what: str,
        workflow_id: str,
        run_id: str,
        *,
        follow_runs: bool,
        timeout: timedelta | None,  # noqa: ASYNC109 - it is kept across copies
        replies: Replies | None = None,
    ) -> WorkflowClosed:
        """Wait until a run is closed, or with `follow_runs` the last run that follows it; without `timeout`, for ever.

        What blocks the code of a run that is awaited is logged, each failure once.
        `replies` are those of a start that asked for the result too: its owner knows that somebody waits, so the first question can
        wait too.
        """
        until = None if timeout is None else asyncio.get_running_loop().time() + timeout.total_seconds()
        on_blocked = BlockedLog(self.channel.namespace, workflow_id)
        while True:
            request_id = self.channel.new_request_id()
            question = self._question(workflow_id, AwaitWorkflow(run_id), request_id)
            partition = self.channel.partition_of(workflow_id)
            exchange = _Exchange(what, partition, question, inject(), until, timeout, self._result_pace, False, on_blocked)
            if replies is not None:
                replies.also(request_id)
                closed = await self._run(exchange, (WorkflowClosed,), replies, wait_first=True)
            else:
                with self.channel.listen(request_id) as own:
                    closed = await self._run(exchange, (WorkflowClosed,), own)
            if not (follow_runs and closed.new_run_id):
                return closed
            run_id, replies = closed.new_run_id, None

    def _question(self, workflow_id: str, body: CommandBody, request_id: str) -> Callable[[], Command]:
        """Each copy of a question lives long enough for the next: only what acts has to expire as one."""
        command = Command(workflow_id, body, Request(request_id, 0, self.channel.address))
        life_ms = int(self._result_pace.last_s * 1000) + REPEATABLE_MS

        def renewed() -> Command:
            return replace(command, request=Request(request_id, self.channel.log.now_ms() + life_ms, self.channel.address))

        return renewed

    async def _run(self, exchange: _Exchange, wanted: tuple[type[_Body], ...], replies: Replies, *, wait_first: bool = False) -> _Body:
        loop = asyncio.get_running_loop()
        chance = self.channel.machine.chance
        copies = 0
        trouble: LogError | None = None
        send_at = loop.time() + (exchange.pace.wait_s(1, chance) if wait_first else 0.0)
        while True:
            now = loop.time()
            if exchange.until is not None and now >= exchange.until:
                raise self._no_answer(exchange, replies, copies, trouble)
            if now >= send_at:
                if replies.unsettled == 0:
                    try:
                        await self.channel.post(exchange.partition, exchange.command(), exchange.headers, replies, exchange.until)
                    except TimeoutError:
                        continue  # too much is in flight
                    except LogError as error:
                        raise self._broken(exchange, replies, copies, error) from error
                copies += 1
                send_at = loop.time() + exchange.pace.wait_s(copies, chance)
            wake_at = send_at if exchange.until is None else min(send_at, exchange.until)
            item = await replies.take((wake_at - loop.time()) * 1000)
            match item:
                case None:
                    pass
                case LogUnavailable() | LogBusy():
                    trouble = item
                case LogClosed():
                    raise self._broken(exchange, replies, copies, item) from item
                case LogError():  # the log refused this copy for good; or took it, perhaps, and refuses us
                    raise self._broken(exchange, replies, copies if item.is_doubtful else copies - 1, item) from item
                case Refused(code=RefusalCode.NOT_READY):
                    trouble = LogUnavailable(item.message)
                case Refused(code=RefusalCode.EXPIRED):
                    trouble = LogUnavailable(f"{item.message}; does the clock of this machine agree with the log's?")
                    if exchange.acts:  # no later copy can fare better; of a question, only this old copy has expired
                        raise self._no_answer(exchange, replies, copies, trouble)
                case Refused(code=RefusalCode.PARTITION_STOPPED) if exchange.acts:
                    raise self._stopped(exchange, item) from refusal_error(item)
                case Refused():
                    raise refusal_error(item)
                case WorkflowBlocked():
                    exchange.on_blocked(item)
                case _ if isinstance(item, wanted):
                    return item
                case _:
                    pass  # a copy of an answer that was taken before

    def _broken(self, exchange: _Exchange, replies: Replies, copies: int, error: LogError) -> Exception:
        """What to raise where no further copy can be sent: once an earlier one has left, nobody knows."""
        return self._no_answer(exchange, replies, copies, error) if exchange.acts and copies > 0 else log_error(error)

    def _no_answer(self, exchange: _Exchange, replies: Replies, copies: int, trouble: LogError | None) -> RPCTimeoutOrCancelledError:
        command = exchange.command()
        if copies == 0:
            return RPCTimeoutOrCancelledError(
                f"the {exchange.what} was not sent within {_seconds(exchange.timeout)}, and nothing happened: too much is in flight to "
                f"{self.channel.log.url}. Try again later",
                command.workflow_id,
            )
        reason = self._reason(exchange, replies, trouble)
        if not exchange.acts or command.request is None:
            return RPCTimeoutOrCancelledError(
                f"no answer to the {exchange.what} within {_seconds(exchange.timeout)}: {reason}", command.workflow_id
            )
        return _unknown(command, f"no answer to the {exchange.what} within {_seconds(exchange.timeout)}: {reason}")

    def _stopped(self, exchange: _Exchange, refused: Refused) -> OutcomeUnknownError:
        return _unknown(
            exchange.command(),
            f"the {exchange.what} was not carried out yet, as far as is known: {refused.message}. The request stays in the log, and is "
            "carried out once the partition works again, unless it has expired by then",
        )

    def _reason(self, exchange: _Exchange, replies: Replies, trouble: LogError | None) -> str:
        """The likeliest cause, as far as this end can see."""
        if replies.unsettled:
            return f"{self.channel.log.url} has not acknowledged the command; is it reachable?" + (f" ({trouble})" if trouble else "")
        if (trouble := trouble or self.channel.trouble) is not None:
            return str(trouble)
        return (
            f"no owner answers for partition {exchange.partition} of namespace {self.channel.namespace!r}, although the log has the "
            "command; is one running? (`perdure partition list`)"
        )


def _unknown(command: Command, why: str) -> OutcomeUnknownError:
    assert command.request is not None
    request = command.request
    safe_until = datetime.fromtimestamp(request.expires_at_ms / 1000, UTC)
    return OutcomeUnknownError(
        f"{why}. Its outcome is unknown: it may have happened, or may happen yet. To be sure, repeat the call with "
        f"request_id={request.request_id!r} before {safe_until:%Y-%m-%d %H:%M:%S} UTC: the two together act at most once",
        workflow_id=command.workflow_id,
        request_id=request.request_id,
        safe_until=safe_until,
    )


def _milliseconds(span: timedelta) -> int:
    return max(0, round(span.total_seconds() * 1000))


def _seconds(span: timedelta | None) -> str:
    return "its deadline" if span is None else f"{span.total_seconds():g} s"
