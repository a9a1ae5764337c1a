"""Workflow code that does what it must not, or what it hardly does: none of it may reach other runs, or its own replay."""

import asyncio
import contextvars
import gc
import os
import random
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

from perdure import workflow
from perdure.exceptions import ApplicationError

MINUTE = timedelta(minutes=1)
VARIABLE = contextvars.ContextVar("VARIABLE", default="none")


class Odd:
    """Has no JSON."""


@workflow.defn
class FailsWithOddDetails:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError("no", Odd())


@workflow.defn
class FailsOfAnOddCause:
    @workflow.run
    async def run(self) -> None:
        raise KeyError("x") from ApplicationError("no", Odd())


@workflow.defn
class OddQueries:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def details(self) -> None:
        raise ApplicationError("no", Odd())

    @workflow.query
    def leave(self) -> None:
        sys.exit(3)

    @workflow.query
    def cancelled(self) -> None:
        raise asyncio.CancelledError


@workflow.defn
class SetsAVariable:
    def __init__(self) -> None:
        VARIABLE.set("leaked")

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


@workflow.defn
class ReadsTheVariable:
    @workflow.run
    async def run(self) -> str:
        return VARIABLE.get()


@workflow.defn
class WaitsUnrestricted:
    @workflow.run
    async def run(self) -> None:
        with workflow.unsafe.sandbox_unrestricted():
            await workflow.wait_condition(lambda: False)


@workflow.defn
class StaysWhenDropped:
    @workflow.run
    async def run(self) -> None:
        never = asyncio.Event()
        try:
            try:
                await workflow.wait_condition(lambda: False)
            except asyncio.CancelledError:
                await never.wait()
        finally:
            workflow.start_activity("stray", schedule_to_close_timeout=MINUTE)


@workflow.defn
class Collects:
    @workflow.run
    async def run(self) -> int:
        with workflow.unsafe.sandbox_unrestricted():
            gc.collect()
        return 1


@workflow.defn
class QueriesThatAct:
    def __init__(self) -> None:
        self.going = False
        self.event = asyncio.Event()

    @workflow.run
    async def run(self) -> None:
        self.activity = workflow.start_activity("first", schedule_to_close_timeout=MINUTE)
        await self.event.wait()
        await workflow.execute_activity("second", start_to_close_timeout=MINUTE)

    @workflow.signal
    def go(self) -> None:
        self.going = True

    @workflow.query
    def cancel(self) -> None:
        self.activity.cancel()

    @workflow.query
    def wake(self) -> None:
        self.event.set()

    @workflow.query
    def later(self) -> None:
        asyncio.get_running_loop().call_soon(self.event.set)


@workflow.defn
class TwoEqualTimers:
    def __init__(self) -> None:
        self.ticks = 0

    def tick(self) -> None:
        self.ticks += 1

    @workflow.run
    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        first = loop.call_later(1, self.tick)
        loop.call_later(1, self.tick)
        first.cancel()
        await workflow.wait_condition(lambda: self.ticks == 1)
        return self.ticks


@workflow.defn
class ShortTimers:
    @workflow.run
    async def run(self) -> None:
        await asyncio.gather(workflow.sleep(0.0014), workflow.sleep(0.0004), asyncio.sleep(1.1))


# A function that is named here only would be the one from before it was wrapped.
LEAKS: dict[str, Callable[[], object]] = {
    "normalvariate": lambda: random.normalvariate(0, 1),
    "expovariate": lambda: random.expovariate(1),
    "triangular": lambda: random.triangular(),
    "betavariate": lambda: random.betavariate(1, 2),
    "urandom": lambda: os.urandom(4),
    "randbits": lambda: secrets.randbits(4),
    "SystemRandom": lambda: random.SystemRandom().random(),
    "thread_time": lambda: time.thread_time(),
    "gmtime": lambda: time.gmtime(),
    "strftime": lambda: time.strftime("%S"),
    "ctime": lambda: time.ctime(),
    "process_time_ns": lambda: time.process_time_ns(),
    "clock_gettime": lambda: time.clock_gettime(0),
}


@workflow.defn
class Leaks:
    @workflow.run
    async def run(self, what: str) -> None:
        LEAKS[what]()


@workflow.defn
class FailsInItsConstructor:
    def __init__(self) -> None:
        raise ApplicationError("no")

    @workflow.run
    async def run(self) -> None:
        pass


@workflow.defn
class FailsInAPredicate:
    @workflow.run
    async def run(self) -> None:
        def fails() -> bool:
            raise ApplicationError("no")

        await workflow.wait_condition(fails)


@workflow.defn
class LeavesAGenerator:
    @workflow.run
    async def run(self) -> int:
        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                await workflow.execute_activity("cleanup", start_to_close_timeout=MINUTE)

        async for _ in numbers():
            break
        return 1


@workflow.defn
class TwoConditions:
    def __init__(self) -> None:
        self.going = False

    @workflow.run
    async def run(self) -> None:
        async def one() -> None:
            await workflow.wait_condition(lambda: self.going, timeout=MINUTE)
            workflow.start_activity("one", start_to_close_timeout=MINUTE)

        async def two() -> None:
            await workflow.wait_condition(lambda: self.going)
            workflow.start_activity("two", start_to_close_timeout=MINUTE)

        await asyncio.gather(one(), two())
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def go(self) -> None:
        self.going = True
