"""Numbered facts in a run's history, in Temporal's vocabulary.

An event's id is its position in the run's history (from 1) and its time is that of the commit record that holds it;
neither is repeated in the event.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from perdure_schemas.commands import ExternalSource, ReplyAddress
from perdure_schemas.failure import Failure, RetryState
from perdure_schemas.options import ActivityCancellationType, RetryOptions
from perdure_schemas.payload import Payload


@dataclass(frozen=True, slots=True)
class ResultWaiter:
    """A client that waits for the close of a run, and the request its answer belongs to."""

    address: ReplyAddress
    request_id: str


@dataclass(frozen=True, slots=True)
class WorkflowExecutionStarted:
    """The first event of every run. `first_activation_delay_ms` holds its code back (start delay, retry, backoff)."""

    workflow_type: str
    task_queue: str
    input: tuple[Payload, ...]
    first_execution_run_id: str
    header: dict[str, Payload] = field(default_factory=dict)
    memo: dict[str, Payload] = field(default_factory=dict)
    search_attributes: dict[str, Payload] = field(default_factory=dict)
    execution_timeout_ms: int = 0
    run_timeout_ms: int = 0
    task_timeout_ms: int = 0
    execution_deadline_ms: int = 0
    first_activation_delay_ms: int = 0
    retry_options: RetryOptions | None = None
    attempt: int = 1
    continued_run_id: str = ""
    continued_failure: Failure | None = None
    identity: str = ""
    trace_parent: str = ""
    waiter: ResultWaiter | None = None


@dataclass(frozen=True, slots=True)
class WorkflowExecutionSignaled:
    """A signal was accepted."""

    name: str
    input: tuple[Payload, ...] = ()
    header: dict[str, Payload] = field(default_factory=dict)
    identity: str = ""
    source: ExternalSource | None = None
    trace_parent: str = ""


@dataclass(frozen=True, slots=True)
class WorkflowExecutionCancelRequested:
    """Cancellation was requested; once per run."""

    reason: str = ""
    identity: str = ""
    source: ExternalSource | None = None


@dataclass(frozen=True, slots=True)
class WorkflowExecutionCompleted:
    """The run returned."""

    result: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkflowExecutionFailed:
    """The run raised a workflow failure. `new_run_id` is the retry that follows, if any."""

    failure: Failure
    retry_state: RetryState = RetryState.UNSPECIFIED
    new_run_id: str = ""


@dataclass(frozen=True, slots=True)
class WorkflowExecutionCanceled:
    """The run ended by its cancellation."""

    details: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkflowExecutionTerminated:
    """The run was ended from outside."""

    reason: str = ""
    details: tuple[Payload, ...] = ()
    identity: str = ""


@dataclass(frozen=True, slots=True)
class WorkflowExecutionTimedOut:
    """The run outlived its run or execution timeout."""

    retry_state: RetryState = RetryState.UNSPECIFIED
    new_run_id: str = ""


@dataclass(frozen=True, slots=True)
class WorkflowExecutionContinuedAsNew:
    """The run was followed by a new run of the same workflow id."""

    new_run_id: str
    workflow_type: str
    task_queue: str
    input: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class ActivityTaskScheduled:
    """An activity was asked for. Timeouts are normalised: 0 is unlimited (Temporal's rules, semantics 1.1)."""

    activity_id: str
    activity_type: str
    task_queue: str
    input: tuple[Payload, ...] = ()
    header: dict[str, Payload] = field(default_factory=dict)
    schedule_to_close_timeout_ms: int = 0
    schedule_to_start_timeout_ms: int = 0
    start_to_close_timeout_ms: int = 0
    heartbeat_timeout_ms: int = 0
    retry_options: RetryOptions = field(default_factory=RetryOptions)
    cancellation_type: ActivityCancellationType = ActivityCancellationType.TRY_CANCEL


@dataclass(frozen=True, slots=True)
class ActivityTaskStarted:
    """The last attempt's start; written together with the event that closes the activity (semantics 21)."""

    scheduled_event_id: int
    attempt: int
    identity: str = ""
    last_failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class ActivityTaskCompleted:
    """The activity returned."""

    scheduled_event_id: int
    started_event_id: int
    result: tuple[Payload, ...] = ()
    identity: str = ""


@dataclass(frozen=True, slots=True)
class ActivityTaskFailed:
    """The activity failed for good."""

    scheduled_event_id: int
    started_event_id: int
    failure: Failure
    retry_state: RetryState
    identity: str = ""


@dataclass(frozen=True, slots=True)
class ActivityTaskTimedOut:
    """The activity timed out for good; `failure` carries the timeout type and, as cause, the last attempt's failure."""

    scheduled_event_id: int
    started_event_id: int
    failure: Failure
    retry_state: RetryState


@dataclass(frozen=True, slots=True)
class ActivityTaskCancelRequested:
    """Workflow code cancelled the activity."""

    scheduled_event_id: int


@dataclass(frozen=True, slots=True)
class ActivityTaskCanceled:
    """The activity ended by its cancellation."""

    scheduled_event_id: int
    started_event_id: int
    details: tuple[Payload, ...] = ()
    identity: str = ""


@dataclass(frozen=True, slots=True)
class TimerStarted:
    """A timer runs; it is due `delay_ms` after the time of this event's record."""

    timer_id: str
    delay_ms: int


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer was due; late perhaps, early never."""

    timer_id: str
    started_event_id: int


@dataclass(frozen=True, slots=True)
class TimerCanceled:
    """Workflow code no longer waits for the timer."""

    timer_id: str
    started_event_id: int


@dataclass(frozen=True, slots=True)
class MarkerRecorded:
    """A fact that workflow code recorded about itself: a patch, for one. `details` are the marker's own."""

    marker_name: str
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SignalExternalWorkflowExecutionInitiated:
    """Workflow code signals another workflow; its answer comes as one of the two events below."""

    workflow_id: str
    run_id: str
    signal_name: str
    input: tuple[Payload, ...] = ()
    header: dict[str, Payload] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExternalWorkflowExecutionSignaled:
    """The other workflow has the signal in its history."""

    initiated_event_id: int


@dataclass(frozen=True, slots=True)
class SignalExternalWorkflowExecutionFailed:
    """The other workflow could not be signalled."""

    initiated_event_id: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class RequestCancelExternalWorkflowExecutionInitiated:
    """Workflow code asks another workflow to cancel itself."""

    workflow_id: str
    run_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ExternalWorkflowExecutionCancelRequested:
    """The other workflow has the cancel request in its history."""

    initiated_event_id: int


@dataclass(frozen=True, slots=True)
class RequestCancelExternalWorkflowExecutionFailed:
    """The other workflow could not be asked."""

    initiated_event_id: int
    failure: Failure


Event = (
    WorkflowExecutionStarted
    | WorkflowExecutionSignaled
    | WorkflowExecutionCancelRequested
    | WorkflowExecutionCompleted
    | WorkflowExecutionFailed
    | WorkflowExecutionCanceled
    | WorkflowExecutionTerminated
    | WorkflowExecutionTimedOut
    | WorkflowExecutionContinuedAsNew
    | ActivityTaskScheduled
    | ActivityTaskStarted
    | ActivityTaskCompleted
    | ActivityTaskFailed
    | ActivityTaskTimedOut
    | ActivityTaskCancelRequested
    | ActivityTaskCanceled
    | TimerStarted
    | TimerFired
    | TimerCanceled
    | MarkerRecorded
    | SignalExternalWorkflowExecutionInitiated
    | ExternalWorkflowExecutionSignaled
    | SignalExternalWorkflowExecutionFailed
    | RequestCancelExternalWorkflowExecutionInitiated
    | ExternalWorkflowExecutionCancelRequested
    | RequestCancelExternalWorkflowExecutionFailed
)

CloseEvent = (
    WorkflowExecutionCompleted
    | WorkflowExecutionFailed
    | WorkflowExecutionCanceled
    | WorkflowExecutionTerminated
    | WorkflowExecutionTimedOut
    | WorkflowExecutionContinuedAsNew
)
"""The events that end a run; nothing follows them in its history."""
