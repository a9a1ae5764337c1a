"""The name of one activity attempt, as user code carries it from an activity to whoever completes it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from perdure_schemas.commands import ActivityReference


@dataclass(frozen=True, slots=True)
class TaskToken:
    """One attempt of one activity. It is a name and no secret."""

    workflow_id: str
    run_id: str
    scheduled_event_id: int
    attempt: int

    def to_bytes(self) -> bytes:
        """What `activity.info().task_token` holds."""
        return json.dumps([self.workflow_id, self.run_id, self.scheduled_event_id, self.attempt], separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, token: bytes) -> TaskToken:
        """The attempt that a token names. Raises ValueError for anything that is no token."""
        try:
            workflow_id, run_id, scheduled_event_id, attempt = json.loads(token)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{token!r:.80} is not a task token; use activity.info().task_token") from error
        if not (isinstance(workflow_id, str) and isinstance(run_id, str) and type(scheduled_event_id) is int and type(attempt) is int):
            raise ValueError(f"{token!r:.80} is not a task token; use activity.info().task_token")
        return cls(workflow_id, run_id, scheduled_event_id, attempt)

    @property
    def reference(self) -> ActivityReference:
        """The attempt, as commands name it."""
        return ActivityReference(self.run_id, self.scheduled_event_id, self.attempt)
