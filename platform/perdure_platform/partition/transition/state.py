"""What the fold remembers of a run. Made by `fold.py` and by nothing else; everyone else reads.

A RunState that has left the fold is never changed again: a decision works on a copy (`RunState.copy`), and the parts are frozen.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field, replace
from typing import Self

from perdure_platform.partition.transition.open_items import OpenItems
from perdure_schemas.commands import ReplyAddress
from perdure_schemas.events import ActivityTaskScheduled, Event, WorkflowExecutionStarted
from perdure_schemas.failure import Failure
from perdure_schemas.notes import ActivationFailed, RunParked
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.payload import Payloads
from perdure_schemas.topics import TASK_RETENTION_MS

UNANNOUNCED_CANCEL_WAIT_MS = 1000
"""An attempt that is not announced this long after its dispatch does not run yet (workers announce after 50 ms), so a cancel closes it."""


@dataclass(frozen=True, slots=True)
class AttemptStart:
    """A worker's announcement of the attempt that runs now."""

    nonce: str
    worker: ReplyAddress | None
    identity: str
    granted: bool
    time_ms: int


@dataclass(frozen=True, slots=True)
class ActivityState:
    """An activity that has not closed. `retry_at_ms` > 0: `attempt` is not dispatched before then.

    `rests`: it was, and its task could not be written (R9); a copy that an earlier claim sent may be with a worker.
    `attempt_time_ms`: when `attempt` went out for the first time, and `dispatched_time_ms` for the last.
    """

    scheduled_event_id: int
    event: ActivityTaskScheduled
    scheduled_time_ms: int
    attempt: int = 1
    attempt_time_ms: int = 0
    dispatched_time_ms: int = 0
    retry_at_ms: int = 0
    rests: bool = False
    start: AttemptStart | None = None
    heartbeat_time_ms: int = 0
    heartbeat_counter: int = 0
    heartbeat_details: Payloads = ()
    last_failure: Failure | None = None
    cancel_requested_time_ms: int = 0

    @property
    def cancel_requested(self) -> bool:
        """Whether workflow code asked for the activity's cancellation."""
        return self.cancel_requested_time_ms > 0

    @property
    def waits_for_retry(self) -> bool:
        """Whether the current attempt waits to be dispatched (again)."""
        return self.retry_at_ms > 0

    def schedule_to_close_deadline_ms(self) -> int:
        """When the activity as a whole times out; 0 is never."""
        return self.scheduled_time_ms + timeout if (timeout := self.event.schedule_to_close_timeout_ms) else 0

    def schedule_to_start_deadline_ms(self) -> int:
        """When the current attempt times out unless it has been announced; 0 is never. Sending its task again gives it no more time."""
        if self.start is not None or (self.waits_for_retry and not self.rests) or not self.event.schedule_to_start_timeout_ms:
            return 0
        return self.attempt_time_ms + self.event.schedule_to_start_timeout_ms

    def start_to_close_deadline_ms(self) -> int:
        """When the announced attempt times out; 0 is never (an unannounced one is covered by the log's redelivery)."""
        if self.start is None or not self.event.start_to_close_timeout_ms:
            return 0
        return self.start.time_ms + self.event.start_to_close_timeout_ms

    def heartbeat_deadline_ms(self, not_before_ms: int = 0) -> int:
        """When the announced attempt times out for want of heartbeats; intervals restart at `not_before_ms`, a takeover (R12)."""
        if self.start is None or not self.event.heartbeat_timeout_ms:
            return 0
        return max(self.start.time_ms, self.heartbeat_time_ms, not_before_ms) + self.event.heartbeat_timeout_ms

    def redispatch_ms(self) -> int:
        """When an unstarted task may have aged away and is dispatched again (design.md 7)."""
        return 0 if self.start is not None or self.waits_for_retry else self.dispatched_time_ms + TASK_RETENTION_MS // 2

    def cancel_due_ms(self) -> int:
        """When a requested cancel closes the activity without its worker, because no worker has it; 0 is never."""
        if not self.cancel_requested or self.start is not None:
            return 0
        if self.waits_for_retry:
            return self.cancel_requested_time_ms
        return max(self.cancel_requested_time_ms, self.dispatched_time_ms) + UNANNOUNCED_CANCEL_WAIT_MS

    def next_due_ms(self) -> int:
        """The earliest of all the above; every activity has one."""
        return min(
            due
            for due in (
                self.schedule_to_close_deadline_ms(),
                self.schedule_to_start_deadline_ms(),
                self.start_to_close_deadline_ms(),
                self.heartbeat_deadline_ms(),
                self.redispatch_ms(),
                self.cancel_due_ms(),
                self.retry_at_ms,
                FAR_AHEAD_MS,
            )
            if due
        )


FAR_AHEAD_MS = 1 << 62
"""Later than any deadline."""


@dataclass(frozen=True, slots=True)
class TimerState:
    """A timer that runs."""

    timer_id: str
    due_ms: int

    def next_due_ms(self) -> int:
        """When it fires."""
        return self.due_ms


class OpenActivities(OpenItems[ActivityState]):
    """The activities of a run that have not closed; their ids are each other's only while they are open."""

    __slots__ = ("_event_ids",)

    def __init__(self) -> None:
        super().__init__()
        self._event_ids: dict[str, int] | None = None
        """Of each activity id; made when somebody asks while many are open."""

    def copy(self) -> Self:
        """See OpenItems."""
        copied = super().copy()
        copied._event_ids = self._event_ids.copy() if self._event_ids and self else None  # noqa: SLF001 - its own
        return copied

    def put(self, event_id: int, item: ActivityState) -> None:
        """See OpenItems."""
        super().put(event_id, item)
        if self._event_ids is not None:
            self._event_ids[item.event.activity_id] = event_id

    def close(self, event_id: int) -> ActivityState | None:
        """See OpenItems."""
        closed = super().close(event_id)
        if closed is not None and self._event_ids is not None:
            self._event_ids.pop(closed.event.activity_id, None)
        return closed

    def clear(self) -> None:
        """See OpenItems."""
        super().clear()
        self._event_ids = None

    def named(self, activity_id: str) -> ActivityState | None:
        """The open activity that code calls so."""
        if len(self) < INDEXED_MIN:
            return next((activity for activity in self.values() if activity.event.activity_id == activity_id), None)
        if self._event_ids is None:
            self._event_ids = {activity.event.activity_id: event_id for event_id, activity in self.items()}
        event_id = self._event_ids.get(activity_id)
        return None if event_id is None else self[event_id]


INDEXED_MIN = 16
"""A number of open activities from which on an index of their ids is cheaper than a look at each."""


NOTHING: frozenset[int] = frozenset()
"""No ids; shared by all runs that have nothing of a kind under way."""


@dataclass(slots=True)
class RunState:
    """One run. `pending` are the inbound events that its code has not seen; `activations` counts those that it has been through.

    `external_signals` and `external_cancels` are the ids of events: of those that no answer has come to.
    """

    workflow_id: str
    run_id: str
    started: WorkflowExecutionStarted
    start_time_ms: int
    status: WorkflowStatus = WorkflowStatus.RUNNING
    close_time_ms: int = 0
    close_event: Event | None = None
    next_event_id: int = 1
    activities: OpenActivities = field(default_factory=OpenActivities)
    timers: OpenItems[TimerState] = field(default_factory=OpenItems)
    external_signals: Set[int] = NOTHING
    external_cancels: Set[int] = NOTHING
    cancel_requested: bool = False
    pending: tuple[tuple[int, Event], ...] = ()
    activations: int = 0
    activation_failure: ActivationFailed | None = None
    parked: RunParked | None = None
    undelayed: bool = False
    flags: tuple[int, ...] = ()
    history_bytes: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the run has not closed."""
        return self.status is WorkflowStatus.RUNNING

    @property
    def is_blocked(self) -> bool:
        """Whether the run's code does not go on: its last activation failed, or it is parked. A closed run is not blocked."""
        return self.activation_failure is not None or self.parked is not None

    @property
    def new_run_id(self) -> str:
        """The run that follows this closed one, or nothing."""
        return str(getattr(self.close_event, "new_run_id", ""))

    def copy(self) -> RunState:
        """A state that a decision may carry on from, while this one stays as it is."""
        return replace(
            self,
            activities=self.activities.copy(),
            timers=self.timers.copy(),
            external_signals=set(self.external_signals) or NOTHING,
            external_cancels=set(self.external_cancels) or NOTHING,
        )

    def first_activation_ms(self) -> int:
        """The time before which the code is held back: a start delay, or the back-off of a retry."""
        if self.undelayed:
            return self.start_time_ms
        return self.start_time_ms + self.started.first_activation_delay_ms

    def activation_due_ms(self) -> int:
        """When pending events are handed to the code (again); 0 if there are none."""
        if not self.pending or self.parked is not None:
            return 0
        if self.activation_failure is not None:
            return self.activation_failure.retry_at_ms
        return max(1, self.first_activation_ms() if self.activations == 0 else 1)

    def timeout_ms(self) -> int:
        """When the run times out, by its own timeout or by that of the whole execution; 0 is never."""
        run = self.start_time_ms + self.started.first_activation_delay_ms + timeout if (timeout := self.started.run_timeout_ms) else 0
        execution = self.started.execution_deadline_ms
        return min(run, execution) if run and execution else run or execution

    def next_due_ms(self) -> int:
        """The earliest time at which the run needs its owner without a command; 0 is never."""
        if not self.is_open:
            return 0
        dues = (self.activation_due_ms(), self.timeout_ms(), self.timers.next_due_ms(), self.activities.next_due_ms())
        return min((due for due in dues if due), default=0)
