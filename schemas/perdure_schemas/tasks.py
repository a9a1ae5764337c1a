"""One activity attempt on its way to a worker: the records of `ns.tasks.<queue>`."""

from __future__ import annotations

from dataclasses import dataclass, field

from perdure_schemas.options import RetryOptions
from perdure_schemas.payload import Payload


@dataclass(frozen=True, slots=True)
class ActivityTask:
    """What a worker needs to run one attempt and to report on it.

    `announce_first` (maximum_attempts=1): the function must not run before the owner granted it to this delivery.
    """

    workflow_id: str
    run_id: str
    workflow_type: str
    scheduled_event_id: int
    attempt: int
    activity_id: str
    activity_type: str
    task_queue: str
    scheduled_time_ms: int
    attempt_scheduled_time_ms: int
    input: tuple[Payload, ...] = ()
    header: dict[str, Payload] = field(default_factory=dict)
    heartbeat_details: tuple[Payload, ...] = ()
    schedule_to_close_timeout_ms: int = 0
    start_to_close_timeout_ms: int = 0
    heartbeat_timeout_ms: int = 0
    retry_options: RetryOptions = field(default_factory=RetryOptions)
    announce_first: bool = False
    trace_parent: str = ""
