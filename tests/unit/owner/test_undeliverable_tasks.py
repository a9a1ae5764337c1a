"""A task whose queue cannot be written rests, and goes out later: whoever leads by then (R9)."""

from __future__ import annotations

from dataclasses import replace

from kit.slow_medium import Fate
from kit.world import FIRST, NAMESPACE, SECOND, Process, World, history_of, open_account, transfer
from perdure._log.errors import LogUnauthorized
from perdure._log.memory.medium import Append
from perdure_platform.node.topics import TaskTopics
from perdure_schemas import codec
from perdure_schemas.history import CommitRecord


class Closed(TaskTopics):
    """Topics that this process may neither see nor make, until it may."""

    refused = 0
    may = False

    def partitions(self, task_queue: str) -> int:
        if not self.may:
            self.refused += 1
            raise LogUnauthorized(f"not allowed to describe {task_queue}")
        return super().partitions(task_queue)


def world_without_a_queue() -> tuple[World, Process, Closed]:
    """One partition with two accounts, whose owner cannot write to the queue."""
    world = World(partitions=1, said={0: {FIRST}})
    process = world.start()
    topics = Closed(process.log, NAMESPACE)
    process.node._around = replace(process.node._around, task_topics=topics)
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    world.run_until_answered()
    return world, process, topics


def steps(world: World, count: int) -> None:
    for _ in range(count):
        world.step()


def test_a_task_that_is_refused_while_its_owner_hands_over_is_sent_by_the_next() -> None:
    world, process, topics = world_without_a_queue()
    world.ask("transfer-0", transfer("account-0", "account-3", 2))
    process.log.hidden.add(history_of(0))
    while not any(isinstance(sent.record, CommitRecord) for owner in world._owners().values() for sent in owner.confirmer.in_flight):
        world.step()
    assert world.said is not None
    world.said[0] = {SECOND}
    steps(world, 3)
    assert not topics.refused
    process.log.hidden.clear()
    steps(world, 3)
    assert topics.refused, "the record was not confirmed while its owner was leaving"
    world.start(name=SECOND)
    world.run_until_done()
    world.check()


def test_a_task_that_is_refused_by_an_owner_that_dies_before_it_is_noted_is_sent_by_the_next() -> None:
    world, process, topics = world_without_a_queue()
    landed: list[CommitRecord] = []

    def fate(append: Append) -> Fate:
        """Of the turn in which the task is refused, the first record lands and the others do not."""
        if not topics.refused or append.topic != history_of(0)[0]:
            return Fate.LANDS
        record = codec.decode_history(append.value)
        if landed or not isinstance(record, CommitRecord):
            return Fate.LATE
        landed.append(record)
        return Fate.LANDS

    topics.may = True
    world.ask("transfer-0", transfer("account-0", "account-3", 2))
    while world.promises.kinds["transfer-0"].count("ActivityTaskScheduled") < 2:  # the record of the second asks for nothing else
        world.step()
    topics.may = False
    world.medium.fate = fate
    world.ask("transfer-1", transfer("account-0", "account-3", 4))  # taken in the turn that confirms the other's start
    world.clients()
    process.node.turn(0)
    assert topics.refused
    assert len(landed) == 1
    world.medium.on_the_way.clear()
    world.medium.fate = lambda append: Fate.LANDS
    world.lose_process(0)
    assert world.said is not None
    world.said[0] = {SECOND}
    world.start(name=SECOND)
    world.run_until_done()
    world.check()


def test_a_task_that_rests_does_not_hold_up_what_is_released_behind_it() -> None:
    world, process, topics = world_without_a_queue()
    world.ask("transfer-0", transfer("account-0", "account-3", 2))
    steps(world, 30)
    assert topics.refused
    (owner,) = world._owners().values()
    assert owner.is_settled
    topics.may = True
    world.run_until_done()
    world.check()
    assert process.node.partitions
