"""What can be asked of a run or a partition: the records of `ns.commands`.

A command is a request, not a fact: it becomes an event only when a live commit record says so.
Empty strings mean "not given" (`run_id=""` is the current run of the workflow id), and durations of 0 mean "none".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from perdure_schemas.failure import Failure
from perdure_schemas.options import IdConflictPolicy, IdReusePolicy, QueryRejectCondition, RetryOptions
from perdure_schemas.payload import Payload


@dataclass(frozen=True, slots=True)
class ReplyAddress:
    """Where an answer goes: a partition of `ns.replies`, filtered there by the client id in a header."""

    client_id: str
    partition: int


@dataclass(frozen=True, slots=True)
class Request:
    """A client's name for one call. Every retry of the call carries the same id, so that it acts once.

    After `expires_at_ms` (recorded time) the owner refuses the request and may forget its id.
    """

    request_id: str
    expires_at_ms: int
    reply_to: ReplyAddress | None = None


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """The record and the index among its effects that sent a command from one partition to another (design.md 3.6)."""

    partition: int
    offset: int
    index: int


@dataclass(frozen=True, slots=True)
class ExternalSource:
    """The workflow that signalled or cancelled another one, and the event that waits for the answer."""

    workflow_id: str
    run_id: str
    initiated_event_id: int


@dataclass(frozen=True, slots=True)
class SignalWorkflow:
    """Deliver a signal. `source` is set when a workflow sent it."""

    name: str
    run_id: str = ""
    first_execution_run_id: str = ""
    input: tuple[Payload, ...] = ()
    header: dict[str, Payload] = field(default_factory=dict)
    identity: str = ""
    source: ExternalSource | None = None


@dataclass(frozen=True, slots=True)
class StartWorkflow:
    """Start a run, optionally with a first signal (signal-with-start).

    `await_result` asks for a second reply, at the close of the run or of the last run that follows it.
    """

    workflow_type: str
    task_queue: str
    input: tuple[Payload, ...] = ()
    header: dict[str, Payload] = field(default_factory=dict)
    memo: dict[str, Payload] = field(default_factory=dict)
    search_attributes: dict[str, Payload] = field(default_factory=dict)
    execution_timeout_ms: int = 0
    run_timeout_ms: int = 0
    task_timeout_ms: int = 0
    start_delay_ms: int = 0
    retry_options: RetryOptions | None = None
    id_reuse_policy: IdReusePolicy = IdReusePolicy.ALLOW_DUPLICATE
    id_conflict_policy: IdConflictPolicy = IdConflictPolicy.UNSPECIFIED
    signal: SignalWorkflow | None = None
    await_result: bool = False
    identity: str = ""


@dataclass(frozen=True, slots=True)
class CancelWorkflow:
    """Ask a run to cancel itself; its code decides what that means."""

    run_id: str = ""
    first_execution_run_id: str = ""
    reason: str = ""
    identity: str = ""
    source: ExternalSource | None = None


@dataclass(frozen=True, slots=True)
class TerminateWorkflow:
    """End a run at once; its code is not asked."""

    run_id: str = ""
    first_execution_run_id: str = ""
    reason: str = ""
    details: tuple[Payload, ...] = ()
    identity: str = ""


@dataclass(frozen=True, slots=True)
class ResumeWorkflow:
    """An operator lets parked or blocked code run again, at once. With `skips_signals`, signals that wait are never shown to it."""

    run_id: str = ""
    skips_signals: bool = False
    identity: str = ""


@dataclass(frozen=True, slots=True)
class ResolveExternalSignal:
    """Another partition's answer to a signal that this run sent; no failure means that it was delivered."""

    run_id: str
    initiated_event_id: int
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class ResolveExternalCancel:
    """Another partition's answer to a cancel request that this run sent."""

    run_id: str
    initiated_event_id: int
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class ActivityReference:
    """One attempt of an activity: by scheduled event and attempt, or by activity id (then the current attempt)."""

    run_id: str
    scheduled_event_id: int = 0
    attempt: int = 0
    activity_id: str = ""


@dataclass(frozen=True, slots=True)
class ActivityStarted:
    """A worker runs an attempt (announced after 50 ms, or first of all when it needs a grant).

    `nonce` is random and new for each delivery of the task; the acknowledgement names it, so that a grant is
    spent by the delivery that asked for it and by no other (design.md 7).
    """

    activity: ActivityReference
    nonce: str
    worker: ReplyAddress
    identity: str = ""
    asks_grant: bool = False


@dataclass(frozen=True, slots=True)
class ActivityHeartbeat:
    """An attempt is alive. `counter` rises within the attempt, so that an older heartbeat never wins.

    `worker` and `nonce` say where to tell that the attempt is cancelled or no longer wanted.
    """

    activity: ActivityReference
    counter: int
    details: tuple[Payload, ...] = ()
    nonce: str = ""
    worker: ReplyAddress | None = None


@dataclass(frozen=True, slots=True)
class CompleteActivity:
    """An attempt returned."""

    activity: ActivityReference
    result: tuple[Payload, ...] = ()
    identity: str = ""


@dataclass(frozen=True, slots=True)
class FailActivity:
    """An attempt raised. `last_heartbeat_details` are those not yet sent, if any."""

    activity: ActivityReference
    failure: Failure
    identity: str = ""
    last_heartbeat_details: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class CancelActivity:
    """An attempt ended because its cancellation was requested."""

    activity: ActivityReference
    details: tuple[Payload, ...] = ()
    identity: str = ""


@dataclass(frozen=True, slots=True)
class QueryWorkflow:
    """Ask running or closed workflow code for a value; nothing is written to the log."""

    query_type: str
    run_id: str = ""
    args: tuple[Payload, ...] = ()
    header: dict[str, Payload] = field(default_factory=dict)
    reject_condition: QueryRejectCondition = QueryRejectCondition.NONE


@dataclass(frozen=True, slots=True)
class AwaitWorkflow:
    """Reply when the run closes (at once if it has); the client repeats it until it is answered."""

    run_id: str = ""


@dataclass(frozen=True, slots=True)
class DescribeWorkflow:
    """Reply with the state of a run."""

    run_id: str = ""


@dataclass(frozen=True, slots=True)
class FetchHistory:
    """Reply with a page of a run's events, from `first_event_id` on."""

    run_id: str = ""
    first_event_id: int = 1
    events_max: int = 500


@dataclass(frozen=True, slots=True)
class ListWorkflows:
    """Reply with a page of this partition's runs that match `query`, newest start first. The record's workflow id is empty."""

    query: str = ""
    page_size: int = 100
    page_token: bytes = b""


@dataclass(frozen=True, slots=True)
class DescribePartition:
    """Reply with the claim in force, the positions and the counters of this partition. The record's workflow id is empty."""

    with_digest: bool = False


CommandBody = (
    StartWorkflow
    | SignalWorkflow
    | CancelWorkflow
    | TerminateWorkflow
    | ResolveExternalSignal
    | ResolveExternalCancel
    | ActivityStarted
    | ActivityHeartbeat
    | CompleteActivity
    | FailActivity
    | CancelActivity
    | QueryWorkflow
    | AwaitWorkflow
    | DescribeWorkflow
    | FetchHistory
    | ListWorkflows
    | DescribePartition
    | ResumeWorkflow
)


@dataclass(frozen=True, slots=True)
class Command:
    """A record of `ns.commands`.

    `request` is set by clients, `origin` by owners of other partitions; results of activities have neither, because
    (run, scheduled event, attempt) already names them. `format_level` is the level a reader must know (design.md 10).
    """

    workflow_id: str
    body: CommandBody
    request: Request | None = None
    origin: Origin | None = None
    format_level: int = 1
