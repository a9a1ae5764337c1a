"""Code of two versions, chosen by VERSION in the environment: each kind of change that the replay of an open run must notice."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

from kit.operations import PATIENCE, Operations
from perdure import Registry, activity, workflow
from perdure.client import Client
from perdure.common import WorkflowIDReusePolicy

KINDS = ("reordered", "removed", "added", "renamed", "another delay", "patched", "a set's order")
IS_NEW = os.environ.get("VERSION") == "new"
WORDS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen")


@activity.defn
async def step(name: str) -> str:
    """Says its name."""
    return name


@activity.defn
async def other_step(name: str) -> str:
    """Another activity."""
    return name


def call(name: str) -> workflow.ActivityHandle[str]:
    """Begin a step."""
    return workflow.start_activity(step, name, start_to_close_timeout=timedelta(seconds=30))


@workflow.defn
class Versioned:
    """Three steps and a timer before it waits; the new version changes one thing about them."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.is_told = False

    @workflow.run
    async def run(self, kind: str) -> list[str]:
        kind = kind if IS_NEW or kind == "a set's order" else ""
        names = ["one", "two", "three"]
        match kind:
            case "reordered":
                names.reverse()
            case "removed":
                names.pop()
            case "added":
                names.append("four")
            case "a set's order":
                names = list(set(WORDS))
        if kind == "patched" and workflow.patched("renamed"):
            names = ["new"]
        for name in names:
            if kind == "renamed" or name in WORDS[::2]:
                await workflow.execute_activity(other_step, name, start_to_close_timeout=timedelta(seconds=30))
            elif kind == "reordered":
                await workflow.sleep(0.01)
                await call(name)
            else:
                await call(name)
            self.done.append(name)
        await workflow.sleep(2 if kind == "another delay" else 0.01)
        await workflow.wait_condition(lambda: self.is_told)
        return self.done

    @workflow.signal
    def go(self) -> None:
        self.is_told = True

    @workflow.query
    def so_far(self) -> list[str]:
        return self.done


@workflow.defn
class Fanned:
    """Uses what collects tasks in sets: the order must not depend on hashes."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.is_told = False

    @workflow.run
    async def run(self) -> list[str]:
        await asyncio.gather(*(call(word) for word in WORDS))
        waiting: list[asyncio.Future[None]] = [asyncio.ensure_future(self._one(word)) for word in WORDS]
        while waiting:
            _, waiting = await workflow.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in workflow.as_completed([asyncio.ensure_future(self._called(word)) for word in WORDS]):
            self.done.append(await task)
        await workflow.wait_condition(lambda: self.is_told)
        return self.done

    async def _one(self, word: str) -> None:
        await workflow.sleep(0.01)
        self.done.append(await call(word))

    async def _called(self, word: str) -> str:
        return await call(word)

    @workflow.signal
    def go(self) -> None:
        self.is_told = True

    @workflow.query
    def so_far(self) -> list[str]:
        return self.done


@workflow.defn
class Long:
    """Counts, and keeps nothing."""

    def __init__(self) -> None:
        self.count = 0
        self.is_told = False

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.is_told)
        return self.count

    @workflow.signal
    def put(self, value: bytes) -> None:
        self.count += 1

    @workflow.signal
    def go(self) -> None:
        self.is_told = True

    @workflow.query
    def counted(self) -> list[int]:
        info = workflow.info()
        return [self.count, info.get_current_history_length(), int(info.is_continue_as_new_suggested())]


registry = Registry(task_queue="work", workflows=[Versioned, Fanned, Long], activities=[step, other_step])
check_options: tuple[str, ...] = ()


async def prepare(client: Client) -> None:
    """Nothing."""


async def one(client: Client, number: int, operations: Operations) -> None:
    """A neighbour, which is done when it has been told."""
    workflow_id = f"neighbour-{number}"
    handle = await operations.ask(
        "start",
        workflow_id,
        workflow_id,
        lambda: client.start_workflow(
            Long.run,
            id=workflow_id,
            task_queue="work",
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            request_id=workflow_id,
            rpc_timeout=PATIENCE,
        ),
    )
    await operations.ask(
        "signal", workflow_id, f"go-{workflow_id}", lambda: handle.signal(Long.go, request_id=f"go-{workflow_id}", rpc_timeout=PATIENCE)
    )
    assert await handle.result() == 0


async def check(client: Client, count: int, directory: Path) -> None:
    """The tests look for themselves."""
