"""The state of a run for people: what it waits for, and what blocks it."""

from __future__ import annotations

import typer

from perdure_platform.cli.output import failure_text, print_fields, print_table, print_text, time_text
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.replies import PendingActivity, WorkflowDescribed


def status_text(status: WorkflowStatus) -> str:
    """The name of a status in small letters."""
    return status.name.lower().replace("_", " ")


def print_description(described: WorkflowDescribed) -> None:
    """Print the answer to a describe."""
    summary, blocked_by = described.summary, described.activation_failure
    canceling = described.cancel_requested and summary.status is WorkflowStatus.RUNNING
    print_fields(
        [
            ("workflow id", summary.workflow_id),
            ("run id", summary.run_id),
            ("type", summary.workflow_type),
            ("status", status_text(summary.status) + (", cancel requested" if canceling else "")),
            ("task queue", summary.task_queue),
            ("started", time_text(summary.start_time_ms)),
            ("closed", time_text(summary.close_time_ms)),
            ("events", summary.history_length),
            ("pending timers", described.pending_timers or ""),
            ("blocked by", failure_text(blocked_by)),
            ("failed activations", described.activation_attempt or ""),
            ("next activation", time_text(described.activation_retry_time_ms)),
        ]
    )
    if described.pending_activities:
        typer.echo()
        print_table(("activity", "type", "state", "attempt", "next attempt", "last failure"), map(_row, described.pending_activities))
    if blocked_by and blocked_by.stack_trace:
        print_text(f"\n{blocked_by.stack_trace.rstrip()}")


def _row(one: PendingActivity) -> tuple[object, ...]:
    state, next_attempt = one.state.replace("_", " "), time_text(one.next_attempt_time_ms)
    return (one.activity_id, one.activity_type, state, one.attempt, next_attempt, failure_text(one.last_failure))
