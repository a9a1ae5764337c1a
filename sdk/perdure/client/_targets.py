"""What a call is for: a decorated method, or a name as it is known to the workflow's owner."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from perdure.workflow._definition import WorkflowDefinition, query_definition, signal_name


def workflow_target(workflow: str | Callable[..., Any]) -> tuple[str, Any]:
    """Name and declared result type of the workflow that a run method belongs to; a name has no declared type."""
    if isinstance(workflow, str):
        return workflow, None
    definition = _definition_of_run(workflow)
    if definition is None:
        raise ValueError(
            f"{_shown(workflow)} is not the run method of a workflow: pass the method decorated with @workflow.run of a class decorated "
            "with @workflow.defn (as MyWorkflow.run), or the workflow's name"
        )
    if definition.name is None:
        raise ValueError(f"{_shown(workflow)} is that of a dynamic workflow, which has no name of its own: pass a name")
    return definition.name, definition.result


def signal_target(signal: str | Callable[..., Any]) -> str:
    """Name of a signal."""
    if isinstance(signal, str):
        return signal
    if (name := signal_name(signal)) is None:
        raise ValueError(f"{_shown(signal)} is not a signal with a name: pass a method decorated with @workflow.signal, or the name")
    return name


def query_target(query: str | Callable[..., Any]) -> tuple[str, Any]:
    """Name and declared result type of a query."""
    if isinstance(query, str):
        return query, None
    definition = query_definition(query)
    if definition is None or definition.name is None:
        raise ValueError(f"{_shown(query)} is not a query with a name: pass a method decorated with @workflow.query, or the name")
    return definition.name, definition.result


def _definition_of_run(function: Callable[..., Any]) -> WorkflowDefinition | None:
    """Workflows are classes at the top level of modules, so a method's own name tells where its class is."""
    place: Any = sys.modules.get(getattr(function, "__module__", ""))
    for name in getattr(function, "__qualname__", "").split(".")[:-1]:
        place = getattr(place, name, None)
    definition = WorkflowDefinition.of(place) if isinstance(place, type) else None
    return definition if definition is not None and definition.run is function else None


def _shown(target: Any) -> str:
    return str(getattr(target, "__qualname__", repr(target)))
