"""A process takes a partition over while the one before still leads it: neither takes the other's work for damage of the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kit.skipping import skips
from kit.slow_medium import Fate
from kit.world import FIRST, LIMITS, NAMESPACE, SECOND, STEP_MS, Process, World, history_of, open_account, plain
from perdure._log.errors import LogUnavailable
from perdure._log.memory.medium import Append
from perdure_platform.node.assignment import Stage
from perdure_platform.ops.verify import fold_partition
from perdure_platform.store.digest import digest
from perdure_platform.store.memory import MemoryStores
from perdure_schemas import codec
from perdure_schemas.commands import SignalWorkflow
from perdure_schemas.history import Claim, CommitRecord


def led_twice() -> tuple[World, Process]:
    """A partition that the first process leads, and that the second one is told to lead as well."""
    world = World(partitions=1, said={0: {FIRST}})
    world.ask("account-0", open_account())
    world.start()
    world.run_until_done()
    assert world.said is not None
    world.said[0] = {FIRST, SECOND}
    return world, world.start(name=SECOND)


def stage(process: Process) -> Stage:
    return process.node.partitions[0].stage


def deposit(world: World, number: int) -> None:
    world.ask("account-0", SignalWorkflow("deposit", input=plain(4**number)))


def steps(world: World, count: int) -> None:
    for _ in range(count):
        world.step()


def test_commands_that_are_settled_after_the_ends_were_asked_for_are_not_taken_for_lost() -> None:
    world, second = led_twice()
    second.log.tells_ends_early = True
    second.log.hidden.add(history_of(0))
    second.node.turn(0)
    assert stage(second) is Stage.REBUILDING
    world.paused.add(SECOND)
    for number in range(5):
        deposit(world, number)
    world.run_until_answered()
    world.paused.clear()
    second.log.hidden.clear()
    steps(world, 1)
    assert world.said is not None
    world.said[0] = {SECOND}
    deposit(world, 5)
    world.run_until_done()
    assert stage(second) is Stage.LEADING
    world.check()


def test_a_reader_that_skips_the_claim_of_its_successor_reads_again_instead_of_stopping() -> None:
    world, _ = led_twice()
    first = world.processes[FIRST]
    assert world.said is not None
    world.said[0] = {SECOND}
    _, before = world.medium.bounds(*history_of(0))
    world.paused.add(FIRST)
    deposit(world, 0)
    world.run_until_answered()
    claimed = next(
        record.offset for record in world.medium.read(*history_of(0), before, 100) if isinstance(codec.decode_history(record.value), Claim)
    )
    skips(first, history_of(0), claimed)
    world.said[0] = {FIRST, SECOND}
    world.paused.clear()
    for number in range(1, 5):
        deposit(world, number)
        steps(world, 20)
    assert stage(first) is not Stage.STOPPED, str(first.node.partitions[0].failure)
    world.said[0] = {FIRST}
    deposit(world, 5)
    world.run_until_done()
    world.check()


def test_an_owner_whose_records_are_refused_claims_again_less_and_less_often() -> None:
    world = World(partitions=1)
    world.ask("account-0", open_account())
    world.start()
    world.run_until_done()
    world.medium.fate = lambda append: Fate.LOST if is_commit(append) else Fate.LANDS
    _, before = world.medium.bounds(*history_of(0))
    deposit(world, 0)
    minute = 60_000 // STEP_MS
    steps(world, minute)
    claims = claims_from(world, before)
    assert claims > 2
    # Its back-off ends at a second; half of that is jitter, and what it leads in between takes a few steps.
    assert claims < 2 * 60_000 // world.limits.claim_backoff_max_ms, f"{claims} claims in a minute"
    world.medium.fate = lambda append: Fate.LANDS
    world.run_until_done()
    world.check()


def test_rivals_under_a_membership_that_flaps_claim_less_and_less_often() -> None:
    world = World(partitions=1, said={0: {FIRST, SECOND}}, limits=replace(LIMITS, claim_backoff_max_ms=10_000))
    world.ask("account-0", open_account())
    world.start()
    world.start(name=SECOND)
    assert world.said is not None
    half_a_minute = []
    for _ in range(4):
        _, before = world.medium.bounds(*history_of(0))
        for _ in range(15):
            world.said[0] = {FIRST, SECOND}
            steps(world, 1_000 // STEP_MS)
            world.said[0] = set()
            steps(world, 1_000 // STEP_MS)
        half_a_minute.append(claims_from(world, before))
    # Who has led and left in peace claims each time that it is told to lead, fifteen times; a rival in turn, each five seconds at most.
    assert 0 < half_a_minute[-1] <= 15 + 30 // 5, half_a_minute
    world.said[0] = {FIRST}
    deposit(world, 0)
    world.run_until_done()
    world.check()


def claims_from(world: World, offset: int) -> int:
    records = [codec.decode_history(record.value) for record in world.medium.read(*history_of(0), offset, 10_000)]
    return sum(isinstance(record, Claim) for record in records)


def is_commit(append: Append) -> bool:
    return append.topic == history_of(0)[0] and isinstance(codec.decode_history(append.value), CommitRecord)


class Untold:
    """A membership that nobody can ask."""

    def poll(self) -> frozenset[int]:
        raise LogUnavailable("the coordinator is away")

    def show(self, positions: Mapping[int, int]) -> None:
        pass

    def leave(self) -> None:
        pass


def test_who_cannot_ask_who_leads_goes_on_leading() -> None:
    """B5: leadership lives in the log."""
    world, _ = led_twice()
    assert world.said is not None
    world.said[0] = {FIRST}
    first = world.processes[FIRST]
    first.node._membership = Untold()
    deposit(world, 0)
    world.run_until_done()
    assert stage(first) is Stage.LEADING
    world.check()


def test_who_cannot_ask_who_leads_claims_nothing() -> None:
    """B5: who has lost a partition meanwhile waits until it is told that it is to lead."""
    world, second = led_twice()
    first = world.processes[FIRST]
    told, first.node._membership = first.node._membership, Untold()
    deposit(world, 0)
    world.run_until_done()
    steps(world, 200)
    assert stage(first) is Stage.WAITING
    assert stage(second) is Stage.LEADING
    first.node._membership = told
    assert world.said is not None
    world.said[0] = {FIRST}
    steps(world, 200)
    assert stage(first) is Stage.LEADING
    world.run_until_done()
    world.check()


def test_an_owner_whose_last_record_is_dead_has_what_a_fold_to_there_gives() -> None:
    """C5: a late record of the owner before was the newest when the digest was taken, and the owner's rows were said to differ."""
    world, _ = led_twice()
    assert world.said is not None
    world.said[0] = {FIRST}
    world.run_until_done()
    topic, partition = history_of(0)
    _, end = world.medium.bounds(topic, partition)
    (newest,) = world.medium.read(topic, partition, end - 1, 1)
    world.medium.append(topic, partition, newest.key, newest.value)
    world.processes[FIRST].node.turn(0)
    owner = world.processes[FIRST].node.partitions[0].owner
    assert owner is not None
    described = owner.describe()
    assert described.history_offset == end + 1
    folded = fold_partition(world.log, NAMESPACE, 0, MemoryStores(), described.history_offset)
    assert folded.dead == {"copy": 1}
    assert folded.digest == digest(world.stores[FIRST].stores[0].opened())


def test_who_is_told_to_leave_while_it_claims_is_not_taken_for_dead() -> None:
    world, second = led_twice()
    world.processes[FIRST].node.close(5_000)
    del world.processes[FIRST]
    world.said = {0: {SECOND}}
    world.medium.fate = lambda append: Fate.LATE if isinstance(codec.decode_history(append.value), Claim) else Fate.LANDS
    while not world.medium.on_the_way:
        world.turn(second)
        world.clock.ms += STEP_MS
    world.said[0] = set()
    world.turn(second)
    world.medium.fate = lambda append: Fate.LANDS
    world.medium.deliver(world.medium.on_the_way[0])
    for _ in range(5):
        world.turn(second)
        world.clock.ms += STEP_MS
    assert not second.node._leaving
    world.said[0] = {"third"}
    third = world.start(name="third")
    deposit(world, 0)
    world.run_until_done()
    applier = third.node.partitions[0]._applier
    assert applier is not None
    assert applier.positions.live.claim_number == 3
    assert not applier.positions.caution.deaths
    world.check()
