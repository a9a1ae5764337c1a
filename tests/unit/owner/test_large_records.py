"""What is in a record of history is bounded by what it will take, not by what came: names are repeated in it, and many requests add up."""

from __future__ import annotations

from dataclasses import replace

from kit.world import LIMITS, World, commands_of, history_of, open_account, plain
from perdure._log.memory.log import MemoryLog
from perdure_platform.partition.decode import NAME_LENGTH_MAX
from perdure_platform.partition.lanes import Lanes
from perdure_schemas import codec
from perdure_schemas.commands import Command, ReplyAddress, Request, SignalWorkflow
from perdure_schemas.history import Checkpoint, Claim, CommitRecord, PositionRecord
from perdure_schemas.placement import partition_of
from perdure_schemas.topics import RECORD_BYTES_MAX, TopicSpec

LONG = NAME_LENGTH_MAX - 10
HOUR_MS = 3_600_000


def records(world: World, partition: int) -> list[object]:
    start, _ = world.medium.bounds(*history_of(partition))
    whole = [*world.medium.deleted[history_of(partition)], *world.medium.read(*history_of(partition), start, 100_000)]
    return [codec.decode_history(record.value) for record in whole]


def claims(world: World) -> list[int]:
    return [sum(isinstance(record, Claim) for record in records(world, partition)) for partition in range(2)]


def send(world: World, account: str, number: int, run_id: str) -> None:
    request = Request(f"{number:06}" + "r" * LONG, world.clock.ms + HOUR_MS, ReplyAddress("c" * LONG, 0))
    command = Command(account, SignalWorkflow("deposit", run_id=run_id, input=plain(1)), request)
    world.medium.append(*commands_of(partition_of(account, 2)), account.encode(), codec.encode_command(command))


def led() -> World:
    world = World(partitions=2, limits=replace(LIMITS, retention_ms=60_000, checkpoint_interval_ms=2_000))
    world.medium.watch = lambda record: None  # these clients wait for nothing
    for number in range(8):
        world.ask(f"account-{number}", open_account())
    world.start()
    world.run_until_done()
    return world


def test_commands_with_long_names_are_taken_in_as_many_records_as_they_need() -> None:
    world = led()
    before = claims(world)
    for number in range(21):
        send(world, "account-0", number, "x" * LONG)
    for _ in range(500):
        world.step()
    assert claims(world) == before, "a record was refused"
    home = partition_of("account-0", 2)
    watermarks = [record.watermark for record in records(world, home) if isinstance(record, CommitRecord | PositionRecord)]
    assert watermarks[-1] == world.medium.bounds(*commands_of(home))[1] - 1, "not all were taken"


def test_a_checkpoint_takes_as_many_records_as_its_requests_need() -> None:
    world = led()
    before = claims(world)
    for number in range(150):
        send(world, "account-0", number, "")
        world.step()
    for _ in range(500):
        world.step()
    assert claims(world) == before, "a record was refused"
    home = records(world, partition_of("account-0", 2))
    assert max(record.parts for record in home if isinstance(record, Checkpoint)) > 1


def test_a_record_that_no_log_takes_ends_the_claim_of_its_own_partition_alone() -> None:
    log = MemoryLog()
    log.medium.create([TopicSpec("ns.history", 2)])
    lanes = Lanes(log, lambda: 0.0)
    failed: list[object] = []
    lanes.on_history_failed.append(lambda place, error: failed.append(place))
    lanes.append_history("ns.history", 1, None, bytes(RECORD_BYTES_MAX + 1))
    lanes.append_history("ns.history", 0, None, b"small")
    lanes.push()
    lanes.turn()
    assert failed == [("ns.history", 1)]
