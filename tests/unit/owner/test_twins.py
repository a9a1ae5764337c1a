"""A process and its clone share claim, sequence and memory (R18, C11): what one has sent ahead never counts behind what the other sent."""

from dataclasses import replace

import pytest

from kit.slow_medium import Fate
from kit.world import World, history_of, open_account, plain
from perdure_schemas import codec
from perdure_schemas.commands import SignalWorkflow
from perdure_schemas.history import Claim, HistoryRecord, PositionRecord
from perdure_schemas.live import LiveState, Verdict, judge, link_of

ACCOUNTS = ("account-0", "account-3", "account-5")


def history(world: World) -> list[tuple[HistoryRecord, Verdict, LiveState]]:
    """Every record, its verdict, and the rule's state behind it."""
    state, found = LiveState(), []
    for read in world.medium.read(*history_of(0), 0, 10_000):
        record = codec.decode_history(read.value)
        verdict, state = judge(state, record, link_of(read.value))
        found.append((record, verdict, state))
    return found


@pytest.mark.parametrize("sent_ahead", [1, 2, 3])
def test_what_an_owner_has_sent_ahead_is_dead_behind_what_its_twin_has_sent(sent_ahead: int) -> None:
    world = World(partitions=1)
    for account in ACCOUNTS:
        world.ask(account, open_account())
    process = world.start()
    world.run_until_done()
    known = history(world)
    live = known[-1][2]
    position = next(record for record, _, _ in reversed(known) if isinstance(record, PositionRecord))

    world.medium.delay_ms = lambda what: 1_000_000
    world.medium.fate = lambda append: Fate.LATE if (append.topic, append.partition) == history_of(0) else Fate.LANDS
    for account in ACCOUNTS[:sent_ahead]:
        world.ask(account, SignalWorkflow("deposit", input=plain(5)))
    world.clients()
    world.turn(process)
    held = list(world.medium.on_the_way)
    assert len(held) >= sent_ahead, "nothing was sent ahead"
    twin = replace(position, sequence=live.sequence + 1, live_count=live.live_count + 1, follows=live.link)
    world.medium.append(*history_of(0), None, codec.encode_history(twin))
    world.medium.fate = lambda append: Fate.LANDS
    for later in held:
        world.medium.deliver(later)

    world.run_until_done()
    world.check()
    behind = history(world)[len(known) :]
    assert [verdict for _, verdict, _ in behind[: 1 + len(held)]] == [
        Verdict.LIVE,
        Verdict.COPY,
        *[Verdict.BEHIND_A_HOLE] * (len(held) - 1),
    ]
    assert sum(isinstance(record, Claim) for record, _, _ in behind) == 1, "it did not retire"
