"""What a query may be told while others append, and while the records of its own turn are on their way (C8, design.md 3.7)."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from kit.slow_medium import Fate
from kit.world import FIRST, NAMESPACE, SECOND, World, history_of, open_account, plain
from perdure_platform.ops.verify import fold_partition
from perdure_platform.partition import query as query_module
from perdure_platform.store.memory import MemoryStores
from perdure_schemas import codec
from perdure_schemas.commands import (
    Command,
    DescribePartition,
    DescribeWorkflow,
    QueryWorkflow,
    ReplyAddress,
    Request,
    SignalWorkflow,
    StartWorkflow,
)
from perdure_schemas.replies import PartitionDescribed, QueryAnswered

ACCOUNT = "account-0"


def steps(world: World, count: int) -> None:
    for _ in range(count):
        world.step()


def deposit(world: World) -> str:
    return world.ask(ACCOUNT, SignalWorkflow("deposit", input=plain(5)))


def query(world: World) -> str:
    return world.ask(ACCOUNT, QueryWorkflow("deposits_seen"))


def told(world: World, request_id: str) -> int:
    answer = world.asked[request_id].answer
    assert isinstance(answer, QueryAnswered)
    return int(json.loads(answer.result[0].data))


def account() -> World:
    world = World(partitions=1, said={0: {FIRST}})
    world.ask(ACCOUNT, open_account())
    world.start()
    query(world)
    world.run_until_done()
    return world


def test_a_zombie_that_has_not_read_the_claim_of_its_successor_answers_nothing() -> None:
    world = account()
    first = world.processes[FIRST]
    world.said = {0: {FIRST, SECOND}}
    world.paused.add(FIRST)
    world.start(name=SECOND)
    deposit(world)
    world.run_until_answered()
    world.paused = {SECOND}
    first.log.hidden.add(history_of(0))
    asked = query(world)
    steps(world, 100)
    owner = first.node.partitions[0].owner
    assert owner is not None, "it knows by now that it is a zombie"
    assert world.asked[asked].answer is None
    assert owner._barrier.questions, "the query has not reached it"
    first.log.hidden.clear()
    world.paused.clear()
    world.said = {0: {SECOND}}
    world.run_until_done()
    assert told(world, asked) == 1
    world.check()


def test_a_machine_that_was_suspended_does_not_say_how_things_were_before() -> None:
    """Its clock stood still with it, so nothing is due there, and it appends nothing that would show it that it is a zombie."""
    world = World(partitions=1, said={0: {FIRST}})
    suspended_ms = [math.inf]
    first = world.start()
    first.node._around = replace(first.node._around, monotonic_ms=lambda: float(min(world.clock.ms, suspended_ms[0])))
    world.ask("counter", StartWorkflow("SimCounter", "sim"))
    for number in range(4):
        world.ask("counter", SignalWorkflow("count", input=plain(number + 1)), after_ms=20 * number)
    world.run_until_answered()
    steps(world, 3)
    suspended_ms[0] = world.clock.ms
    world.paused.add(FIRST)
    world.said = {0: {SECOND}}
    world.start(name=SECOND)
    world.run_until_done()
    assert "WorkflowExecutionCompleted" in world.promises.kinds["counter"]
    world.said = {0: {FIRST, SECOND}}
    world.paused = {SECOND}
    first.log.hidden.add(history_of(0))
    request = Request("describes", world.clock.ms + 60_000, ReplyAddress("client", 0))
    world.send(Command("counter", DescribeWorkflow(), request))
    steps(world, 50)
    owner = first.node.partitions[0].owner
    assert owner is not None, "it knows by now that it is a zombie"
    replies = [codec.decode_reply(record.value) for record in world.medium.read(f"{NAMESPACE}.replies", 0, 0, 10_000)]
    assert "describes" not in {reply.request_id for reply in replies}
    assert owner._barrier.questions, "the request has not reached it"


def test_a_query_beside_a_change_is_answered_once_the_change_is_in_the_log() -> None:
    world = account()
    world.medium.fate = lambda append: Fate.LATE if append.topic == f"{NAMESPACE}.history" else Fate.LANDS
    deposit(world)
    asked = query(world)
    steps(world, 30)
    (late,) = world.medium.on_the_way
    assert world.asked[asked].answer is None
    world.medium.fate = lambda append: Fate.LANDS
    world.medium.deliver(late)
    world.run_until_done()
    assert told(world, asked) == 1
    world.check()


def test_a_digest_is_made_in_small_parts_while_the_partition_works_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_module, "DIGEST_ROWS", 1)
    world = account()
    for number in range(1, 60):
        world.ask(f"account-{number}", open_account())
    world.run_until_done()
    asked = [ask_for_digest(world) for _ in range(2)]
    steps(world, 10)
    asked.append(ask_for_digest(world))
    for _ in range(5):
        deposit(world)
    before = query(world)
    while world.asked[before].answer is None:
        world.step()
    assert all(world.asked[one].answer is None for one in asked), "it was made at once"
    world.run_until_answered()
    answers = [world.asked[one].answer for one in asked]
    described = [answer for answer in answers if isinstance(answer, PartitionDescribed)]
    assert described[0].digest == described[1].digest
    assert described[1].digest_offset < described[2].digest_offset
    for one in described:
        assert fold_partition(world.log, NAMESPACE, 0, MemoryStores(), one.digest_offset + 1).digest == one.digest
    assert told(world, before) == 5
    world.run_until_done()
    world.check()


def ask_for_digest(world: World) -> str:
    return world.ask("", DescribePartition(with_digest=True))
