"""How far effects are released: what was sent and is not acknowledged goes again when its owner has died (W5)."""

from kit.slow_medium import Fate
from kit.world import NAMESPACE, World, open_account, plain, transfer
from perdure_schemas.commands import SignalWorkflow

ACCOUNTS = ("account-0", "account-3")


def test_a_task_that_was_on_its_way_when_its_owner_died_is_sent_by_the_next_although_later_records_are_live() -> None:
    world = World(partitions=1)
    for account in ACCOUNTS:
        world.ask(account, open_account())
    world.start()
    world.run_until_done()
    world.medium.fate = lambda append: Fate.LATE if append.topic.startswith(f"{NAMESPACE}.tasks.") else Fate.LANDS
    world.ask("transfer-0", transfer(*ACCOUNTS, 2))
    world.run_until_answered()
    for number in range(3):
        world.ask(ACCOUNTS[0], SignalWorkflow("deposit", input=plain(number + 1)))
        world.run_until_answered()
    (lost,) = world.medium.on_the_way
    world.medium.on_the_way.remove(lost)
    world.medium.fate = lambda append: Fate.LANDS
    world.lose_process(0)
    world.start()
    world.run_until_done()
    assert world.promises.results["transfer-0"] == "done"
    world.check()
