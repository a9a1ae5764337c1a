"""A turn of which only a part reached the log, and records that come after the claim they belong to (W10, C1)."""

from __future__ import annotations

from kit.slow_medium import Fate
from kit.world import FIRST, NAMESPACE, SECOND, World, history_of, open_account, plain
from perdure._log.memory.medium import Append
from perdure_platform.node.assignment import Stage
from perdure_schemas import codec
from perdure_schemas.commands import Command, Origin, SignalWorkflow
from perdure_schemas.history import Claim

ACCOUNTS = ("account-0", "account-3")


def steps(world: World, count: int) -> None:
    for _ in range(count):
        world.step()


def accounts() -> World:
    world = World(partitions=1, said={0: {FIRST}})
    for account in ACCOUNTS:
        world.ask(account, open_account())
    world.start()
    world.run_until_done()
    return world


def test_copies_of_commands_that_a_half_appended_turn_had_applied_are_not_applied_again() -> None:
    """The mark passes over what a takeover skips: the skipped command may have the highest origin of all (R7)."""
    world = accounts()
    world.medium.watch = lambda record: None  # the promises know of no other partition

    def send(account: str, offset: int) -> None:
        world.send(Command(account, SignalWorkflow("deposit", input=plain(1)), origin=Origin(7, offset, 0)))

    appends: list[str] = []

    def fate(append: Append) -> Fate:
        appends.append(append.topic)
        return Fate.LOST if appends.count(f"{NAMESPACE}.history") == 2 and append.topic == f"{NAMESPACE}.history" else Fate.LANDS

    world.medium.fate = fate
    for account, offset in ((ACCOUNTS[0], 10), (ACCOUNTS[1], 11), (ACCOUNTS[0], 12)):
        send(account, offset)
    steps(world, 100)
    world.medium.fate = lambda append: Fate.LANDS
    assert claims(world) == 2, "the turn has not been cut in two"
    send(ACCOUNTS[0], 12)
    steps(world, 50)
    assert [signals(world, account) for account in ACCOUNTS] == [2, 1]


def test_a_late_record_of_a_superseded_claim_is_dead_although_its_sequence_would_fit() -> None:
    world = World(partitions=1, said={0: {FIRST}})
    first = world.start()
    steps(world, 20)
    assert first.node.partitions[0].stage is Stage.LEADING
    world.medium.fate = lambda append: Fate.LATE if append.producer in first.log.producers else Fate.LANDS
    world.ask(ACCOUNTS[0], open_account())
    while not world.medium.on_the_way:
        world.step()
    world.paused.add(FIRST)
    (late,) = [later for later in world.medium.on_the_way if later.append is not None and later.append.topic == f"{NAMESPACE}.history"]
    assert late.append is not None
    assert world.said is not None
    world.said[0] = {SECOND}
    second = world.start(name=SECOND)
    second.log.hidden.add((f"{NAMESPACE}.commands", 0))  # it has nothing to append but its first position record
    steps(world, 20)
    sequences = [getattr(codec.decode_history(record.value), "sequence", 0) for record in world.medium.read(*history_of(0), 0, 100)]
    assert codec.decode_history(late.append.value).sequence == sequences[-1] + 1  # type: ignore[union-attr]
    world.medium.deliver(late)
    second.log.hidden.clear()
    world.lose_process(0, FIRST)
    world.run_until_done()
    world.lose_process(0, SECOND)
    world.stores.clear()
    world.start(name=SECOND)
    world.run_until_done()
    assert world.promises.seen["superseded_claim record"] == 1
    world.check()


def claims(world: World) -> int:
    return sum(isinstance(codec.decode_history(record.value), Claim) for record in world.medium.read(*history_of(0), 0, 10_000))


def signals(world: World, workflow_id: str) -> int:
    """How many signals of other partitions the store shows in the workflow's current run."""
    owner = world.processes[FIRST].node.partitions[0].owner
    assert owner is not None
    state = owner._runs.entry(workflow_id).state
    assert state is not None
    stored = owner._tables.transitions(workflow_id, state.run_id)
    return sum(type(event).__name__ == "WorkflowExecutionSignaled" for one in stored for event in one.transition.inbound)
