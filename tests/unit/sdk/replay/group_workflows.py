"""Workflow code for the tests of groups of exceptions, and of the order of tasks."""

import asyncio
import contextlib
from asyncio import TaskGroup, all_tasks, gather
from collections.abc import Callable
from contextvars import Context
from datetime import timedelta
from typing import Any

from perdure import workflow
from perdure.exceptions import ActivityError, ApplicationError, is_cancelled_exception

MINUTE = timedelta(minutes=1)


async def act(name: str) -> Any:
    return await workflow.execute_activity(name, start_to_close_timeout=MINUTE)


class CountedGroup(asyncio.TaskGroup):
    """A subclass of a user."""

    count = 0

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> Any:
        self.count += 1
        return super().create_task(coro, name=name, context=context)


@workflow.defn(name="Flow")
class InGroup:
    """Activities in a group; `what` says what else there is."""

    def __init__(self) -> None:
        self.trouble = False

    @workflow.run
    async def run(self, what: str) -> str:
        await asyncio.gather(*(asyncio.wait_for(asyncio.sleep(0), 9) for _ in range(3)))
        async with asyncio.TaskGroup() as outer:
            outer.create_task(act("a"))
            outer.create_task(act("b"))
            if what == "nested":
                outer.create_task(self.nested())
            if what == "bug":
                outer.create_task(self.bug())
            if what == "continue":
                outer.create_task(self.go_on())
            if what == "condition":
                await workflow.wait_condition(self.is_over)
        return "done"

    async def nested(self) -> None:
        async with CountedGroup() as inner:
            inner.create_task(act("c"))

    async def bug(self) -> None:
        await act("c")
        raise KeyError("a bug in a member")

    async def go_on(self) -> None:
        await act("c")
        workflow.continue_as_new("again")

    def is_over(self) -> bool:
        if self.trouble:
            raise ExceptionGroup("both", [ApplicationError("one"), ExceptionGroup("inner", [ApplicationError("two")])])
        return False

    @workflow.signal
    async def group(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(act("of the signal"))

    @workflow.signal
    def make_trouble(self) -> None:
        self.trouble = True


class Odd(Exception):
    """No failure of a workflow, unless it is listed."""


@workflow.defn(name="Flow")
class RaisesGroup:
    @workflow.run
    async def run(self, what: str) -> Any:
        groups: dict[str, BaseExceptionGroup[Any]] = {
            "cancelled": BaseExceptionGroup("gone", [asyncio.CancelledError(), asyncio.CancelledError()]),
            "partly": BaseExceptionGroup("partly", [asyncio.CancelledError(), ApplicationError("no", non_retryable=True)]),
            "odd": ExceptionGroup("odd", [ApplicationError("no"), Odd("bug")]),
            "half": ExceptionGroup("half", [ApplicationError("no"), ApplicationError("half a character: \udcff")]),
        }
        if what == "ask":
            return [[workflow.is_failure_exception(one), is_cancelled_exception(one)] for one in groups.values()]
        raise groups[what]


@workflow.defn(name="Flow", failure_exception_types=[ExceptionGroup])
class ListsGroups(RaisesGroup):
    @workflow.run
    async def run(self, what: str) -> Any:
        return await super().run(what)


@workflow.defn(name="Flow")
class CleansUp:
    """A cancel is delivered once: what the handler of the group does afterwards runs in peace."""

    @workflow.run
    async def run(self, what: str) -> str:
        if what == "swallowed before":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(act("member"))
        except* ActivityError:
            await act("cleanup")
        return "done"


@workflow.defn(name="Flow")
class KeepsCancel:
    """A cancel that comes while the group ends for another reason is not lost, whatever the handler makes of the group."""

    @workflow.run
    async def run(self) -> str:
        async def slow_to_die() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(1)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(act("fails"))
                group.create_task(slow_to_die())
        except* ActivityError:
            await act("never")
        return "done"


@workflow.defn(name="Flow")
class Cancels:
    """After `deadlines` of them a group of activities is cancelled by the failure of one."""

    @workflow.run
    async def run(self, deadlines: int) -> None:
        for _ in range(deadlines):
            await asyncio.wait_for(asyncio.sleep(0), 9)
        async with TaskGroup() as group:
            for number in range(20):
                group.create_task(act(f"a{number}"))


@workflow.defn(name="Flow")
class GivesUpAtOnce:
    """An activity that is given up before its task has begun."""

    @workflow.run
    async def run(self) -> str:
        handle = workflow.start_activity("a", start_to_close_timeout=MINUTE)
        handle.cancel()
        try:
            await handle
        except asyncio.CancelledError:
            await act("b")
        return "done"


@workflow.defn(name="Flow")
class Sets:
    """A set of tasks, after a number of futures that nobody puts into one."""

    @workflow.run
    async def run(self, futures: int) -> list[str]:
        for _ in range(futures):
            asyncio.get_running_loop().create_future()
        tasks = [asyncio.create_task(asyncio.sleep(0), name=str(number)) for number in range(30)]
        order = [task.get_name() for task in set(tasks[5:]) | set(tasks[:20])]
        own = {asyncio.get_running_loop().create_future(): number for number in range(30)}
        order += [str(own[future]) for future in set(own)]
        await gather(*tasks)
        done, pending = await asyncio.wait(set(tasks))
        assert not pending
        return [*order, *(task.get_name() for task in done), done.pop().get_name()]


@workflow.defn(name="Flow")
class WaitsFor:
    """The result and a cancel come together, or some steps apart."""

    @workflow.run
    async def run(self, steps: int) -> bool:
        seen = asyncio.Event()

        async def wait() -> None:
            await asyncio.wait_for(seen.wait(), 60)

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        is_asked = waiting.cancel()
        await asyncio.wait([waiting])
        return waiting.cancelled() is is_asked


CHECKS: dict[str, Callable[[], Any]] = {
    "own": lambda: sorted(task.get_name() for task in all_tasks()),
    "group": lambda: type(asyncio.TaskGroup()).__module__,
    "counted": lambda: [isinstance(CountedGroup(), CountedGroup), isinstance(CountedGroup(), asyncio.TaskGroup)],
    "semaphore": lambda: type(asyncio.BoundedSemaphore(2)).__mro__[2].__module__,
    "names": lambda: [asyncio.create_task(asyncio.sleep(0)).get_name() for _ in range(2)],
    "coroutines": lambda: asyncio.as_completed({asyncio.sleep(0), asyncio.sleep(0)}),
    "eager": lambda: asyncio.get_running_loop().create_task(asyncio.sleep(0), eager_start=True),  # type: ignore[call-arg]
}


@workflow.defn(name="Flow")
class Looks:
    @workflow.run
    async def run(self, what: str) -> Any:
        if what == "rest":
            await asyncio.sleep(60)
        return CHECKS[what]()

    @workflow.query
    async def greedy(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(act("a"))

    @workflow.query
    async def gathers(self) -> None:
        await gather(act("a"))

    @workflow.query
    async def waits(self) -> None:
        await asyncio.wait_for(asyncio.get_running_loop().create_future(), 5)
