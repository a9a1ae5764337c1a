"""The options of a start, and the command they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Required, TypedDict

from perdure._foreign_options import START, sift
from perdure.client._arguments import UNSET, arguments, expect, expect_call
from perdure.common import RetryPolicy, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure.converter import DataConverter
from perdure.converter._payload import naming
from perdure_schemas.commands import SignalWorkflow, StartWorkflow
from perdure_schemas.limits import check_id, check_payloads, check_task_queue
from perdure_schemas.payload import Payloads


class StartOptions(TypedDict, total=False):
    """Keywords of `start_workflow` and `execute_workflow`; timeouts that are not given do not apply.

    With `request_id` a call may be repeated, if need be by another process: all of them together start at most one run.
    `rpc_timeout` is the deadline of the start (30 s if not given); the wait for a result has none. The last four are known from
    Temporal's SDK and have no effect.
    """

    id: Required[str]
    task_queue: Required[str]
    execution_timeout: timedelta | None
    run_timeout: timedelta | None
    task_timeout: timedelta | None
    id_reuse_policy: WorkflowIDReusePolicy
    id_conflict_policy: WorkflowIDConflictPolicy
    retry_policy: RetryPolicy | None
    memo: Mapping[str, Any] | None
    start_signal: str | None
    start_signal_args: Sequence[Any]
    start_delay: timedelta | None
    request_id: str | None
    rpc_timeout: timedelta | None
    static_summary: str | None
    static_details: str | None
    rpc_metadata: Mapping[str, str | bytes]
    request_eager_start: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The same with defaults filled in."""

    id: str
    task_queue: str
    execution_timeout: timedelta | None = None
    run_timeout: timedelta | None = None
    task_timeout: timedelta | None = None
    id_reuse_policy: WorkflowIDReusePolicy = WorkflowIDReusePolicy.ALLOW_DUPLICATE
    id_conflict_policy: WorkflowIDConflictPolicy = WorkflowIDConflictPolicy.UNSPECIFIED
    retry_policy: RetryPolicy | None = None
    memo: Mapping[str, Any] | None = None
    start_signal: str | None = None
    start_signal_args: Sequence[Any] = ()
    start_delay: timedelta | None = None
    request_id: str | None = None
    rpc_timeout: timedelta | None = None

    @classmethod
    def of(cls, options: StartOptions) -> Start:
        """The options of a call. Raises TypeError that names one that is unknown, missing, or of a wrong type."""
        known = sift("start of a workflow", options, START, cls.__slots__)
        if missing := [name for name in ("id", "task_queue") if name not in known]:
            raise TypeError(f"start of a workflow: {' and '.join(missing)} must be given")
        start = cls(**known)
        start._check_types()
        return start

    def _check_types(self) -> None:
        expect("id", self.id, str)
        expect("task_queue", self.task_queue, str)
        for name in ("execution_timeout", "run_timeout", "task_timeout", "start_delay"):
            expect(name, getattr(self, name), timedelta, optional=True)
        expect("id_reuse_policy", self.id_reuse_policy, WorkflowIDReusePolicy, names="WorkflowIDReusePolicy")
        expect("id_conflict_policy", self.id_conflict_policy, WorkflowIDConflictPolicy, names="WorkflowIDConflictPolicy")
        expect("retry_policy", self.retry_policy, RetryPolicy, optional=True)
        expect("memo", self.memo, Mapping, optional=True)
        for key in self.memo or {}:
            expect("a key of memo", key, str)
        expect_call(rpc_timeout=self.rpc_timeout, request_id=self.request_id, start_signal=self.start_signal)

    def command(
        self, workflow_type: str, args: Sequence[Any], data_converter: DataConverter, identity: str, *, await_result: bool = False
    ) -> StartWorkflow:
        """The command that these options ask for. Raises LimitExceeded and ValueError before anything is sent."""
        check_id("workflow id", self.id)
        check_task_queue(self.task_queue)
        check_id("workflow type", workflow_type)
        if self.id_reuse_policy == WorkflowIDReusePolicy.TERMINATE_IF_RUNNING and (
            self.id_conflict_policy != WorkflowIDConflictPolicy.UNSPECIFIED
        ):
            raise ValueError(
                "id_reuse_policy TERMINATE_IF_RUNNING cannot be mixed with an id_conflict_policy; use TERMINATE_EXISTING alone"
            )
        convert = data_converter.payload_converter
        payloads = written(f"input of workflow {self.id!r}", args, data_converter)
        memo = {}
        for key, value in (self.memo or {}).items():
            with naming(f"value {key!r} of the memo of workflow {self.id!r}"):
                memo[key] = convert.to_payload(value)
        check_payloads(f"memo of workflow {self.id!r}", tuple(memo.values()))
        signal = None
        if self.start_signal is not None:
            signal_args = arguments(UNSET, self.start_signal_args)
            signal_input = written(f"input of signal {self.start_signal!r} to workflow {self.id!r}", signal_args, data_converter)
            signal = SignalWorkflow(check_id("signal name", self.start_signal), input=signal_input, identity=identity)
        elif self.start_signal_args:
            raise ValueError("start_signal_args are given without start_signal")
        return StartWorkflow(
            workflow_type=workflow_type,
            task_queue=self.task_queue,
            input=payloads,
            memo=memo,
            execution_timeout_ms=span_ms("execution_timeout", self.execution_timeout),
            run_timeout_ms=span_ms("run_timeout", self.run_timeout),
            task_timeout_ms=span_ms("task_timeout", self.task_timeout),
            start_delay_ms=span_ms("start_delay", self.start_delay),
            retry_options=None if self.retry_policy is None else self.retry_policy.to_options(),
            id_reuse_policy=WorkflowIDReusePolicy(self.id_reuse_policy),
            id_conflict_policy=WorkflowIDConflictPolicy(self.id_conflict_policy),
            signal=signal,
            await_result=await_result,
            identity=identity,
        )


def written(what: str, values: Sequence[Any], data_converter: DataConverter) -> Payloads:
    """`values` as payloads. Raises LimitExceeded, and what the converter raises, with `what` in its message."""
    with naming(what):
        payloads = data_converter.payload_converter.to_payloads(values)
    return checked(what, payloads)


def checked(what: str, payloads: Payloads) -> Payloads:
    """`payloads`, if together they are small enough. Raises LimitExceeded."""
    check_payloads(what, payloads)
    return payloads


def span_ms(what: str, span: timedelta | None) -> int:
    """Milliseconds of a span, 0 for None; a positive span never becomes 0, which would mean "not given"."""
    if span is None:
        return 0
    if span < timedelta(0):
        raise ValueError(f"{what} is negative ({span})")
    return max(1, round(span.total_seconds() * 1000)) if span else 0
