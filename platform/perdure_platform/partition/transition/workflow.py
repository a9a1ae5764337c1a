"""Handlers of the workflow family: start, signal, cancel, terminate; and how a run closes or is followed by another.

A refusal is a value: an outcome that is recorded like any other (R10). Rules: semantics 5.1 (11, 12) and 5.6.
"""

from __future__ import annotations

from perdure_platform.partition.transition.draft import Draft
from perdure_platform.partition.transition.state import RunState
from perdure_schemas import events
from perdure_schemas.commands import (
    CancelWorkflow,
    ExternalSource,
    ResolveExternalCancel,
    ResolveExternalSignal,
    SignalWorkflow,
    StartWorkflow,
    TerminateWorkflow,
)
from perdure_schemas.errors import LimitExceeded
from perdure_schemas.failure import ApplicationFailureInfo, Failure, RetryState, ServerFailureInfo, TimeoutFailureInfo, TimeoutType
from perdure_schemas.limits import check_duration, check_id, check_payloads, check_retry, check_task_queue
from perdure_schemas.options import IdConflictPolicy, IdReusePolicy, WorkflowStatus
from perdure_schemas.payload import Payloads
from perdure_schemas.replies import Accepted, RefusalCode, Refused, WorkflowClosed, WorkflowStarted
from perdure_schemas.retry import decide_retry

NOT_FOUND_TYPE = "ExternalWorkflowExecutionNotFound"
"""The type of the ApplicationError that a workflow gets for a signal or cancel to nobody (semantics 1.1)."""

_UNCLEAN = (WorkflowStatus.FAILED, WorkflowStatus.CANCELED, WorkflowStatus.TERMINATED, WorkflowStatus.TIMED_OUT)


def start(draft: Draft, command: StartWorkflow, trace_parent: str) -> None:
    """Start a run, or use, terminate or refuse in favour of the one that is there (semantics 59 to 61)."""
    if (problem := _start_problem(draft.workflow_id, command)) is not None:
        draft.settle(Refused(RefusalCode.LIMIT_EXCEEDED, problem, draft.workflow_id))
        return
    current = draft.state
    if current is not None and current.is_open:
        policy = command.id_conflict_policy
        if policy is IdConflictPolicy.UNSPECIFIED and command.id_reuse_policy is IdReusePolicy.TERMINATE_IF_RUNNING:
            policy = IdConflictPolicy.TERMINATE_EXISTING
        if policy is IdConflictPolicy.UNSPECIFIED and command.signal is not None:
            policy = IdConflictPolicy.USE_EXISTING
        if policy is IdConflictPolicy.USE_EXISTING:
            _use_existing(draft, current, command, trace_parent)
            return
        if policy is not IdConflictPolicy.TERMINATE_EXISTING:
            draft.settle(_already_started(current))
            return
        draft.inbound(events.WorkflowExecutionTerminated(reason="replaced by a new start", identity=command.identity))
    elif current is not None and not _may_reuse(current, command.id_reuse_policy):
        draft.settle(_already_started(current))
        return
    run_id = draft.new_run_id("start", draft.offset)
    draft.begin_run(run_id, _started(draft, command, run_id, trace_parent))
    if command.signal is not None:
        draft.inbound(_signaled(command.signal, trace_parent))
    draft.settle(WorkflowStarted(run_id, run_id))


def _start_problem(workflow_id: str, command: StartWorkflow) -> str | None:
    try:
        check_id("workflow id", workflow_id)
        check_id("workflow type", command.workflow_type)
        check_task_queue(command.task_queue)
        check_payloads("workflow's input", command.input)
        check_payloads("workflow's memo", tuple(command.memo.values()))
        check_duration("execution timeout", command.execution_timeout_ms)
        check_duration("run timeout", command.run_timeout_ms)
        check_duration("task timeout", command.task_timeout_ms)
        check_duration("start delay", command.start_delay_ms)
        check_retry(command.retry_options)
        if command.signal is not None:
            check_id("signal name", command.signal.name)
            check_payloads("signal's input", command.signal.input)
    except LimitExceeded as problem:
        return str(problem)
    return None


def _may_reuse(closed: RunState, policy: IdReusePolicy) -> bool:
    if policy is IdReusePolicy.REJECT_DUPLICATE:
        return False
    return policy is not IdReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY or closed.status in _UNCLEAN


def _already_started(run: RunState) -> Refused:
    state = "is running" if run.is_open else f"exists already (it is {run.status.name.lower()})"
    return Refused(
        RefusalCode.ALREADY_STARTED,
        f"workflow {run.workflow_id!r} {state} as run {run.run_id}",
        run.workflow_id,
        run.run_id,
        run.started.workflow_type,
        int(run.status),
    )


def _use_existing(draft: Draft, current: RunState, command: StartWorkflow, trace_parent: str) -> None:
    if command.signal is not None:
        draft.inbound(_signaled(command.signal, trace_parent))
    if command.await_result:
        draft.wait_for_close(current.run_id)
    draft.settle(WorkflowStarted(current.run_id, current.started.first_execution_run_id, started=False))


def _started(draft: Draft, command: StartWorkflow, run_id: str, trace_parent: str) -> events.WorkflowExecutionStarted:
    execution_deadline_ms = draft.now_ms + command.execution_timeout_ms if command.execution_timeout_ms else 0
    run_timeout_ms = command.run_timeout_ms
    if command.execution_timeout_ms:
        run_timeout_ms = min(run_timeout_ms or command.execution_timeout_ms, command.execution_timeout_ms)
    return events.WorkflowExecutionStarted(
        workflow_type=command.workflow_type,
        task_queue=command.task_queue,
        input=command.input,
        first_execution_run_id=run_id,
        header=command.header,
        memo=command.memo,
        search_attributes=command.search_attributes,
        execution_timeout_ms=command.execution_timeout_ms,
        run_timeout_ms=run_timeout_ms,
        task_timeout_ms=command.task_timeout_ms,
        execution_deadline_ms=execution_deadline_ms,
        first_activation_delay_ms=0 if command.signal is not None else command.start_delay_ms,
        retry_options=command.retry_options,
        identity=command.identity,
        trace_parent=trace_parent,
        waiter=draft.result_waiter() if command.await_result else None,
    )


def _signaled(command: SignalWorkflow, trace_parent: str) -> events.WorkflowExecutionSignaled:
    return events.WorkflowExecutionSignaled(command.name, command.input, command.header, command.identity, command.source, trace_parent)


def _addressed(draft: Draft, run_id: str, first_execution_run_id: str) -> RunState | None:
    """The current run, if the command may be meant for it: the run ids, where given, must fit (semantics 69)."""
    run = draft.state
    if run is None or (run_id and run_id != run.run_id):
        return None
    if first_execution_run_id and first_execution_run_id != run.started.first_execution_run_id:
        return None
    return run


def _not_found(draft: Draft, run_id: str, run: RunState | None) -> Refused:
    wanted = f"run {run_id} of workflow {draft.workflow_id!r}" if run_id else f"workflow {draft.workflow_id!r}"
    status = 0 if run is None else int(run.status)
    message = (
        f"{wanted} is {run.status.name.lower()}" if run is not None else f"{wanted} is not open here: no such run, or it is not the latest"
    )
    return Refused(RefusalCode.NOT_FOUND, message, draft.workflow_id, run_id, status=status)


def signal(draft: Draft, command: SignalWorkflow, trace_parent: str) -> None:
    """Deliver a signal to the open run; what sent it hears that the run has it, or that there is none."""
    run = _addressed(draft, command.run_id, command.first_execution_run_id)
    refusal = None
    try:
        check_id("signal name", command.name)
        check_payloads("signal's input", command.input)
    except LimitExceeded as problem:
        refusal = Refused(RefusalCode.LIMIT_EXCEEDED, str(problem), draft.workflow_id)
    if refusal is None and (run is None or not run.is_open):
        refusal = _not_found(draft, command.run_id, run)
    if refusal is None and run is not None:
        draft.inbound(_signaled(command, trace_parent))
        draft.settle(Accepted(run.run_id))
    elif refusal is not None:
        _refuse(draft, refusal, command.source, ResolveExternalSignal)


def cancel(draft: Draft, command: CancelWorkflow, _trace_parent: str) -> None:
    """Ask the open run to cancel itself, once. On a closed run it is accepted and does nothing (semantics 11)."""
    run = _addressed(draft, command.run_id, command.first_execution_run_id)
    if run is None or (not run.is_open and command.source is not None):
        _refuse(draft, _not_found(draft, command.run_id, run), command.source, ResolveExternalCancel)
        return
    if run.is_open and not run.cancel_requested:
        draft.inbound(events.WorkflowExecutionCancelRequested(command.reason, command.identity, command.source))
    elif command.source is not None:
        draft.send(command.source.workflow_id, ResolveExternalCancel(command.source.run_id, command.source.initiated_event_id))
    draft.settle(Accepted(run.run_id))


def terminate(draft: Draft, command: TerminateWorkflow, _trace_parent: str) -> None:
    """End the open run; its code is not asked."""
    run = _addressed(draft, command.run_id, command.first_execution_run_id)
    if run is None or not run.is_open:
        draft.settle(_not_found(draft, command.run_id, run))
        return
    draft.inbound(events.WorkflowExecutionTerminated(command.reason, command.details, command.identity))
    draft.settle(Accepted(run.run_id))


def _refuse(
    draft: Draft,
    refusal: Refused,
    source: ExternalSource | None,
    resolve: type[ResolveExternalSignal] | type[ResolveExternalCancel],
) -> None:
    """Tell a client by an outcome, another workflow by a command."""
    if source is not None:
        info = ApplicationFailureInfo(type=NOT_FOUND_TYPE, non_retryable=True)
        failure = Failure(refusal.message, source="perdure", info=info)
        draft.send(source.workflow_id, resolve(source.run_id, source.initiated_event_id, failure))
    draft.settle(refusal)


# -- how a run ends, and what follows it


def fail(draft: Draft, failure: Failure) -> None:
    """The code raised a workflow failure: the run fails, and is retried if its policy says so (semantics 64)."""
    run = draft.run.state
    new_run_id, retry_state, delay_ms = _retry(draft, run, failure)
    draft.produce(events.WorkflowExecutionFailed(failure, retry_state, new_run_id))
    if new_run_id:
        draft.begin_run(new_run_id, _retried(run, failure, delay_ms))


def time_out(draft: Draft) -> None:
    """The run outlived its timeout; its code is not asked. Only a run timeout is retried (semantics 64, 66)."""
    run = draft.run.state
    execution_over = bool(run.started.execution_deadline_ms) and draft.now_ms >= run.started.execution_deadline_ms
    failure = timeout_failure("workflow timeout", TimeoutType.START_TO_CLOSE)
    new_run_id, retry_state, delay_ms = ("", RetryState.TIMEOUT, 0) if execution_over else _retry(draft, run, failure)
    draft.inbound(events.WorkflowExecutionTimedOut(retry_state, new_run_id))
    if new_run_id:
        draft.begin_run(new_run_id, _retried(run, failure, delay_ms))


def continue_as_new(draft: Draft, action_event: events.WorkflowExecutionContinuedAsNew, started: events.WorkflowExecutionStarted) -> None:
    """The code ends its run in favour of a new one; both are in one record."""
    draft.produce(action_event)
    draft.begin_run(action_event.new_run_id, started)


def _retry(draft: Draft, run: RunState, failure: Failure) -> tuple[str, RetryState, int]:
    options = run.started.retry_options
    if options is None:
        return "", RetryState.RETRY_POLICY_NOT_SET, 0
    decision = decide_retry(
        options,
        run.started.attempt,
        failure,
        now_ms=draft.now_ms,
        deadline_ms=run.started.execution_deadline_ms,
        cap_next_retry_delay=True,
    )
    if isinstance(decision, RetryState):
        return "", decision, 0
    return draft.new_run_id("retry", run.run_id), RetryState.IN_PROGRESS, decision - draft.now_ms


def _retried(run: RunState, failure: Failure, delay_ms: int) -> events.WorkflowExecutionStarted:
    old = run.started
    return events.WorkflowExecutionStarted(
        workflow_type=old.workflow_type,
        task_queue=old.task_queue,
        input=old.input,
        first_execution_run_id=old.first_execution_run_id,
        header=old.header,
        memo=old.memo,
        search_attributes=old.search_attributes,
        execution_timeout_ms=old.execution_timeout_ms,
        run_timeout_ms=old.run_timeout_ms,
        task_timeout_ms=old.task_timeout_ms,
        execution_deadline_ms=old.execution_deadline_ms,
        first_activation_delay_ms=delay_ms,
        retry_options=old.retry_options,
        attempt=old.attempt + 1,
        continued_run_id=run.run_id,
        continued_failure=failure,
        identity=old.identity,
        trace_parent=old.trace_parent,
        waiter=old.waiter,
    )


def closed_reply(run: RunState) -> WorkflowClosed:
    """What a client that waits for a closed run is told."""
    event = run.close_event
    failure = None
    result: Payloads = ()
    match event:
        case events.WorkflowExecutionCompleted():
            result = event.result
        case events.WorkflowExecutionFailed():
            failure = event.failure
        case events.WorkflowExecutionTimedOut():
            failure = timeout_failure("workflow timed out", TimeoutType.START_TO_CLOSE)
        case events.WorkflowExecutionTerminated():
            result = event.details
            failure = Failure(event.reason or "workflow terminated", source="perdure", info=ServerFailureInfo(non_retryable=True))
        case events.WorkflowExecutionCanceled():
            result = event.details
        case _:
            pass
    return WorkflowClosed(run.run_id, run.status, result, failure, run.new_run_id)


def timeout_failure(message: str, timeout_type: TimeoutType, cause: Failure | None = None, details: Payloads = ()) -> Failure:
    """A timeout as data."""
    return Failure(message, source="perdure", cause=cause, info=TimeoutFailureInfo(timeout_type, details))
