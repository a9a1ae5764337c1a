"""What the script of a simulated client calls: the real client, each call repeated under its request id until its outcome is known."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure._log.errors import LogClosed, LogError
from perdure.client import Client, WorkflowFailureError, WorkflowHandle
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.service import OutcomeUnknownError, RPCError, RPCStatusCode, RPCTimeoutOrCancelledError

if TYPE_CHECKING:
    from kit.real_world import RealWorld

QUEUE = "sim"
CALL_TIMEOUT = timedelta(seconds=2)


class Asking:
    """A script's calls. What they are told is compared with the log, at once."""

    def __init__(self, world: RealWorld, client: Client, prefix: str = "") -> None:
        self.world = world
        self.client = client
        self._prefix = prefix
        self._numbers: dict[str, itertools.count[int]] = defaultdict(lambda: itertools.count(1))

    async def start(self, workflow_id: str, workflow_type: str, *args: Any, **options: Any) -> bool:
        """Start a workflow; False if it was refused."""

        async def call(request_id: str) -> None:
            await self.client.start_workflow(
                workflow_type, args=args, id=workflow_id, task_queue=QUEUE, request_id=request_id, rpc_timeout=CALL_TIMEOUT, **options
            )

        return await self._act(workflow_id, call)

    async def signal(self, workflow_id: str, name: str, *args: Any) -> bool:
        """Signal a workflow; False if it was refused."""
        handle = self.client.get_workflow_handle(workflow_id)
        return await self._act(
            workflow_id, lambda request_id: handle.signal(name, args=args, request_id=request_id, rpc_timeout=CALL_TIMEOUT)
        )

    async def cancel(self, workflow_id: str) -> bool:
        """Cancel a workflow; False if it was refused."""
        handle = self.client.get_workflow_handle(workflow_id)
        return await self._act(workflow_id, lambda request_id: handle.cancel(request_id=request_id, rpc_timeout=CALL_TIMEOUT))

    async def terminate(self, workflow_id: str) -> bool:
        """Terminate a workflow; False if it was refused."""
        handle = self.client.get_workflow_handle(workflow_id)
        return await self._act(workflow_id, lambda request_id: handle.terminate(request_id=request_id, rpc_timeout=CALL_TIMEOUT))

    async def deposits_seen(self, account: str) -> int:
        """Ask an account. P1: it knows of every deposit that was acknowledged to anybody before, and of none that is not in the log."""
        floor = self.world.told_deposits[account]
        handle = self.client.get_workflow_handle(account)
        told: int | None = None
        while told is None:
            is_open = account in self.world.promises.open
            try:
                told = await self._read(lambda: handle.query("deposits_seen", result_type=int, rpc_timeout=CALL_TIMEOUT))
            except RPCError as error:
                if is_open or error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                self.world.promises.seen["asked before it was open"] += 1
                await asyncio.sleep(0.1)
        assert floor <= told <= self.world.promises.accounts[account].deposits, f"{account} knows of {told} deposits; {floor} were told"
        return told

    async def result(self, workflow_id: str) -> Any:
        """Wait for the end; a failure is given by its name."""
        handle: WorkflowHandle[Any, Any] = self.client.get_workflow_handle(workflow_id)
        try:
            value = await self._read(handle.result)
        except WorkflowFailureError as error:
            return type(error.cause).__name__
        assert value == self.world.promises.results[workflow_id], f"{workflow_id} gave {value}: {self.world.promises.results[workflow_id]}"
        return value

    def under(self, prefix: str) -> Asking:
        """The same, with request ids of its own."""
        return Asking(self.world, self.client, prefix)

    async def _act(self, workflow_id: str, call: Callable[[str], Awaitable[None]]) -> bool:
        request_id = f"{self._prefix}{workflow_id}/{next(self._numbers[workflow_id])}"
        seen = self.world.promises.seen
        while True:
            try:
                await call(request_id)
                accepted = True
                break
            except OutcomeUnknownError as error:
                if error.request_id != request_id:
                    raise AssertionError(f"{request_id} is to be repeated as {error.request_id}") from error
                seen["outcome unknown"] += 1
            except WorkflowAlreadyStartedError:
                accepted = False
                break
            except RPCTimeoutOrCancelledError:
                seen["call not sent"] += 1
            except RPCError as error:
                if error.status is RPCStatusCode.UNAVAILABLE:
                    continue
                accepted = False
                break
            except LogClosed:
                raise
            except LogError:
                seen["call not sent"] += 1
                await asyncio.sleep(0.1)
        self.world.was_told(request_id, accepted)
        return accepted

    async def _read(self, call: Callable[[], Awaitable[Any]]) -> Any:
        while True:
            try:
                return await call()
            except RPCTimeoutOrCancelledError:
                self.world.promises.seen["read timed out"] += 1
            except LogClosed:
                raise
            except LogError:
                await asyncio.sleep(0.1)
