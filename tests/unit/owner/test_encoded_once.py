"""A record is encoded once, the last of a turn too: encoding is a large part of what a transfer costs its owner."""

import pytest

from kit.world import World, history_of, open_account, plain
from perdure_platform.partition import append
from perdure_schemas.codec import decode_history, encode_history
from perdure_schemas.commands import SignalWorkflow
from perdure_schemas.history import CommitRecord, HistoryRecord

ACCOUNTS = tuple(f"account-{number}" for number in range(6))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Commit records in the order in which they are encoded."""
    found: list[object] = []

    def counting(record: HistoryRecord) -> bytes:
        if isinstance(record, CommitRecord):
            found.append(record)
        return encode_history(record)

    monkeypatch.setattr(append, "encode_history", counting)
    return found


def commits(world: World) -> list[CommitRecord]:
    records = [decode_history(record.value) for record in world.medium.read(*history_of(0), 0, 10_000)]
    return [record for record in records if isinstance(record, CommitRecord)]


def led() -> World:
    world = World(partitions=1)
    for account in ACCOUNTS:
        world.ask(account, open_account())
    world.start()
    world.run_until_answered()
    return world


def test_a_turn_with_one_record_encodes_once(encoded: list[object]) -> None:
    world = led()
    before, encoded_before = len(commits(world)), len(encoded)
    for number in range(5):
        world.ask(ACCOUNTS[0], SignalWorkflow("deposit", input=plain(number + 1)))
        world.run_until_answered()
    made = commits(world)[before:]
    assert len(made) >= 5
    assert len(encoded) - encoded_before == len(made)
    assert all(record.watermark is not None for record in made)


def test_a_turn_with_many_records_encodes_each_once_and_the_last_has_the_watermark(encoded: list[object]) -> None:
    world = led()
    before, encoded_before = len(commits(world)), len(encoded)
    for account in ACCOUNTS:
        world.ask(account, SignalWorkflow("deposit", input=plain(1)))
    world.run_until_answered()
    made = commits(world)[before:]
    assert len(made) == len(ACCOUNTS)
    assert len(encoded) - encoded_before == len(made)
    assert made[-1].watermark is not None
