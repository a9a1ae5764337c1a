"""Answers to clients and messages to workers: the records of `ns.replies`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from perdure_schemas.events import Event
from perdure_schemas.failure import Failure
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.payload import Payload


class RefusalCode(StrEnum):
    """Why a request was refused; a client maps each code to one exception."""

    ALREADY_STARTED = "already_started"
    NOT_FOUND = "not_found"
    EXPIRED = "expired"
    INVALID = "invalid"
    LIMIT_EXCEEDED = "limit_exceeded"
    NOT_READY = "not_ready"
    QUERY_REJECTED = "query_rejected"
    QUERY_FAILED = "query_failed"
    PARTITION_STOPPED = "partition_stopped"
    """Nobody leads, and nothing is known: the request stays in the log and may be carried out later."""


@dataclass(frozen=True, slots=True)
class WorkflowStarted:
    """A start was accepted. `started` is false where an open run was used instead."""

    run_id: str
    first_execution_run_id: str
    started: bool = True


@dataclass(frozen=True, slots=True)
class Accepted:
    """A signal, cancel, terminate or activity report is in the log."""

    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request was refused; nothing happened, unless `code` says otherwise. It is a RefusalCode, and the rest depends on it."""

    code: str
    message: str
    workflow_id: str = ""
    run_id: str = ""
    workflow_type: str = ""
    status: int = 0
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class WorkflowClosed:
    """A run closed. `new_run_id` is the run that follows it (continue-as-new, retry), if any."""

    run_id: str
    status: WorkflowStatus
    result: tuple[Payload, ...] = ()
    failure: Failure | None = None
    new_run_id: str = ""


@dataclass(frozen=True, slots=True)
class QueryAnswered:
    """What the query handler returned."""

    result: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One row of `list_workflows`; times are milliseconds since 1970, 0 where not yet.

    `blocked`: the run is open, and its code does not go on: its last activation failed, or it is parked.
    """

    workflow_id: str
    run_id: str
    first_execution_run_id: str
    workflow_type: str
    task_queue: str
    status: WorkflowStatus
    start_time_ms: int
    close_time_ms: int = 0
    execution_time_ms: int = 0
    history_length: int = 0
    memo: dict[str, Payload] = field(default_factory=dict)
    search_attributes: dict[str, Payload] = field(default_factory=dict)
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class PendingActivity:
    """An activity that has not closed. `state` is scheduled, started, backing_off or cancel_requested.

    `task_queue` is empty where it is the task queue of the run.
    """

    activity_id: str
    activity_type: str
    scheduled_event_id: int
    state: str
    attempt: int
    scheduled_time_ms: int
    last_started_time_ms: int = 0
    last_heartbeat_time_ms: int = 0
    next_attempt_time_ms: int = 0
    heartbeat_details: tuple[Payload, ...] = ()
    last_failure: Failure | None = None
    worker_identity: str = ""
    task_queue: str = ""


@dataclass(frozen=True, slots=True)
class WorkflowDescribed:
    """A run in full. `activation_failure` is the error that blocks its code now, if any.

    `next_timer_time_ms` is when the first of its timers fires, 0 where there is none.
    """

    summary: RunSummary
    pending_activities: tuple[PendingActivity, ...] = ()
    pending_timers: int = 0
    activation_failure: Failure | None = None
    activation_attempt: int = 0
    activation_retry_time_ms: int = 0
    cancel_requested: bool = False
    next_timer_time_ms: int = 0


@dataclass(frozen=True, slots=True)
class WorkflowBlocked:
    """To a client that awaits a run: the run's code is blocked by `failure`. It is no answer: the run stays open, the wait goes on.

    `attempt` is how often the activation has failed; it is tried again at `retry_time_ms`, 0 where an operator must resume the run.
    """

    run_id: str
    failure: Failure
    attempt: int = 0
    retry_time_ms: int = 0


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """An event with its number and time, as handed to readers of a history."""

    event_id: int
    time_ms: int
    event: Event


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Part of a run's history. `next_event_id` 0 means that this is the end of it so far."""

    run_id: str
    events: tuple[HistoryEvent, ...]
    next_event_id: int = 0
    closed: bool = False


@dataclass(frozen=True, slots=True)
class WorkflowsListed:
    """A page of one partition's runs. An empty `next_page_token` means that there is no further page."""

    runs: tuple[RunSummary, ...]
    next_page_token: bytes = b""


@dataclass(frozen=True, slots=True)
class PartitionDescribed:
    """Positions and counters of one partition, as its owner knows them."""

    partition: int
    claim_number: int
    claim_id: str
    owner: str
    host: str
    sequence: int
    live_count: int
    watermark: int
    released: int
    history_offset: int
    open_runs: int
    cached_runs: int
    in_flight: int
    dead: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    digest_offset: int = -1


@dataclass(frozen=True, slots=True)
class ActivityStartAcknowledged:
    """To the worker that announced an attempt. Without `granted` an attempt that needs a grant must not run."""

    workflow_id: str
    run_id: str
    scheduled_event_id: int
    attempt: int
    nonce: str
    granted: bool
    cancel_requested: bool = False


@dataclass(frozen=True, slots=True)
class ActivityAttention:
    """To the worker of an attempt: its cancellation is requested, or it is no longer wanted (`not_found`)."""

    workflow_id: str
    run_id: str
    scheduled_event_id: int
    attempt: int
    cancel_requested: bool = False
    not_found: bool = False
    timed_out: bool = False


ReplyBody = (
    WorkflowStarted
    | Accepted
    | Refused
    | WorkflowClosed
    | QueryAnswered
    | WorkflowDescribed
    | HistoryPage
    | WorkflowsListed
    | PartitionDescribed
    | ActivityStartAcknowledged
    | ActivityAttention
    | WorkflowBlocked
)

Outcome = WorkflowStarted | Accepted | Refused
"""What is remembered of a request, so that each of its retries gets the same answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A record of `ns.replies`. `request_id` is the request's, or the announcing nonce for a worker."""

    request_id: str
    body: ReplyBody
