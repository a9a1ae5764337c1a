"""What a client is told about a run: its state, its times, and what it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from perdure.converter import DataConverter
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.replies import PendingActivity, RunSummary, WorkflowDescribed

WorkflowExecutionStatus = WorkflowStatus
"""State of a run, under the name that users know."""


@dataclass(frozen=True)
class WorkflowExecution:
    """A run, as `list_workflows` gives it. `raw_info` is the row as it came."""

    id: str
    run_id: str
    first_execution_run_id: str
    namespace: str
    workflow_type: str
    task_queue: str
    status: WorkflowExecutionStatus
    start_time: datetime
    execution_time: datetime | None
    close_time: datetime | None
    history_length: int
    raw_info: RunSummary
    data_converter: DataConverter

    async def memo(self) -> Mapping[str, Any]:
        """All values of the memo, decoded without type hints."""
        return {key: self._memo_value(key, None) for key in self.raw_info.memo}

    async def memo_value(self, key: str, *, type_hint: type | None = None) -> Any:
        """One value of the memo. Raises KeyError if it has none of this name."""
        return self._memo_value(key, type_hint)

    def _memo_value(self, key: str, type_hint: type | None) -> Any:
        payload = self.raw_info.memo[key]
        hints = None if type_hint is None else [type_hint]
        return self.data_converter.payload_converter.from_payloads((payload,), hints)[0]


@dataclass(frozen=True)
class WorkflowExecutionDescription(WorkflowExecution):
    """A run in full, as `handle.describe` gives it. `raw_description` is the answer as it came."""

    raw_description: WorkflowDescribed

    @property
    def pending_activities(self) -> tuple[PendingActivity, ...]:
        """The activities that have not closed."""
        return self.raw_description.pending_activities

    @property
    def activation_failure(self) -> BaseException | None:
        """The error that blocks the workflow's code now, if any; it goes on once the code is repaired."""
        failure = self.raw_description.activation_failure
        if failure is None:
            return None
        return self.data_converter.failure_converter.from_failure(failure, self.data_converter.payload_converter)


def execution(summary: RunSummary, namespace: str, data_converter: DataConverter) -> WorkflowExecution:
    """A row of a list for users."""
    return WorkflowExecution(**_common(summary, namespace, data_converter))


def description(described: WorkflowDescribed, namespace: str, data_converter: DataConverter) -> WorkflowExecutionDescription:
    """The answer to a describe for users."""
    return WorkflowExecutionDescription(**_common(described.summary, namespace, data_converter), raw_description=described)


def _common(summary: RunSummary, namespace: str, data_converter: DataConverter) -> dict[str, Any]:
    return {
        "id": summary.workflow_id,
        "run_id": summary.run_id,
        "first_execution_run_id": summary.first_execution_run_id,
        "namespace": namespace,
        "workflow_type": summary.workflow_type,
        "task_queue": summary.task_queue,
        "status": summary.status,
        "start_time": _time(summary.start_time_ms),
        "execution_time": _time(summary.execution_time_ms) if summary.execution_time_ms else None,
        "close_time": _time(summary.close_time_ms) if summary.close_time_ms else None,
        "history_length": summary.history_length,
        "raw_info": summary,
        "data_converter": data_converter,
    }


def _time(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
