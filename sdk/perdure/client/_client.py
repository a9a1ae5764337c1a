"""The client: a connection to a namespace, through which workflows are started, found and listed."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypedDict, TypeVar, Unpack, overload

from perdure._channel import Channel
from perdure._foreign_options import CONNECT, sift
from perdure._log.address import open_log
from perdure._log.errors import LogMisconfigured
from perdure._log.port import Log
from perdure._task_token import TaskToken
from perdure.client._arguments import UNSET, arguments, expect, expect_call
from perdure.client._async_activity import AsyncActivityHandle
from perdure.client._connection import Connection
from perdure.client._execution import WorkflowExecution, execution
from perdure.client._handle import WorkflowHandle
from perdure.client._listing import list_runs
from perdure.client._outcome import result_of
from perdure.client._requests import REQUEST_LIFETIME, Requests
from perdure.client._start import Start, StartOptions
from perdure.client._targets import workflow_target
from perdure.converter import DataConverter
from perdure.converter._payload import naming
from perdure_schemas.commands import ActivityReference, DescribePartition, StartWorkflow
from perdure_schemas.limits import check_id
from perdure_schemas.replies import PartitionDescribed, WorkflowClosed, WorkflowStarted

DEFAULT_LOG = "sqlite:///perdure.db"
DEFAULT_NAMESPACE = "default"
CONNECT_TIMEOUT = timedelta(seconds=10)

_NAMESPACE = re.compile(r"[a-zA-Z0-9._-]{1,100}")
"""It begins the names of topics, and those may have no more."""

SelfT = TypeVar("SelfT")
ParamT = TypeVar("ParamT")
ResultT = TypeVar("ResultT")
P = ParamSpec("P")


class ConnectOptions(TypedDict, total=False):
    """Keywords of `connect` that are known from Temporal's SDK and have no effect here."""

    retry_config: Any
    keep_alive_config: Any
    rpc_metadata: Mapping[str, str | bytes]
    dns_load_balancing_config: Any
    grpc_compression: Any
    payload_limits: Any


class Client:
    """A connection to one namespace, bound to the event loop on which it was made.

    It is cheap to share: any number of calls may be in flight. Close it, or use it as an async context manager.
    """

    def __init__(self, connection: Connection, *, owned_log: Log | None = None) -> None:
        """Use `connect`, or `over` for a log that is open already."""
        self._connection = connection
        self._owned_log = owned_log

    @classmethod
    async def connect(
        cls,
        target_host: str | None = None,
        *,
        namespace: str | None = None,
        data_converter: DataConverter = DataConverter.default,
        identity: str | None = None,
        request_lifetime: timedelta = REQUEST_LIFETIME,
        timeout: timedelta = CONNECT_TIMEOUT,  # noqa: ASYNC109 - it bounds blocking work too
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Connect to the log at a URL: sqlite:///FILE, kafka://HOST:PORT, HOST:PORT (Kafka) or memory://NAME.

        Not given, the URL is that of the environment variable PERDURE_LOG, or sqlite:///perdure.db; the namespace the one in the
        URL, that of PERDURE_NAMESPACE, or "default". An embedded log and its namespace are made where there are none.

        A call to which you give a `request_id` may be repeated, with that id and by whatever process, for `request_lifetime` after its
        deadline, and is done once; owners remember the id for that long. At least a minute and at most a day are possible.

        `options` are known from Temporal's SDK and have no effect; others of it are refused by name.

        Raises LogMisconfigured (the URL), LogUnavailable (no answer within `timeout`), LogUnauthorized, NamespaceNotFound.
        """
        sift("Client.connect", options, CONNECT)
        expect("target_host", target_host, str, optional=True)
        _expect_connection(namespace, data_converter, identity, request_lifetime, timeout)
        url = target_host or os.environ.get("PERDURE_LOG") or DEFAULT_LOG
        log, url_namespace = await asyncio.to_thread(open_log, url)
        try:
            return await cls.over(
                log,
                namespace=namespace or url_namespace,
                data_converter=data_converter,
                identity=identity,
                request_lifetime=request_lifetime,
                timeout=timeout,
                owned=True,
            )
        except BaseException:
            log.close()
            raise

    @classmethod
    async def over(
        cls,
        log: Log,
        *,
        namespace: str | None = None,
        data_converter: DataConverter = DataConverter.default,
        identity: str | None = None,
        request_lifetime: timedelta = REQUEST_LIFETIME,
        timeout: timedelta = CONNECT_TIMEOUT,  # noqa: ASYNC109 - it bounds blocking work too
        owned: bool = False,
    ) -> Self:
        """A client of a log that is open already. With `owned`, closing the client closes the log."""
        _expect_connection(namespace, data_converter, identity, request_lifetime, timeout)
        name = namespace or os.environ.get("PERDURE_NAMESPACE") or DEFAULT_NAMESPACE
        if not _NAMESPACE.fullmatch(name):
            raise LogMisconfigured(f"the namespace {name!r} is not usable: 1 to 100 of the characters a-z A-Z 0-9 . _ - are allowed")
        channel = await Channel.open(log, name, timeout_ms=max(1, round(timeout.total_seconds() * 1000)))
        requests = Requests(channel, request_lifetime=request_lifetime)
        connection = Connection(channel, requests, identity or f"{os.getpid()}@{socket.gethostname()}", data_converter)
        return cls(connection, owned_log=log if owned else None)

    async def close(self) -> None:
        """Let what was sent leave, and end every call that still waits with an error."""
        await self._connection.channel.close()
        if self._owned_log is not None:
            self._owned_log.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self._connection.namespace

    @property
    def identity(self) -> str:
        """How this client names itself in histories."""
        return self._connection.identity

    @property
    def data_converter(self) -> DataConverter:
        """How values become payloads and back."""
        return self._connection.data_converter

    @property
    def connection(self) -> Connection:
        """For Perdure's own parts, such as the worker and the command line; it may change."""
        return self._connection

    @overload
    async def start_workflow(
        self, workflow: Callable[[SelfT], Awaitable[ResultT]], **options: Unpack[StartOptions]
    ) -> WorkflowHandle[SelfT, ResultT]: ...
    @overload
    async def start_workflow(
        self, workflow: Callable[[SelfT, ParamT], Awaitable[ResultT]], arg: ParamT, **options: Unpack[StartOptions]
    ) -> WorkflowHandle[SelfT, ResultT]: ...
    @overload
    async def start_workflow(
        self, workflow: Callable[Concatenate[SelfT, P], Awaitable[ResultT]], *, args: Sequence[Any], **options: Unpack[StartOptions]
    ) -> WorkflowHandle[SelfT, ResultT]: ...
    @overload
    async def start_workflow(
        self, workflow: str, arg: Any = UNSET, *, args: Sequence[Any] = (), result_type: type | None = None, **options: Unpack[StartOptions]
    ) -> WorkflowHandle[Any, Any]: ...
    async def start_workflow(
        self,
        workflow: str | Callable[..., Awaitable[Any]],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: type | None = None,
        **options: Unpack[StartOptions],
    ) -> WorkflowHandle[Any, Any]:
        """Start a workflow; with `start_signal`, signal it too, or only signal it if it is open. Returns once the start is durable.

        Raises WorkflowAlreadyStartedError, LimitExceeded, and OutcomeUnknownError at the deadline.
        """
        start = Start.of(options)
        name, declared_type = workflow_target(workflow)
        command = start.command(name, arguments(arg, args), self.data_converter, self.identity)
        request_id = start.request_id or self._connection.requests.new_request_id()
        with self._connection.requests.listen(request_id) as replies:
            started = await self._connection.requests.act(
                f"start of workflow {start.id!r}",
                start.id,
                command,
                (WorkflowStarted,),
                replies,
                request_id=request_id,
                named=start.request_id is not None,
                timeout=start.rpc_timeout,
            )
        return WorkflowHandle(
            self._connection,
            start.id,
            result_run_id=started.run_id,
            first_execution_run_id=started.first_execution_run_id,
            result_type=result_type or declared_type,
        )

    @overload
    async def execute_workflow(self, workflow: Callable[[SelfT], Awaitable[ResultT]], **options: Unpack[StartOptions]) -> ResultT: ...
    @overload
    async def execute_workflow(
        self, workflow: Callable[[SelfT, ParamT], Awaitable[ResultT]], arg: ParamT, **options: Unpack[StartOptions]
    ) -> ResultT: ...
    @overload
    async def execute_workflow(
        self, workflow: Callable[Concatenate[SelfT, P], Awaitable[ResultT]], *, args: Sequence[Any], **options: Unpack[StartOptions]
    ) -> ResultT: ...
    @overload
    async def execute_workflow(
        self, workflow: str, arg: Any = UNSET, *, args: Sequence[Any] = (), result_type: type | None = None, **options: Unpack[StartOptions]
    ) -> Any: ...
    async def execute_workflow(
        self,
        workflow: str | Callable[..., Awaitable[Any]],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: type | None = None,
        **options: Unpack[StartOptions],
    ) -> Any:
        """Start a workflow and wait for its result, with one command. `rpc_timeout` bounds the start alone.

        Raises what `start_workflow` raises, and WorkflowFailureError with the cause.
        """
        start = Start.of(options)
        name, declared_type = workflow_target(workflow)
        command = start.command(name, arguments(arg, args), self.data_converter, self.identity, await_result=True)
        closed = await self._execute(start, command)
        with naming(f"result of workflow {start.id!r}"):
            return result_of(closed, self.data_converter, result_type or declared_type)

    async def _execute(self, start: Start, command: StartWorkflow) -> WorkflowClosed:
        requests = self._connection.requests
        request_id = start.request_id or self._connection.requests.new_request_id()
        with requests.listen(request_id) as replies:
            first: WorkflowStarted | WorkflowClosed = await requests.act(
                f"start of workflow {start.id!r}",
                start.id,
                command,
                (WorkflowStarted, WorkflowClosed),
                replies,
                request_id=request_id,
                named=start.request_id is not None,
                timeout=start.rpc_timeout,
            )
            if isinstance(first, WorkflowClosed):  # the answer before it was lost
                return first
            what = f"wait for workflow {start.id!r}"
            return await requests.wait_closed(what, start.id, first.run_id, follow_runs=True, timeout=None, replies=replies)

    def get_workflow_handle(
        self,
        workflow_id: str,
        *,
        run_id: str | None = None,
        first_execution_run_id: str | None = None,
        result_type: type | None = None,
    ) -> WorkflowHandle[Any, Any]:
        """A handle of a workflow by its id; asks nobody."""
        return WorkflowHandle(
            self._connection,
            workflow_id,
            run_id=run_id,
            result_run_id=run_id,
            first_execution_run_id=first_execution_run_id,
            result_type=result_type,
        )

    def get_workflow_handle_for(
        self,
        workflow: Callable[Concatenate[SelfT, P], Awaitable[ResultT]],
        workflow_id: str,
        *,
        run_id: str | None = None,
        first_execution_run_id: str | None = None,
    ) -> WorkflowHandle[SelfT, ResultT]:
        """The same, typed by the workflow's run method."""
        _, result_type = workflow_target(workflow)
        return WorkflowHandle(
            self._connection,
            workflow_id,
            run_id=run_id,
            result_run_id=run_id,
            first_execution_run_id=first_execution_run_id,
            result_type=result_type,
        )

    async def list_workflows(
        self, query: str | None = None, *, limit: int | None = None, page_size: int = 100, rpc_timeout: timedelta | None = None
    ) -> AsyncIterator[WorkflowExecution]:
        """The runs that match a filter such as `WorkflowType = 'Transfer' AND ExecutionStatus = 'Running'`, newest start first.

        Raises RPCError INVALID_ARGUMENT for a filter that cannot be read. `rpc_timeout` is for each page.
        """
        expect("query", query, str, optional=True)
        expect("limit", limit, int, optional=True)
        expect("page_size", page_size, int)
        expect_call(rpc_timeout=rpc_timeout)
        if page_size < 1:
            raise ValueError(f"page_size must be at least 1, not {page_size}")
        rows = list_runs(self._connection.requests, query or "", page_size=page_size, limit=limit, timeout=rpc_timeout)
        async for row in rows:
            yield execution(row, self.namespace, self.data_converter)

    @overload
    def get_async_activity_handle(self, *, workflow_id: str, run_id: str | None, activity_id: str) -> AsyncActivityHandle: ...
    @overload
    def get_async_activity_handle(self, *, task_token: bytes) -> AsyncActivityHandle: ...
    def get_async_activity_handle(
        self,
        *,
        workflow_id: str | None = None,
        run_id: str | None = None,
        activity_id: str | None = None,
        task_token: bytes | None = None,
    ) -> AsyncActivityHandle:
        """An activity that is completed from outside of its function: one attempt by token, or the current attempt by ids.

        Where owners have token keys, ids are refused: they are no secret.
        """
        expect_call(workflow_id=workflow_id, run_id=run_id, activity_id=activity_id)
        expect("task_token", task_token, bytes, optional=True)
        if task_token is not None:
            if workflow_id is not None or run_id is not None or activity_id is not None:
                raise ValueError("give either task_token or workflow_id, run_id and activity_id, not both")
            token = TaskToken.from_bytes(task_token)
            return AsyncActivityHandle(self._connection, token.workflow_id, token.reference, token.headers)
        if workflow_id is None or activity_id is None:
            raise ValueError("workflow_id and activity_id are needed where there is no task_token")
        reference = ActivityReference(run_id or "", activity_id=check_id("activity id", activity_id))
        return AsyncActivityHandle(self._connection, workflow_id, reference)

    async def describe_partition(
        self, partition: int, *, with_digest: bool = False, rpc_timeout: timedelta | None = None
    ) -> PartitionDescribed:
        """Claim, positions and counters of one partition, as its owner knows them; for operators."""
        body = DescribePartition(with_digest)
        what = f"description of partition {partition}"
        return await self._connection.requests.read(what, "", body, PartitionDescribed, timeout=rpc_timeout, partition=partition)


def _expect_connection(namespace: Any, data_converter: Any, identity: Any, request_lifetime: Any, timeout: Any) -> None:
    expect_call(namespace=namespace, identity=identity)
    expect("data_converter", data_converter, DataConverter)
    expect("request_lifetime", request_lifetime, timedelta)
    expect("timeout", timeout, timedelta)
