"""A workflow seen from outside: wait for it, signal it, ask it, end it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from perdure.client._arguments import UNSET, arguments, expect, expect_call
from perdure.client._connection import Connection
from perdure.client._execution import WorkflowExecutionDescription, description
from perdure.client._history import WorkflowHistory
from perdure.client._outcome import decoded, result_of
from perdure.client._start import written
from perdure.client._targets import query_target, signal_target
from perdure.common import QueryRejectCondition
from perdure.converter._payload import naming
from perdure_schemas.commands import (
    CancelWorkflow,
    DescribeWorkflow,
    FetchHistory,
    QueryWorkflow,
    ResumeWorkflow,
    SignalWorkflow,
    TerminateWorkflow,
)
from perdure_schemas.limits import check_id
from perdure_schemas.replies import HistoryEvent, HistoryPage, QueryAnswered, WorkflowDescribed

SelfT = TypeVar("SelfT")
ResultT = TypeVar("ResultT")
ParamT = TypeVar("ParamT")
QueryT = TypeVar("QueryT")
P = ParamSpec("P")

_NEW_EVENTS_S = 0.5
"""Pause between two questions for the events of an open run, in seconds."""


class WorkflowHandle(Generic[SelfT, ResultT]):
    """Names a workflow. Making one asks nobody; the workflow need not exist.

    Signals, queries and descriptions go to `run_id`, by default whichever run is the latest. `result` waits for `result_run_id`.
    Cancel and terminate also name `first_execution_run_id`, if known, so that they never hit an unrelated later chain of the id.
    Every call takes `rpc_timeout` (30 s if not given); those that act take `request_id`, with which they may be repeated.
    """

    def __init__(
        self,
        connection: Connection,
        id: str,  # noqa: A002 - the name that users of Temporal know
        *,
        run_id: str | None = None,
        result_run_id: str | None = None,
        first_execution_run_id: str | None = None,
        result_type: type | None = None,
    ) -> None:
        """Use `Client.get_workflow_handle`, or what `Client.start_workflow` returns."""
        expect("id", id, str)
        expect_call(run_id=run_id, result_run_id=result_run_id, first_execution_run_id=first_execution_run_id)
        self._connection = connection
        self._id = check_id("workflow id", id)
        self._run_id = run_id
        self._result_run_id = result_run_id
        self._first_execution_run_id = first_execution_run_id
        self._result_type = result_type

    @property
    def id(self) -> str:
        """The workflow id."""
        return self._id

    @property
    def run_id(self) -> str | None:
        """The run that signals, queries, cancels and terminations are for; None for the latest."""
        return self._run_id

    @property
    def result_run_id(self) -> str | None:
        """The run whose result is awaited; None for the latest."""
        return self._result_run_id

    @property
    def first_execution_run_id(self) -> str | None:
        """The first run of the chain that this handle is about, if known."""
        return self._first_execution_run_id

    def __repr__(self) -> str:
        return f"WorkflowHandle(id={self._id!r}, run_id={self._run_id!r}, result_run_id={self._result_run_id!r})"

    async def result(self, *, follow_runs: bool = True, rpc_timeout: timedelta | None = None) -> ResultT:
        """Wait for the workflow and return what it returned; without `rpc_timeout`, as long as it takes.

        Raises WorkflowFailureError with the cause; with follow_runs=False also WorkflowContinuedAsNewError.
        """
        expect_call(rpc_timeout=rpc_timeout)
        closed = await self._connection.requests.wait_closed(
            f"wait for workflow {self._id!r}", self._id, self._result_run_id or "", follow_runs=follow_runs, timeout=rpc_timeout
        )
        with naming(f"result of workflow {self._id!r}"):
            value: ResultT = result_of(closed, self._connection.data_converter, self._result_type)
        return value

    @overload
    async def signal(
        self,
        signal: Callable[[SelfT], Awaitable[None] | None],
        *,
        request_id: str | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None: ...
    @overload
    async def signal(
        self,
        signal: Callable[[SelfT, ParamT], Awaitable[None] | None],
        arg: ParamT,
        *,
        request_id: str | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None: ...
    @overload
    async def signal(
        self,
        signal: Callable[Concatenate[SelfT, P], Awaitable[None] | None],
        *,
        args: Sequence[Any],
        request_id: str | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None: ...
    @overload
    async def signal(
        self,
        signal: str,
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        request_id: str | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None: ...
    async def signal(
        self,
        signal: str | Callable[..., Any],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        request_id: str | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Send a signal. Returns once it is durable, not once it is handled. Raises RPCError NOT_FOUND if no such run is open."""
        expect_call(rpc_timeout=rpc_timeout, request_id=request_id)
        name = check_id("signal name", signal_target(signal))
        converter = self._connection.data_converter
        payloads = written(f"input of signal {name!r} to workflow {self._id!r}", arguments(arg, args), converter)
        body = SignalWorkflow(name, self._run_id or "", input=payloads, identity=self._connection.identity)
        await self._connection.act(f"signal {name!r} to workflow {self._id!r}", self._id, body, rpc_timeout, request_id)

    @overload
    async def query(
        self,
        query: Callable[[SelfT], QueryT],
        *,
        reject_condition: QueryRejectCondition | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> QueryT: ...
    @overload
    async def query(
        self,
        query: Callable[[SelfT, ParamT], QueryT],
        arg: ParamT,
        *,
        reject_condition: QueryRejectCondition | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> QueryT: ...
    @overload
    async def query(
        self,
        query: Callable[Concatenate[SelfT, P], QueryT],
        *,
        args: Sequence[Any],
        reject_condition: QueryRejectCondition | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> QueryT: ...
    @overload
    async def query(
        self,
        query: str,
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: type | None = None,
        reject_condition: QueryRejectCondition | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> Any: ...
    async def query(
        self,
        query: str | Callable[..., Any],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: type | None = None,
        reject_condition: QueryRejectCondition | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> Any:
        """Ask the workflow's code for a value; a closed run answers too.

        Raises WorkflowQueryFailedError with the handler's message, WorkflowQueryRejectedError, RPCError NOT_FOUND.
        """
        expect_call(rpc_timeout=rpc_timeout)
        expect("reject_condition", reject_condition, QueryRejectCondition, optional=True)
        name, declared_type = query_target(query)
        check_id("query name", name)
        converter = self._connection.data_converter
        payloads = written(f"input of query {name!r} to workflow {self._id!r}", arguments(arg, args), converter)
        body = QueryWorkflow(name, self._run_id or "", payloads, reject_condition=reject_condition or QueryRejectCondition.NONE)
        what = f"query {name!r} of workflow {self._id!r}"
        answer = await self._connection.requests.read(what, self._id, body, QueryAnswered, timeout=rpc_timeout)
        with naming(f"answer of query {name!r} of workflow {self._id!r}"):
            return decoded(answer.result, converter, result_type or declared_type)

    async def cancel(self, reason: str = "", *, request_id: str | None = None, rpc_timeout: timedelta | None = None) -> None:
        """Ask the workflow to cancel itself. A run that has closed is left as it is, without an error."""
        expect("reason", reason, str)
        expect_call(rpc_timeout=rpc_timeout, request_id=request_id)
        body = CancelWorkflow(self._run_id or "", self._first_execution_run_id or "", reason, self._connection.identity)
        await self._connection.act(f"cancel of workflow {self._id!r}", self._id, body, rpc_timeout, request_id)

    async def terminate(
        self, *args: Any, reason: str | None = None, request_id: str | None = None, rpc_timeout: timedelta | None = None
    ) -> None:
        """End the workflow at once; its code is not asked. `args` are details for whoever waits for its result."""
        expect_call(rpc_timeout=rpc_timeout, request_id=request_id, reason=reason)
        details = written(f"details of the termination of workflow {self._id!r}", args, self._connection.data_converter)
        body = TerminateWorkflow(self._run_id or "", self._first_execution_run_id or "", reason or "", details, self._connection.identity)
        await self._connection.act(f"termination of workflow {self._id!r}", self._id, body, rpc_timeout, request_id)

    async def resume(self, *, skip_signals: bool = False, request_id: str | None = None, rpc_timeout: timedelta | None = None) -> None:
        """Let code that is parked or blocked run again now. With `skip_signals`, signals that wait are never shown to it.

        Code is parked when its inputs ended several owners in a row, and blocked while its activations fail. Raises RPCError NOT_FOUND
        without an open run, INVALID_ARGUMENT where the run is neither, or has no signal to skip.
        """
        expect_call(rpc_timeout=rpc_timeout, request_id=request_id)
        body = ResumeWorkflow(self._run_id or "", skip_signals, self._connection.identity)
        await self._connection.act(f"resumption of workflow {self._id!r}", self._id, body, rpc_timeout, request_id)

    async def describe(self, *, rpc_timeout: timedelta | None = None) -> WorkflowExecutionDescription:
        """The run's state, times and pending activities. Raises RPCError NOT_FOUND."""
        expect_call(rpc_timeout=rpc_timeout)
        what = f"description of workflow {self._id!r}"
        body = DescribeWorkflow(self._run_id or "")
        described = await self._connection.requests.read(what, self._id, body, WorkflowDescribed, timeout=rpc_timeout)
        return description(described, self._connection.namespace, self._connection.data_converter)

    async def fetch_history(self, *, rpc_timeout: timedelta | None = None) -> WorkflowHistory:
        """All events of the run so far. Raises RPCError NOT_FOUND."""
        events: list[HistoryEvent] = []
        run_id = ""
        async for page in self._pages(500, rpc_timeout):
            events.extend(page.events)
            run_id = page.run_id
        return WorkflowHistory(self._id, tuple(events), run_id)

    async def fetch_history_events(
        self, *, page_size: int = 500, wait_new_event: bool = False, rpc_timeout: timedelta | None = None
    ) -> AsyncIterator[HistoryEvent]:
        """The same, event by event, a page at a time. With `wait_new_event` it goes on with those that come, until the run has closed."""
        async for page in self._pages(page_size, rpc_timeout, wait_new_event):
            for event in page.events:
                yield event

    async def _pages(self, page_size: int, rpc_timeout: timedelta | None, wait_new_event: bool = False) -> AsyncIterator[HistoryPage]:
        expect("page_size", page_size, int)
        expect("wait_new_event", wait_new_event, bool)
        expect_call(rpc_timeout=rpc_timeout)
        what = f"history of workflow {self._id!r}"
        body = FetchHistory(self._run_id or "", 1, page_size)
        while True:
            page = await self._connection.requests.read(what, self._id, body, HistoryPage, timeout=rpc_timeout)
            yield page
            next_event_id = page.next_event_id
            if not next_event_id:
                if page.closed or not wait_new_event:
                    return
                next_event_id = page.events[-1].event_id + 1 if page.events else body.first_event_id
                await asyncio.sleep(_NEW_EVENTS_S)
            body = FetchHistory(page.run_id, next_event_id, page_size)  # the same run, whatever follows it meanwhile
