"""Completing an activity from outside of its function, after `activity.raise_complete_async()` (semantics 27)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from perdure._log.port import Headers
from perdure.client._arguments import UNSET
from perdure.client._connection import Connection
from perdure.client._errors import AsyncActivityCancelledError
from perdure.client._start import checked
from perdure.converter._failure import failure_of
from perdure.service import RPCError, RPCStatusCode
from perdure_schemas.commands import (
    ActivityHeartbeat,
    ActivityReference,
    CancelActivity,
    CommandBody,
    CompleteActivity,
    FailActivity,
)
from perdure_schemas.conform import Misfit, conformed
from perdure_schemas.limits import check_id
from perdure_schemas.payload import Payloads
from perdure_schemas.replies import Accepted, ActivityAttention
from perdure_schemas.text import described


class AsyncActivityHandle:
    """Names an attempt by its task token, or the current attempt by workflow id, run id and activity id.

    Every call raises RPCError NOT_FOUND once that attempt is over: completed, timed out, retried, or its workflow closed.
    """

    def __init__(self, connection: Connection, workflow_id: str, activity: ActivityReference, headers: Headers = ()) -> None:
        """Use `Client.get_async_activity_handle`."""
        self._connection = connection
        self._workflow_id = check_id("workflow id", workflow_id)
        self._activity = activity
        self._headers = headers
        self._counter = 0

    async def heartbeat(self, *details: Any, rpc_timeout: timedelta | None = None) -> None:
        """Tell that the activity is alive. Raises AsyncActivityCancelledError if its cancellation is requested."""
        payloads = self._payloads("details of a heartbeat", details)
        nonce = self._connection.requests.new_request_id()
        # Time rises as the counter must, also from one process to the next that takes the activity over.
        self._counter = max(self._counter + 1, self._connection.channel.log.now_ms())
        body = ActivityHeartbeat(self._activity, self._counter, payloads, nonce, self._connection.channel.address)
        with self._connection.requests.listen(nonce) as replies:
            answer = await self._connection.requests.act(
                f"heartbeat of {self._name}",
                self._workflow_id,
                body,
                (Accepted, ActivityAttention),
                replies,
                request_id=nonce,
                named=False,
                timeout=rpc_timeout,
                headers=self._headers,
            )
        match answer:
            case ActivityAttention(cancel_requested=True):
                raise AsyncActivityCancelledError
            case ActivityAttention():
                raise RPCError(f"{self._name} is over: it has closed, timed out or been retried", RPCStatusCode.NOT_FOUND)
            case Accepted():
                pass

    async def complete(self, result: Any = UNSET, *, rpc_timeout: timedelta | None = None) -> None:
        """End the activity with a result."""
        values = () if result is UNSET else (result,)
        body = CompleteActivity(self._activity, self._payloads("result", values), self._connection.identity)
        await self._report("completion", body, rpc_timeout)

    async def fail(self, error: Exception, *, last_heartbeat_details: Sequence[Any] = (), rpc_timeout: timedelta | None = None) -> None:
        """End the attempt with an error; the activity's retry policy decides what follows. Raises TypeError for what is no exception."""
        if not isinstance(error, BaseException):
            raise TypeError(f"the error of {self._name} is {described(error)}, and must be an exception: make one of it")
        converter = self._connection.data_converter
        failure = failure_of(error, converter.failure_converter, converter.payload_converter)
        details = self._payloads("last heartbeat details", last_heartbeat_details)
        await self._report("failure", FailActivity(self._activity, failure, self._connection.identity, details), rpc_timeout)

    async def report_cancellation(self, *details: Any, rpc_timeout: timedelta | None = None) -> None:
        """End the activity as cancelled; only after its cancellation was requested."""
        body = CancelActivity(self._activity, self._payloads("details of the cancellation", details), self._connection.identity)
        await self._report("cancellation", body, rpc_timeout)

    @property
    def _name(self) -> str:
        activity = self._activity.activity_id or f"of scheduled event {self._activity.scheduled_event_id}"
        return f"activity {activity} of workflow {self._workflow_id!r}"

    def _payloads(self, what: str, values: Sequence[Any]) -> tuple[Any, ...]:
        payloads = self._connection.data_converter.payload_converter.to_payloads(values)
        try:
            return checked(f"{what} of {self._name}", conformed(payloads, Payloads))
        except Misfit as misfit:
            raise TypeError(f"the payload converter's {what} of {self._name}: {misfit}") from None

    async def _report(self, what: str, body: CommandBody, rpc_timeout: timedelta | None) -> None:
        await self._connection.act(f"{what} of {self._name}", self._workflow_id, body, rpc_timeout, headers=self._headers)
