"""Spans of what a live record holds: activations, and runs that closed. Emitted where effects are released, so never for a dead record."""

from __future__ import annotations

from perdure._telemetry import spans
from perdure._telemetry.quiet import QuietLogger
from perdure_platform.partition.containment import ENDS_A_CLAIM
from perdure_platform.partition.transition.effects import Runs
from perdure_schemas.events import CloseEvent
from perdure_schemas.history import CommitRecord
from perdure_schemas.options import WorkflowStatus

_logger = QuietLogger("perdure.owner")

_CLEAN = (WorkflowStatus.COMPLETED, WorkflowStatus.CONTINUED_AS_NEW)


def emit(record: CommitRecord, append_time_ms: int, runs: Runs) -> None:
    """Emit the spans of a live record; its runs' traces are those that they were started in."""
    if not spans.is_enabled():
        return
    try:
        _emit(record, append_time_ms, runs)
    except ENDS_A_CLAIM:
        raise
    except Exception:
        _logger.warning("the spans of the record of %d ms cannot be emitted", record.time_ms, exc_info=True)


def _emit(record: CommitRecord, append_time_ms: int, runs: Runs) -> None:
    for transition in record.transitions:
        run = runs.run(transition.workflow_id, transition.run_id)
        if run is None or not run.started.trace_parent:
            continue
        parent, kind, names = run.started.trace_parent, run.started.workflow_type, (run.workflow_id, run.run_id)
        if transition.activated:
            spans.activated(parent, kind, *names, transition.first_event_id, record.time_ms, append_time_ms)
        if any(isinstance(event, CloseEvent) for event in (*transition.inbound, *transition.produced)):
            failed = run.status not in _CLEAN
            times = (run.start_time_ms, run.close_time_ms)
            spans.run_closed(parent, kind, *names, *times, run.status.name.lower(), failed, run.started.continued_run_id)
