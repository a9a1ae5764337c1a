"""Copies of an owner's own records are dead, counted, and the end of nobody's claim (A2, R19)."""

from kit.world import World, history_of, open_account, plain
from perdure_schemas import codec
from perdure_schemas.commands import SignalWorkflow
from perdure_schemas.history import Claim, ClaimedRecord


def test_copies_of_its_newest_and_of_old_records_do_not_make_an_owner_claim_again() -> None:
    world = World(partitions=1)
    world.ask("account-0", open_account())
    process = world.start()
    world.run_until_answered()
    copied = 0
    for number in range(3):
        records = world.medium.read(*history_of(0), 0, 10_000)
        copies = [record for record in records if isinstance(codec.decode_history(record.value), ClaimedRecord)]
        for record in copies:
            world.medium.append(*history_of(0), record.key, record.value)
        copied += len(copies)
        world.ask("account-0", SignalWorkflow("deposit", input=plain(number + 1)))
        world.run_until_answered()
    world.run_until_done()
    owner = process.node.partitions[0].owner
    assert owner is not None
    assert claims(world) == 1, "a copy made an owner claim again"
    assert owner.confirmer.dead["copy"] == copied > 0
    world.check()


def claims(world: World) -> int:
    records = world.medium.read(*history_of(0), 0, 10_000)
    return sum(isinstance(codec.decode_history(record.value), Claim) for record in records)
