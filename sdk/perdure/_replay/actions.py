"""What workflow code can ask for. Each action becomes exactly one event, in the same order (semantics 4.3).

The host of the code makes actions; the owner turns them into events, with defaults filled in and ids given. Nothing
here is written to the log. Durations of 0 mean "not given", as on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from perdure_schemas.failure import Failure
from perdure_schemas.options import ActivityCancellationType, RetryOptions
from perdure_schemas.payload import Payload


@dataclass(frozen=True, slots=True)
class ScheduleActivity:
    """Becomes ActivityTaskScheduled. An empty `task_queue` is the workflow's own; no `retry_options` means the defaults."""

    activity_id: str
    activity_type: str
    task_queue: str = ""
    input: tuple[Payload, ...] = ()
    header: dict[str, Payload] = field(default_factory=dict)
    schedule_to_close_timeout_ms: int = 0
    schedule_to_start_timeout_ms: int = 0
    start_to_close_timeout_ms: int = 0
    heartbeat_timeout_ms: int = 0
    retry_options: RetryOptions | None = None
    cancellation_type: ActivityCancellationType = ActivityCancellationType.TRY_CANCEL


@dataclass(frozen=True, slots=True)
class RequestCancelActivity:
    """Becomes ActivityTaskCancelRequested."""

    scheduled_event_id: int


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Becomes TimerStarted."""

    timer_id: str
    delay_ms: int


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Becomes TimerCanceled."""

    timer_id: str
    started_event_id: int


@dataclass(frozen=True, slots=True)
class RecordMarker:
    """Becomes MarkerRecorded. A patch is marker "patch" with details {"id": …, "deprecated": "true" or "false"}."""

    marker_name: str
    details: dict[str, str]


@dataclass(frozen=True, slots=True)
class SignalExternalWorkflow:
    """Becomes SignalExternalWorkflowExecutionInitiated."""

    workflow_id: str
    run_id: str
    signal_name: str
    input: tuple[Payload, ...] = ()
    header: dict[str, Payload] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CancelExternalWorkflow:
    """Becomes RequestCancelExternalWorkflowExecutionInitiated."""

    workflow_id: str
    run_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CompleteWorkflow:
    """Becomes WorkflowExecutionCompleted; ends the run."""

    result: tuple[Payload, ...]


@dataclass(frozen=True, slots=True)
class FailWorkflow:
    """Becomes WorkflowExecutionFailed; ends the run."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class CancelWorkflowExecution:
    """Becomes WorkflowExecutionCanceled; ends the run."""

    details: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class ContinueAsNewWorkflow:
    """Becomes WorkflowExecutionContinuedAsNew; ends the run and starts the next. Empty fields and None inherit."""

    workflow_type: str = ""
    task_queue: str = ""
    input: tuple[Payload, ...] = ()
    header: dict[str, Payload] = field(default_factory=dict)
    run_timeout_ms: int = 0
    task_timeout_ms: int = 0
    backoff_start_interval_ms: int = 0
    retry_options: RetryOptions | None = None
    memo: dict[str, Payload] | None = None
    search_attributes: dict[str, Payload] | None = None


Action = (
    ScheduleActivity
    | RequestCancelActivity
    | StartTimer
    | CancelTimer
    | RecordMarker
    | SignalExternalWorkflow
    | CancelExternalWorkflow
    | CompleteWorkflow
    | FailWorkflow
    | CancelWorkflowExecution
    | ContinueAsNewWorkflow
)

CloseAction = CompleteWorkflow | FailWorkflow | CancelWorkflowExecution | ContinueAsNewWorkflow
