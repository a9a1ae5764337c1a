"""Command -> handler: the table of everything that changes a run from outside.

Reads are in `..query`, and what the clock brings is in `deadlines`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure_platform.partition.transition import activity, external, parking, workflow
from perdure_platform.partition.transition.draft import Draft
from perdure_schemas import commands

HANDLERS: dict[type, Callable[[Draft, Any, str], None]] = {
    commands.StartWorkflow: workflow.start,
    commands.SignalWorkflow: workflow.signal,
    commands.CancelWorkflow: workflow.cancel,
    commands.TerminateWorkflow: workflow.terminate,
    commands.ResumeWorkflow: parking.resume,
    commands.ResolveExternalSignal: external.signal_resolved,
    commands.ResolveExternalCancel: external.cancel_resolved,
    commands.ActivityStarted: activity.started,
    commands.ActivityHeartbeat: activity.heartbeat,
    commands.CompleteActivity: activity.complete,
    commands.FailActivity: activity.failed,
    commands.CancelActivity: activity.canceled,
}
"""A handler gets the draft, the command's body and its trace parent; it returns nothing and never raises for what a user did."""

READS: frozenset[type] = frozenset(
    {
        commands.QueryWorkflow,
        commands.AwaitWorkflow,
        commands.DescribeWorkflow,
        commands.FetchHistory,
        commands.ListWorkflows,
        commands.DescribePartition,
    }
)
"""Commands that change nothing; a test sees to it that each command is in one of the two."""
