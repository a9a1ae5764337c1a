"""Workflow code that gives options which Temporal's SDK knows, or nobody."""

from datetime import timedelta
from typing import Any

from perdure import workflow


@workflow.defn(name="Flow")
class Summarised:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity("greet", summary="of a greeting", start_to_close_timeout=timedelta(minutes=1))


@workflow.defn(name="Flow")
class Prioritised:
    @workflow.run
    async def run(self) -> None:
        options: dict[str, Any] = {"start_to_close_timeout": timedelta(minutes=1), "priority": 1}
        await workflow.execute_activity("greet", summary="x", **options)


@workflow.defn(name="Flow")
class Misspelt:
    @workflow.run
    async def run(self) -> None:
        options: dict[str, Any] = {"start_to_close": timedelta(minutes=1)}
        await workflow.execute_activity("greet", **options)


@workflow.defn(name="Flow")
class Continued:
    @workflow.run
    async def run(self) -> None:
        options: dict[str, Any] = {"search_attributes": {"a": ["b"]}}
        workflow.continue_as_new(**options)


@workflow.defn(name="Flow")
class ContinuedAsNothing:
    @workflow.run
    async def run(self) -> None:
        anything: Any = 5
        workflow.continue_as_new(workflow=anything)
