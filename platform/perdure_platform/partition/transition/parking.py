"""Parked runs: set aside because their inputs end their owner, and resumed by an operator (design.md 5, faults.md R14)."""

from __future__ import annotations

from perdure_platform.partition.transition.draft import Draft, Park
from perdure_platform.partition.transition.state import RunState
from perdure_schemas import events, notes
from perdure_schemas.commands import ResumeWorkflow
from perdure_schemas.failure import Failure
from perdure_schemas.replies import Accepted, RefusalCode, Refused

_ADVICE = "`perdure workflow resume` lets it go on, `perdure workflow skip` does so without the signals that wait for it"


def park(draft: Draft, item: Park) -> None:
    """Run the code no more. Inputs are recorded as before, and wait. Without an open run no code runs, and there is nothing to park."""
    if draft.open_run is not None and draft.open_run.parked is None:
        reason = f"{item.strikes} owners in a row ended while they gave this workflow an input; see what its code does to its process"
        draft.note(notes.RunParked(item.strikes, reason))


def resume(draft: Draft, command: ResumeWorkflow, _trace_parent: str) -> None:
    """Let parked or blocked code go on, with or without the signals that wait for it."""
    run = draft.state
    if run is None or not run.is_open or command.run_id not in ("", run.run_id):
        what = f"run {command.run_id} of workflow {draft.workflow_id!r}" if command.run_id else f"workflow {draft.workflow_id!r}"
        draft.settle(Refused(RefusalCode.NOT_FOUND, f"{what} is not open", draft.workflow_id, command.run_id))
        return
    if run.parked is None and run.activation_failure is None:
        draft.settle(
            Refused(RefusalCode.INVALID, f"workflow {draft.workflow_id!r} is neither parked nor blocked", draft.workflow_id, run.run_id)
        )
        return
    skipped = _signals(run) if command.skips_signals else ()
    if command.skips_signals and not skipped:
        draft.settle(
            Refused(
                RefusalCode.INVALID,
                f"no signal waits for workflow {draft.workflow_id!r}, and nothing else can be skipped without its code waiting for it "
                "for ever: deploy code that can take what waits and resume, or terminate the workflow",
                draft.workflow_id,
                run.run_id,
            )
        )
        return
    draft.note(notes.RunResumed(skipped, command.identity))
    draft.retry_now = True
    draft.settle(Accepted(run.run_id))


def told(run: RunState) -> str:
    """What operators are told in the log."""
    assert run.parked is not None
    return f"workflow {run.workflow_id!r}, run {run.run_id}, is parked: {run.parked.reason}. {_ADVICE}"


def parked_failure(run: RunState) -> Failure | None:
    """Why the run is parked, as operators and callers of queries are told."""
    if run.parked is None:
        return None
    return Failure(f"parked: {run.parked.reason}. {_ADVICE}", source="perdure")


def _signals(run: RunState) -> tuple[int, ...]:
    return tuple(event_id for event_id, event in run.pending if isinstance(event, events.WorkflowExecutionSignaled))
