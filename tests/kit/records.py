"""One record of each kind, filled in, for golden files and round trips."""

from __future__ import annotations

from typing import Any

from perdure_schemas import commands, events, history, notes, replies
from perdure_schemas.commands import ActivityReference, Command, ExternalSource, Origin, ReplyAddress, Request
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.failure import (
    ActivityFailureInfo,
    ApplicationFailureInfo,
    Failure,
    RetryState,
    TimeoutFailureInfo,
    TimeoutType,
)
from perdure_schemas.options import RetryOptions, WorkflowStatus
from perdure_schemas.payload import Payload
from perdure_schemas.tasks import ActivityTask

PAYLOADS = (Payload({"encoding": b"json/plain"}, b'{"amount":7}'), Payload({"encoding": b"binary/null"}))
ADDRESS = ReplyAddress("client-1", 2)
REQUEST = Request("request-1", 1_800_000_000_000, ADDRESS)
FAILURE = Failure(
    "Activity task failed",
    source="perdure",
    cause=Failure(
        "no money",
        "File …",
        "PythonSDK",
        Failure("late", info=TimeoutFailureInfo(TimeoutType.HEARTBEAT, PAYLOADS)),
        ApplicationFailureInfo("Poor", True, PAYLOADS, 5),
    ),
    info=ActivityFailureInfo(5, 6, "worker", "withdraw", "1", RetryState.TIMEOUT),
)
STARTED = events.WorkflowExecutionStarted(
    "Transfer",
    "queue",
    PAYLOADS,
    "run-1",
    {"h": PAYLOADS[0]},
    retry_options=RetryOptions(),
    waiter=events.ResultWaiter(ADDRESS, "request-1"),
)

RECORDS: dict[str, dict[str, Any]] = {
    "commands": {
        "start": Command(
            "order-ä",
            commands.StartWorkflow("Transfer", "queue", PAYLOADS, signal=commands.SignalWorkflow("go"), await_result=True),
            REQUEST,
        ),
        "signal-from-workflow": Command("a", commands.SignalWorkflow("go", source=ExternalSource("b", "run-2", 7)), origin=Origin(3, 9, 0)),
        "resume": Command("a", commands.ResumeWorkflow("run-1", skips_signals=True, identity="operator"), REQUEST),
        "activity-failed": Command("a", commands.FailActivity(ActivityReference("run-1", 5, 2), FAILURE, "worker")),
    },
    "history": {
        "claim": history.Claim(2, "new", "old", "owner", "host", 42, "0.1.0", 1, "commands-id", "history-id", 4, 1_700_000_000_000),
        "commit": history.CommitRecord(
            2,
            "new",
            7,
            1_700_000_000_000,
            11,
            12,
            {"3": history.Mark(9, 0)},
            (12,),
            (history.AppliedOffset("a", 12),),
            (history.SettledRequest("a", "request-1", 5, replies.WorkflowStarted("run-1", "run-1")),),
            (
                history.Transition(
                    "a",
                    "run-1",
                    1,
                    (STARTED,),
                    (events.ActivityTaskScheduled("1", "withdraw", "queue", PAYLOADS),),
                    (notes.ActivityAttemptFailed(5, 1, FAILURE, 99),),
                    True,
                    (1,),
                ),
            ),
            (history.AddressedReply(ADDRESS, "request-1", replies.Accepted("run-1")),),
            (history.OutboundCommand("b", commands.ResolveExternalSignal("run-2", 7, FAILURE)),),
            (DeadLetter("ns.commands", 1, 2, "undecodable", "why", b"k", b"v", 3),),
        ),
        "position": history.PositionRecord(2, "new", 1, 5, 11, 12, {}, 100),
        "strike": history.Strike(2, "new", 8, 5, 11, "a", 13),
        "checkpoint": history.Checkpoint(
            2, "new", 9, 5, 11, 12, {}, 101, caution=history.Caution({"dead": 5}, {"a": 1}, instance_id="instance", resigned=True)
        ),
    },
    "replies": {
        "closed": replies.Reply("request-1", replies.WorkflowClosed("run-1", WorkflowStatus.FAILED, PAYLOADS, FAILURE)),
        "history": replies.Reply("request-1", replies.HistoryPage("run-1", (replies.HistoryEvent(1, 5, STARTED),), 2)),
        "blocked": replies.Reply("request-1", replies.WorkflowBlocked("run-1", FAILURE, 3, 1_700_000_000_000)),
        "described": replies.Reply(
            "request-1",
            replies.WorkflowDescribed(
                replies.RunSummary(
                    "a", "run-1", "run-1", "Transfer", "queue", WorkflowStatus.RUNNING, 5, memo={"m": PAYLOADS[0]}, blocked=True
                ),
                (replies.PendingActivity("1", "withdraw", 5, "backing_off", 2, 4, last_failure=FAILURE, task_queue="other"),),
                pending_timers=1,
                next_timer_time_ms=1_700_000_000_000,
            ),
        ),
    },
    "tasks": {"task": ActivityTask("a", "run-1", "Transfer", 5, 2, "1", "withdraw", "queue", 1, 2, PAYLOADS, announce_first=True)},
    "dead_letters": {"letter": DeadLetter("ns.commands", 1, 2, "undecodable", "why", b"k", b"\x00v", 3)},
}
