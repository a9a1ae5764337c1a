"""What a call is for: a decorated method, or a name as it is known to the workflow's owner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.workflow._definition import WorkflowDefinition, query_definition, signal_name


def workflow_target(workflow: Any) -> tuple[str, Any]:
    """Name and declared result type of a workflow, given by its run method, its class or its name; a name has no declared type.

    Raises TypeError for what is none of them, ValueError for what is not decorated, or has no name of its own.
    """
    if isinstance(workflow, str):
        return workflow, None
    if not callable(workflow):
        raise TypeError(_refusal("workflow", workflow, "a run method, a workflow class, or the workflow's name as a str"))
    definition = WorkflowDefinition.of_target(workflow)
    if definition is None:
        raise ValueError(
            f"workflow: {_shown(workflow)} is not the run method of a workflow: pass the method decorated with @workflow.run of a class "
            "decorated with @workflow.defn (as MyWorkflow.run), the class, or the workflow's name"
        )
    if definition.name is None:
        raise ValueError(f"{_shown(workflow)} is that of a dynamic workflow, which has no name of its own: pass a name")
    return definition.name, definition.result


def signal_target(signal: str | Callable[..., Any]) -> str:
    """Name of a signal."""
    if isinstance(signal, str):
        return signal
    if not callable(signal):
        raise TypeError(_refusal("signal", signal, "a method decorated with @workflow.signal, or the signal's name as a str"))
    if (name := signal_name(signal)) is None:
        raise ValueError(f"{_shown(signal)} is not a signal with a name: pass a method decorated with @workflow.signal, or the name")
    return name


def query_target(query: str | Callable[..., Any]) -> tuple[str, Any]:
    """Name and declared result type of a query."""
    if isinstance(query, str):
        return query, None
    if not callable(query):
        raise TypeError(_refusal("query", query, "a method decorated with @workflow.query, or the query's name as a str"))
    definition = query_definition(query)
    if definition is None or definition.name is None:
        raise ValueError(f"{_shown(query)} is not a query with a name: pass a method decorated with @workflow.query, or the name")
    return definition.name, definition.result


def _shown(target: Any) -> str:
    return str(getattr(target, "__qualname__", repr(target)))


def _refusal(argument: str, value: Any, wanted: str) -> str:
    return f"{argument} is {value!r}{'' if value is None else f' ({type(value).__name__})'}, and must be {wanted}"
