"""Handlers of the external family: another workflow's partition answers a signal or a cancel that this run sent.

The question is an event of this run (…Initiated) and leaves as that record's effect; the answer is a command with an origin.
"""

from __future__ import annotations

from perdure_platform.partition.transition.draft import Draft
from perdure_schemas import events
from perdure_schemas.commands import ResolveExternalCancel, ResolveExternalSignal


def signal_resolved(draft: Draft, command: ResolveExternalSignal, _trace_parent: str) -> None:
    """The signal is in the other run's history, or nobody was there."""
    run = draft.open_run
    if run is None or run.run_id != command.run_id or command.initiated_event_id not in run.external_signals:
        return
    if command.failure is None:
        draft.inbound(events.ExternalWorkflowExecutionSignaled(command.initiated_event_id))
    else:
        draft.inbound(events.SignalExternalWorkflowExecutionFailed(command.initiated_event_id, command.failure))


def cancel_resolved(draft: Draft, command: ResolveExternalCancel, _trace_parent: str) -> None:
    """The cancel request is in the other run's history, or nobody was there."""
    run = draft.open_run
    if run is None or run.run_id != command.run_id or command.initiated_event_id not in run.external_cancels:
        return
    if command.failure is None:
        draft.inbound(events.ExternalWorkflowExecutionCancelRequested(command.initiated_event_id))
    else:
        draft.inbound(events.RequestCancelExternalWorkflowExecutionFailed(command.initiated_event_id, command.failure))
