"""Workflow code for the tests of the runtime."""

import asyncio
import datetime
import random
import threading
import time
from datetime import timedelta

from perdure import workflow
from perdure.exceptions import ActivityError, ApplicationError

MINUTE = timedelta(minutes=1)


@workflow.defn(name="Flow")
class TwoActivities:
    @workflow.run
    async def run(self) -> int:
        first: int = await workflow.execute_activity("first", start_to_close_timeout=MINUTE)
        second: int = await workflow.execute_activity("second", first, start_to_close_timeout=MINUTE)
        return first + second


@workflow.defn(name="Flow")
class OtherOrder:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity("second", start_to_close_timeout=MINUTE)


@workflow.defn(name="Flow")
class Patched:
    @workflow.run
    async def run(self) -> str:
        if workflow.patched("new-first"):
            await workflow.execute_activity("new", start_to_close_timeout=MINUTE)
        else:
            await workflow.execute_activity("first", start_to_close_timeout=MINUTE)
        return "done"


@workflow.defn(name="Flow")
class Signals:
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.log: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        self.log.append("run")
        await workflow.wait_condition(lambda: len(self.seen) >= 3)
        return self.seen

    @workflow.signal
    async def add(self, item: str) -> None:
        self.log.append(f"add {item}")
        await asyncio.sleep(0)
        self.seen.append(item)

    @workflow.query
    def order(self) -> list[str]:
        return self.log

    @workflow.query
    async def greedy(self) -> None:
        await workflow.execute_activity("first", start_to_close_timeout=MINUTE)


@workflow.defn(name="Flow")
class Groups:
    @workflow.run
    async def run(self) -> list[int]:
        seen: list[int] = []

        async def one(number: int) -> int:
            await asyncio.sleep(number)
            seen.append(number)
            return number

        async with asyncio.TaskGroup() as group:
            for number in (3, 1, 2):
                group.create_task(one(number))
        await asyncio.gather(*(workflow.execute_activity(f"a{n}", start_to_close_timeout=MINUTE) for n in range(3)))
        done, pending = await asyncio.wait([asyncio.create_task(asyncio.sleep(n)) for n in (1, 2)], return_when=asyncio.FIRST_COMPLETED)
        seen.append(len(done) * 10 + len(pending))
        return seen


@workflow.defn(name="Flow")
class Timeouts:
    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.wait_condition(lambda: False, timeout=timedelta(seconds=5))
        except TimeoutError:
            return "late"
        return "never"


@workflow.defn(name="Flow")
class GivesUp:
    """A signal ends a wait for an activity, or for some time."""

    @workflow.init
    def __init__(self, what: str) -> None:
        self.what = what
        self.is_over = False

    @workflow.run
    async def run(self, what: str) -> str:
        if what == "timer":
            await workflow.wait_condition(lambda: self.is_over, timeout=timedelta(seconds=5))
        else:
            work = workflow.start_activity("long", start_to_close_timeout=MINUTE)
            await workflow.wait_condition(lambda: self.is_over)
            work.cancel()
        await workflow.execute_activity("last", start_to_close_timeout=MINUTE)
        return "given up"

    @workflow.signal
    def enough(self) -> None:
        self.is_over = True


@workflow.defn(name="Flow")
class Cleanup:
    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.execute_activity("long", start_to_close_timeout=MINUTE)
        except ActivityError:
            await workflow.execute_activity("undo", start_to_close_timeout=MINUTE)
            raise
        return "done"


@workflow.defn(name="Flow")
class Raises:
    @workflow.init
    def __init__(self, what: str) -> None:
        self.what = what

    @workflow.run
    async def run(self, what: str) -> None:
        match what:
            case "application":
                raise ApplicationError("no paper", type="Printer")
            case "bug":
                raise KeyError("colour")
            case "continue":
                workflow.continue_as_new("again")
            case "timeout":
                raise TimeoutError("too slow")
            case _:
                raise SystemExit(1)


@workflow.defn(name="Flow")
class Forbidden:
    @workflow.run
    async def run(self, what: str) -> str:
        match what:
            case "time":
                time.time()
            case "caught":
                try:
                    time.monotonic()
                except Exception:
                    return "swallowed"
            case "now":
                datetime.datetime.now()  # noqa: DTZ005 - that is the point
            case "random":
                random.random()
            case "open":
                open(__file__).close()  # noqa: ASYNC230
            case "thread":
                threading.Thread(target=print).start()
            case "executor":
                await asyncio.get_running_loop().run_in_executor(None, print)
            case "loop":
                while True:
                    pass
        return "allowed"


@workflow.defn(name="Flow")
class Allowed:
    @workflow.run
    async def run(self) -> list[str]:
        import json

        with workflow.unsafe.sandbox_unrestricted():
            time.time()
        workflow.logger.info("allowed")
        return [json.dumps(workflow.now().isoformat()), str(workflow.uuid4()), str(workflow.random().random())]


@workflow.defn(name="Flow")
class External:
    @workflow.run
    async def run(self) -> str:
        handle = workflow.get_external_workflow_handle("other")
        try:
            await handle.signal("go", 1)
        except ApplicationError as error:
            return str(error.type)
        await handle.cancel(reason="enough")
        return "told"


@workflow.defn(name="Flow")
class Crowd:
    @workflow.run
    async def run(self) -> None:
        await asyncio.gather(*(workflow.execute_activity(f"a{n}", start_to_close_timeout=MINUTE) for n in range(50)))
