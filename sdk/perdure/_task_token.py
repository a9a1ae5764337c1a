"""The name of one activity attempt, as user code carries it from an activity to whoever completes it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from perdure._log.port import Headers
from perdure_schemas.commands import ActivityReference
from perdure_schemas.headers import TASK_TOKEN


@dataclass(frozen=True, slots=True)
class TaskToken:
    """One attempt of one activity. Without a `signature` it is a name and no secret; with one, whoever has it may report on the attempt."""

    workflow_id: str
    run_id: str
    scheduled_event_id: int
    attempt: int
    signature: str = ""

    def to_bytes(self) -> bytes:
        """What `activity.info().task_token` holds."""
        parts = [self.workflow_id, self.run_id, self.scheduled_event_id, self.attempt, *([self.signature] if self.signature else [])]
        return json.dumps(parts, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, token: bytes) -> TaskToken:
        """The attempt that a token names. Raises ValueError for anything that is no token."""
        try:
            workflow_id, run_id, scheduled_event_id, attempt, *rest = json.loads(token)
            (signature,) = rest or [""]
        except (ValueError, TypeError) as error:
            raise ValueError(f"{token!r:.80} is not a task token; use activity.info().task_token") from error
        texts, numbers = (workflow_id, run_id, signature), (scheduled_event_id, attempt)
        if not (all(isinstance(text, str) for text in texts) and all(type(number) is int for number in numbers)):
            raise ValueError(f"{token!r:.80} is not a task token; use activity.info().task_token")
        return cls(workflow_id, run_id, scheduled_event_id, attempt, signature)

    @property
    def reference(self) -> ActivityReference:
        """The attempt, as commands name it."""
        return ActivityReference(self.run_id, self.scheduled_event_id, self.attempt)

    @property
    def headers(self) -> Headers:
        """What a report on the attempt carries."""
        return ((TASK_TOKEN, self.signature.encode("ascii", "replace")),) if self.signature else ()
