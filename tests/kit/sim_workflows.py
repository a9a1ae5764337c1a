"""Workflows of the simulated namespace."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from kit import hostile_workflows
from perdure import workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError

MINUTE = timedelta(minutes=1)
PATIENCE = timedelta(milliseconds=600)
RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=100))

REFUSED_AMOUNT = 13
"""Depositing it fails for good, and the transfer gives it back."""


class Fuse:
    """What goes off in SimBomb; a simulation sets it to what ends the process that runs the code."""

    def __init__(self) -> None:
        self.go_off: Callable[[], None] = lambda: None


FUSE = Fuse()


@workflow.defn
class SimTransfer:
    """Withdraws, tells two accounts, deposits; gives back what cannot be deposited."""

    @workflow.run
    async def run(self, source: str, target: str, amount: int) -> str:
        await self.act("withdraw", amount)
        await workflow.get_external_workflow_handle(source).signal("move", -amount)
        await workflow.get_external_workflow_handle(target).signal("move", amount)
        try:
            await self.act("deposit", amount)
        except ActivityError:
            await workflow.get_external_workflow_handle(target).signal("move", -amount)
            await workflow.get_external_workflow_handle(source).signal("move", amount)
            await self.act("refund", amount)
            return "refunded"
        return "done"

    async def act(self, name: str, amount: int) -> None:
        await workflow.execute_activity(name, amount, start_to_close_timeout=MINUTE, retry_policy=RETRY)


@workflow.defn
class SimAccount:
    """Not idempotent on purpose; continues as new after every third movement."""

    @workflow.init
    def __init__(self, balance: int, deposits: int) -> None:
        self.balance = balance
        self.deposits = deposits
        self.movements = 0

    @workflow.run
    async def run(self, balance: int, deposits: int) -> None:
        await workflow.wait_condition(lambda: self.movements >= 3)
        workflow.continue_as_new(args=[self.balance, self.deposits])

    @workflow.signal
    def move(self, amount: int) -> None:
        self.balance += amount
        self.movements += 1

    @workflow.signal
    def deposit(self, amount: int) -> None:
        self.deposits += 1
        self.move(amount)

    @workflow.query
    def deposits_seen(self) -> int:
        return self.deposits


@workflow.defn
class SimCounter:
    """Waits for signals and a timer."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    @workflow.run
    async def run(self) -> list[int]:
        await workflow.sleep(0.3)
        await workflow.wait_condition(lambda: len(self.numbers) >= 4)
        await workflow.sleep(0.2)
        return self.numbers

    @workflow.signal
    def count(self, number: int) -> None:
        self.numbers.append(number)


@workflow.defn
class SimNote:
    """Ends at once: an id that is free again soon."""

    @workflow.run
    async def run(self) -> str:
        return "noted"


@workflow.defn
class SimMessenger:
    """Tells others, all at once, and says who was there."""

    @workflow.run
    async def run(self, targets: list[str]) -> list[str]:
        return [await told for told in [asyncio.ensure_future(self.tell(target)) for target in targets]]

    async def tell(self, target: str) -> str:
        try:
            await workflow.get_external_workflow_handle(target).signal("move", 1)
        except ApplicationError:
            return "nobody"
        return "told"


@workflow.defn
class SimBomb:
    """Ends its process."""

    @workflow.run
    async def run(self) -> str:
        FUSE.go_off()
        return "a dud"


@workflow.defn
class SimBrief:
    """Ends with the first signal."""

    def __init__(self) -> None:
        self.ended = False

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.ended)
        return "ended"

    @workflow.signal
    def move(self, amount: int) -> None:
        self.ended = True


@workflow.defn
class SimImpatient:
    """Waits for an activity, but not for long."""

    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.execute_activity("inspect", 0, schedule_to_close_timeout=PATIENCE, retry_policy=RETRY)
        except ActivityError:
            return "gave up"
        return "inspected"


@workflow.defn
class SimChain:
    """Hands over to a new run after each activity."""

    @workflow.run
    async def run(self, left: int, done: int) -> int:
        if left:
            await workflow.execute_activity("inspect", left, start_to_close_timeout=MINUTE, retry_policy=RETRY)
            workflow.continue_as_new(args=[left - 1, done + 1])
        return done


@workflow.defn
class SimFanOut:
    """Many activities and timers at once."""

    @workflow.run
    async def run(self, width: int) -> int:
        async def one(number: int) -> int:
            await workflow.sleep(timedelta(milliseconds=10 * number))
            attempt: int = await workflow.execute_activity("inspect", number, start_to_close_timeout=MINUTE, retry_policy=RETRY)
            return attempt

        return len(await asyncio.gather(*(one(number) for number in range(width))))


@workflow.defn
class SimCareful:
    """Waits to be cancelled, and cleans up then."""

    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.sleep(timedelta(days=1))
        except asyncio.CancelledError:
            await asyncio.shield(workflow.execute_activity("refund", 2, start_to_close_timeout=MINUTE))
            raise
        return "never"


@workflow.defn
class SimCanceller:
    """Cancels another one."""

    @workflow.run
    async def run(self, target: str) -> str:
        await workflow.get_external_workflow_handle(target).cancel()
        return "told"


@workflow.defn
class SimRace:
    """A signal against a timer."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.wait_condition(lambda: len(self.numbers) >= 2, timeout=timedelta(milliseconds=250))
        except TimeoutError:
            return "timer"
        return "signals"

    @workflow.signal
    def count(self, number: int) -> None:
        self.numbers.append(number)


@workflow.defn
class SimStubborn:
    """Fails in its first runs."""

    @workflow.run
    async def run(self) -> int:
        attempt = workflow.info().attempt
        await workflow.execute_activity("inspect", attempt, start_to_close_timeout=MINUTE, retry_policy=RETRY)
        if attempt < 3:
            raise ApplicationError(f"attempt {attempt}")
        return attempt


@workflow.defn
class SimCharge:
    """Something that must not be done twice, however it ends."""

    @workflow.run
    async def run(self, amount: int) -> str:
        once = RetryPolicy(maximum_attempts=1)
        try:
            await workflow.execute_activity("charge", amount, start_to_close_timeout=timedelta(seconds=4), retry_policy=once)
        except ActivityError:
            return "perhaps"
        return "charged"


@workflow.defn
class SimCount:
    """A long activity that tells how far it is."""

    @workflow.run
    async def run(self, end: int) -> str:
        await workflow.execute_activity(
            "count_up", end, start_to_close_timeout=MINUTE, heartbeat_timeout=timedelta(seconds=1), retry_policy=RETRY
        )
        return "counted"


@workflow.defn
class SimEndless:
    """Has an activity that ends only when the workflow is cancelled."""

    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.execute_activity(
                "endless",
                start_to_close_timeout=MINUTE,
                heartbeat_timeout=timedelta(seconds=1),
                retry_policy=RETRY,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        except ActivityError as error:
            return f"ended by {type(error.cause).__name__}"
        return "never"


@workflow.defn
class SimList:
    """Takes numbers, has each looked at, and gives them back in the end; continues as new after every third one."""

    @workflow.init
    def __init__(self, numbers: list[int], inspected: int, ending: bool) -> None:
        self.numbers = numbers
        self.inspected = inspected
        self.ending = ending

    @workflow.run
    async def run(self, numbers: list[int], inspected: int, ending: bool) -> list[int]:
        while True:
            await workflow.wait_condition(lambda: self.ending or self.inspected < len(self.numbers))
            if self.inspected == len(self.numbers):
                return self.numbers
            await workflow.execute_activity("inspect", self.inspected, start_to_close_timeout=MINUTE, retry_policy=RETRY)
            self.inspected += 1
            if self.inspected % 3 == 0:
                workflow.continue_as_new(args=[self.numbers, self.inspected, self.ending])

    @workflow.signal
    def add(self, number: int) -> None:
        self.numbers.append(number)

    @workflow.signal
    def end(self, _number: int) -> None:
        self.ending = True

    @workflow.query
    def so_far(self) -> list[int]:
        return self.numbers


WORKFLOWS = [
    SimAccount,
    SimBomb,
    SimBrief,
    SimCanceller,
    SimCareful,
    SimChain,
    SimCharge,
    SimCount,
    SimCounter,
    SimEndless,
    SimFanOut,
    SimImpatient,
    SimList,
    SimMessenger,
    SimNote,
    SimRace,
    SimStubborn,
    SimTransfer,
    *hostile_workflows.WORKFLOWS,
]
