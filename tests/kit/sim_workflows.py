"""Workflows of the simulated namespace."""

from datetime import timedelta

from perdure import workflow

MINUTE = timedelta(minutes=1)


@workflow.defn
class SimTransfer:
    """Withdraws, tells two accounts, deposits."""

    @workflow.run
    async def run(self, source: str, target: str, amount: int) -> str:
        taken: str = await workflow.execute_activity("withdraw", amount, start_to_close_timeout=MINUTE)
        await workflow.get_external_workflow_handle(source).signal("move", -amount)
        await workflow.get_external_workflow_handle(target).signal("move", amount)
        given: str = await workflow.execute_activity("deposit", amount, start_to_close_timeout=MINUTE)
        return taken + given


@workflow.defn
class SimAccount:
    """Not idempotent on purpose; continues as new after every third movement."""

    @workflow.init
    def __init__(self, balance: int) -> None:
        self.balance = balance
        self.movements = 0

    @workflow.run
    async def run(self, balance: int) -> None:
        await workflow.wait_condition(lambda: self.movements >= 3)
        workflow.continue_as_new(self.balance)

    @workflow.signal
    def move(self, amount: int) -> None:
        self.balance += amount
        self.movements += 1


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


WORKFLOWS = [SimTransfer, SimAccount, SimCounter]
