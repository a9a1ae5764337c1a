"""Workflows that use all of asyncio that orders tasks: what they ask for must not depend on the version of Python."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from perdure import workflow
from perdure.exceptions import ActivityError

MINUTE = timedelta(minutes=1)


async def act(name: str) -> Any:
    """One activity."""
    return await workflow.execute_activity(name, start_to_close_timeout=MINUTE)


async def careful(name: str) -> str:
    """One activity; its failure is an answer too."""
    try:
        await act(name)
    except ActivityError as error:
        return f"{name}: {type(error.cause).__name__}"
    return name


@workflow.defn
class FailsInGroup:
    """A few deadlines, then a group of activities of which one fails: its siblings are cancelled in order."""

    @workflow.run
    async def run(self, seed: int) -> str:
        for number in range(seed % 5 + 1):
            try:
                await asyncio.wait_for(act(f"quick {number}"), 5)
            except (TimeoutError, ActivityError):
                await act(f"late {number}")
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(9):
                    group.create_task(act(f"member {number}"))
        except* ActivityError as failed:
            await act(f"cleanup {len(failed.exceptions)}")
        return "done"


@workflow.defn
class FirstOfSet:
    """Sets of tasks: waited for, looked at, given up."""

    @workflow.run
    async def run(self, seed: int) -> list[str]:
        seen = []
        await asyncio.gather(*(asyncio.wait_for(asyncio.sleep(1), 3) for _ in range(seed % 4)))
        pending = {asyncio.create_task(careful(f"racer {number}")) for number in range(10)}
        while len(pending) > 4:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            seen += [await careful(f"after {task.result()}") for task in done]
            pending.add(asyncio.create_task(careful(f"extra {len(seen)}")))
            if len(seen) > 4:
                break
        for task in pending:
            task.cancel()
        groups = {asyncio.gather(asyncio.sleep(1), careful(f"pair {number}")) for number in range(4)}
        done_groups, _ = await asyncio.wait(groups)
        for number, _ in enumerate(done_groups):
            await act(f"group {number}")
        for task in {asyncio.create_task(careful(f"own {number}")) for number in range(12)}:
            await careful(f"look at {task.get_name()}")
            task.cancel()
        return seen


@workflow.defn
class Locks:
    """Who comes next at a lock, when some are cancelled."""

    @workflow.run
    async def run(self, seed: int) -> list[str]:
        seen: list[str] = []
        semaphore = asyncio.BoundedSemaphore(2)
        condition = asyncio.Condition()
        barrier = asyncio.Barrier(3)
        queue: asyncio.Queue[int] = asyncio.Queue(1)

        async def limited(number: int) -> None:
            async with semaphore:
                seen.append(await careful(f"limited {number}"))

        async def notified(number: int) -> None:
            async with condition:
                await condition.wait()
            seen.append(await careful(f"notified {number}"))

        async def met(number: int) -> None:
            await barrier.wait()
            await queue.put(number)

        async def taken() -> None:
            while True:
                seen.append(await careful(f"taken {await queue.get()}"))

        tasks = [asyncio.create_task(limited(number)) for number in range(6)]
        tasks += [asyncio.create_task(notified(number)) for number in range(4)]
        tasks += [asyncio.create_task(met(number)) for number in range(3)]
        taker = asyncio.create_task(taken())
        await careful("first")
        async with condition:
            condition.notify(2)
            tasks[6 + seed % 2].cancel()
        tasks[seed % 6].cancel()
        tasks[(seed + 1) % 6].cancel()
        await careful("second")
        async with condition:
            condition.notify_all()
        await asyncio.gather(*tasks, return_exceptions=True)
        taker.cancel()
        return seen


@workflow.defn
class Generated:
    """A program that grows from the seed."""

    def __init__(self) -> None:
        self.count = 0
        self.over = asyncio.Event()

    @workflow.signal
    async def poke(self) -> None:
        await careful("poked")
        self.over.set()

    @workflow.run
    async def run(self, seed: int) -> str:
        self.random = random.Random(seed)
        for _ in range(3):
            try:
                await self.node(2)
            except ActivityError as error:
                await careful(f"caught {error.activity_type}")
            except asyncio.CancelledError:
                await careful("cancelled")
                raise
        return f"{self.count} activities"

    def node(self, depth: int) -> Awaitable[Any]:
        kinds: list[Callable[[int], Awaitable[Any]]] = [self.one, self.pause]
        if depth:
            kinds = [
                *(self.group, self.gathered, self.race, self.crowd, self.series, self.deadline, self.completed, self.shielded),
                *(self.gate, self.given_up, self.sequence),
            ]
        return self.random.choice(kinds)(depth - 1)

    def several(self, depth: int) -> list[Awaitable[Any]]:
        return [self.node(depth) for _ in range(self.random.randint(2, 4))]

    async def one(self, _: int) -> None:
        self.count += 1
        await act(f"step {self.count}")

    async def pause(self, _: int) -> None:
        await asyncio.sleep(self.random.randint(0, 4))
        self.count += 1
        await careful(f"rested {self.count}")

    async def sequence(self, depth: int) -> None:
        for node in self.several(depth):
            await node

    async def group(self, depth: int) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for node in self.several(depth):
                    group.create_task(_run(node))
                if self.random.random() < 0.3:
                    await self.node(0)
        except* ActivityError as failed:
            await careful(f"group lost {len(failed.exceptions)}")

    async def gathered(self, depth: int) -> None:
        await asyncio.gather(*self.several(depth), return_exceptions=self.random.random() < 0.5)

    async def race(self, depth: int) -> None:
        tasks = {asyncio.create_task(_run(node)) for node in self.several(depth)}
        when = self.random.choice([asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION])
        done, pending = await asyncio.wait(tasks, timeout=self.random.choice([None, 2]), return_when=when)
        for task in tasks - pending:
            await careful(f"won {task.get_name()}")
        for task in pending:
            task.cancel()
        await asyncio.gather(*done, *pending, return_exceptions=True)

    async def crowd(self, depth: int) -> None:
        await asyncio.wait_for(asyncio.sleep(0), 1)
        for task in {asyncio.create_task(_run(node)) for node in self.several(depth) + self.several(0)}:
            task.add_done_callback(lambda done: None if done.cancelled() else done.exception() and None)
            await careful(f"sees {task.get_name()}")
            task.cancel()

    async def series(self, _: int) -> None:
        for _ in range(self.random.randint(1, 3)):
            try:
                await asyncio.wait_for(self.node(0), self.random.choice([0, 1, 3, None]))
            except (TimeoutError, ActivityError):
                await careful("series")

    async def deadline(self, depth: int) -> None:
        try:
            async with asyncio.timeout(self.random.choice([0, 2, 4, None])) as deadline:
                await self.node(depth)
                if self.random.random() < 0.5 and not deadline.expired():
                    deadline.reschedule(asyncio.get_running_loop().time() + 1)
                await self.node(0)
        except (TimeoutError, ActivityError) as error:
            await careful(f"deadline {type(error).__name__}")

    async def completed(self, depth: int) -> None:
        nodes = self.several(depth)
        for number, next_one in enumerate(asyncio.as_completed(nodes, timeout=self.random.choice([None, 3]))):
            try:
                await next_one
            except (TimeoutError, ActivityError):
                await careful(f"completed {number}")

    async def shielded(self, depth: int) -> None:
        inner = asyncio.ensure_future(_run(self.node(depth)))
        try:
            await asyncio.wait_for(asyncio.shield(inner), 1)
        except TimeoutError:
            await careful("shield held")
        await asyncio.wait([inner], timeout=3)
        inner.cancel()
        await asyncio.gather(inner, return_exceptions=True)

    async def gate(self, depth: int) -> None:
        semaphore = asyncio.Semaphore(1)

        async def through(node: Awaitable[Any]) -> None:
            async with semaphore:
                await node

        tasks = [asyncio.create_task(through(node)) for node in self.several(depth)]
        await asyncio.sleep(0)
        for task in tasks[:: self.random.randint(1, 3)]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def given_up(self, depth: int) -> None:
        tasks = [asyncio.create_task(_run(node)) for node in self.several(depth)]
        await asyncio.wait([asyncio.create_task(self.over.wait()), *tasks], timeout=2, return_when=asyncio.FIRST_COMPLETED)
        for task in asyncio.all_tasks() & set(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run(node: Awaitable[Any]) -> Any:
    return await node


FLOWS: tuple[type, ...] = (FailsInGroup, FirstOfSet, Locks, Generated)
