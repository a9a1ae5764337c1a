"""What stays in memory of a run's first event: the same values, with what many runs have in common held once.

A run that waits is little more than its first event, and the events of most runs differ in their input alone. Each is decoded from a
record of its own, and so are its dictionaries and names.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from perdure_schemas.events import WorkflowExecutionStarted
from perdure_schemas.payload import Payload

NAMES_MAX = 4_096
"""Names of types, queues and clients that are held once; others are held by each of their runs."""

METADATA_MAX = 256
"""The same of the metadata of payloads."""

_NOTHING: dict[str, Payload] = {}
"""Shared, and never written to."""


def kept(started: WorkflowExecutionStarted, run_id: str) -> WorkflowExecutionStarted:
    """An event that is equal to `started`, and takes less memory beside others."""
    first_run_id = started.first_execution_run_id
    return replace(
        started,
        workflow_type=_name(started.workflow_type),
        task_queue=_name(started.task_queue),
        identity=_name(started.identity),
        first_execution_run_id=run_id if first_run_id == run_id else first_run_id,
        input=tuple([_payload(payload) for payload in started.input]),
        header=started.header or _NOTHING,
        memo=started.memo or _NOTHING,
        search_attributes=started.search_attributes or _NOTHING,
    )


def _payload(payload: Payload) -> Payload:
    return Payload(_metadata(tuple(payload.metadata.items())), payload.data)


@lru_cache(NAMES_MAX)
def _name(name: str) -> str:
    return name


@lru_cache(METADATA_MAX)
def _metadata(items: tuple[tuple[str, bytes], ...]) -> dict[str, bytes]:
    return dict(items)
