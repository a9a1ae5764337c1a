"""What a driver asked and was told, as JSON lines that survive its death: the record that `perdure_check.operations` describes.

    {"id": …, "operation": "start", "workflow_id": …, "request_id": …, "kind": "intent" | "ok" | "fail" | "unknown", "time_ms": …}

`intent` stands before the call, and each line is on the disk before the driver goes on. Several processes may append to one file. An
operation without an outcome, or with `unknown` alone, happened once or not at all.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from perdure.client import Client, WorkflowHandle
from perdure.common import WorkflowIDReusePolicy
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure.service import OutcomeUnknownError, RPCError, RPCTimeoutOrCancelledError

T = TypeVar("T")
ParamT = TypeVar("ParamT")
ResultT = TypeVar("ResultT")

PATIENCE = timedelta(seconds=10)
"""Deadline of one call; what it leaves unknown is asked again under the same request id."""


class Operations:
    """Appends to the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, kind: str, operation: str, workflow_id: str, request_id: str) -> None:
        """One line."""
        line = {
            "id": f"{operation}/{workflow_id}/{request_id}",
            "operation": operation,
            "workflow_id": workflow_id,
            "request_id": request_id,
            "kind": kind,
            "time_ms": time.time_ns() // 1_000_000,
        }
        os.write(self._file, json.dumps(line).encode() + b"\n")
        os.fdatasync(self._file)

    async def ask(self, operation: str, workflow_id: str, request_id: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call until its outcome is known; `call` has to carry the request id. Raises what it was refused with."""
        self.write("intent", operation, workflow_id, request_id)
        while True:
            try:
                answer = await call()
            except OutcomeUnknownError:
                self.write("unknown", operation, workflow_id, request_id)
            except RPCTimeoutOrCancelledError:  # nothing was sent
                continue
            except RPCError:
                self.write("fail", operation, workflow_id, request_id)
                raise
            else:
                self.write("ok", operation, workflow_id, request_id)
                return answer

    async def start(
        self,
        client: Client,
        run: Callable[[Any, ParamT], Awaitable[ResultT]],
        argument: ParamT,
        workflow_id: str,
        *,
        request_id: str = "",
        reuse: WorkflowIDReusePolicy = WorkflowIDReusePolicy.REJECT_DUPLICATE,
    ) -> WorkflowHandle[Any, ResultT]:
        """Start a run, once however often that is asked; the request id is the workflow's unless given. Raises AssertionError if refused:

        whoever repeats a start meets the run that it began.
        """
        name = request_id or workflow_id
        try:
            return await self.ask(
                "start",
                workflow_id,
                name,
                lambda: client.start_workflow(
                    run, argument, id=workflow_id, task_queue="work", id_reuse_policy=reuse, request_id=name, rpc_timeout=PATIENCE
                ),
            )
        except WorkflowAlreadyStartedError as error:
            raise AssertionError(f"start {name!r} of {workflow_id} was refused: {error}") from error

    async def signal(self, handle: WorkflowHandle[Any, Any], signal: Callable[..., None], *args: object, request_id: str) -> None:
        """Send a signal, once however often that is asked."""
        await self.ask(
            "signal", handle.id, request_id, lambda: handle.signal(signal, args=args, request_id=request_id, rpc_timeout=PATIENCE)
        )


def count_kinds(path: Path) -> Counter[str]:
    """How many lines there are of each kind."""
    text = path.read_bytes() if path.exists() else b""
    return Counter({kind: text.count(b'"kind": "%s"' % kind.encode()) for kind in ("intent", "ok", "fail", "unknown")})
