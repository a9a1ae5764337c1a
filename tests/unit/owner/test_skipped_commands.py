"""A reader that skips commands, also at the same place again, loses none (A8)."""

import pytest

from kit.skipping import skips
from kit.world import World, commands_of, open_account, plain
from perdure._log.progress import GAP_READINGS
from perdure_schemas import codec
from perdure_schemas.commands import Command, Request, SignalWorkflow


@pytest.mark.parametrize("times", [1, 2, GAP_READINGS - 1])
def test_a_command_that_a_reader_skips_again_and_again_is_taken_in_the_end(times: int) -> None:
    world = World(partitions=1)
    world.ask("account-0", open_account())
    process = world.start()
    world.run_until_done()
    place = commands_of(0)
    skipped = skips(process, place, world.medium.bounds(*place)[1], times)
    for number in range(5):
        world.medium.append(*place, b"account-0", command(world, number))
    for _ in range(300):
        world.step()
    assert len(skipped) == times
    assert world.promises.accounts["account-0"].deposits == 5


def command(world: World, number: int) -> bytes:
    """A deposit that nobody sends again."""
    request = Request(f"deposit-{number}", world.clock.ms + 3_600_000, None)
    return codec.encode_command(Command("account-0", SignalWorkflow("deposit", input=plain(4**number)), request))
