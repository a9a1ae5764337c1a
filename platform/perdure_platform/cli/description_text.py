"""The state of a run for people: what it waits for, and what blocks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import typer

from perdure_platform.cli.output import failure_text, jsonable, print_fields, print_table, print_text, time_text
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.replies import PendingActivity, WorkflowDescribed


def status_text(status: WorkflowStatus) -> str:
    """The name of a status in small letters."""
    return status.name.lower().replace("_", " ")


def described_json(described: WorkflowDescribed, idle_queues: Sequence[str]) -> dict[str, Any]:
    """The answer to a describe for scripts: as it came, with the queue of each activity, and the queues that no worker polls."""
    queue = described.summary.task_queue
    named = tuple(replace(one, task_queue=one.task_queue or queue) for one in described.pending_activities)
    return {**jsonable(replace(described, pending_activities=named)), "task_queues_without_worker": list(idle_queues)}


def print_description(described: WorkflowDescribed, warnings: Sequence[str] = ()) -> None:
    """Print the answer to a describe, and below its activities what keeps them from being run."""
    summary, blocked_by = described.summary, described.activation_failure
    canceling = described.cancel_requested and summary.status is WorkflowStatus.RUNNING
    print_fields(
        [
            ("workflow id", summary.workflow_id),
            ("run id", summary.run_id),
            ("type", summary.workflow_type),
            ("status", status_text(summary.status) + " (blocked)" * summary.blocked + ", cancel requested" * canceling),
            ("task queue", summary.task_queue),
            ("started", time_text(summary.start_time_ms)),
            ("closed", time_text(summary.close_time_ms)),
            ("events", summary.history_length),
            ("pending timers", described.pending_timers or ""),
            ("next timer", time_text(described.next_timer_time_ms)),
            ("blocked by", failure_text(blocked_by)),
            ("failed activations", described.activation_attempt or ""),
            ("next activation", time_text(described.activation_retry_time_ms)),
        ]
    )
    if described.pending_activities:
        typer.echo()
        print_table(("activity", "type", "state", "attempt", "next attempt", "last failure"), map(_row, described.pending_activities))
    for warning in warnings:
        print_text(f"\n{warning}")
    if blocked_by and blocked_by.stack_trace:
        print_text(f"\n{blocked_by.stack_trace.rstrip()}")


def _row(one: PendingActivity) -> tuple[object, ...]:
    state, next_attempt = one.state.replace("_", " "), time_text(one.next_attempt_time_ms)
    return (one.activity_id, one.activity_type, state, one.attempt, next_attempt, failure_text(one.last_failure))
