"""When an attempt may run, and what the log knows by then (design.md 7, R21)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from kit.activity_bench import QUEUE, Bench, acknowledge, attention
from kit.scripted_owner import eventually
from perdure import activity
from perdure._log.memory.groups import MemoryGroupConsumer
from perdure_schemas.codec import encode_task
from perdure_schemas.commands import ActivityStarted, Command, CompleteActivity
from perdure_schemas.replies import ReplyBody
from perdure_schemas.topics import workers_group


class Gate:
    """An activity that runs until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.runs: list[tuple[str, int]] = []

    @activity.defn
    async def hold(self) -> None:
        self.runs.append((activity.info().workflow_id, activity.info().attempt))
        await self.go.wait()


def silence(_: Command) -> Iterable[ReplyBody]:
    return ()


async def test_an_attempt_that_lasts_is_announced_and_its_offset_committed_while_it_runs(bench: Bench) -> None:
    gate = Gate()
    async with bench.worker(gate.hold):
        task = bench.dispatch("hold")
        start = await bench.started(task)
        assert (start.identity, start.asks_grant) == ("me", False)
        await eventually(lambda: bench.committed() == 1, "the offset is committed")
        assert not bench.outcomes()
        gate.go.set()
        await bench.outcome(task)


async def test_an_announcement_is_repeated_under_its_nonce_until_it_is_answered(bench: Bench) -> None:
    gate = Gate()
    bench.owner.script = silence
    async with bench.worker(gate.hold):
        task = bench.dispatch("hold")
        await eventually(lambda: len(bench.starts(task)) == 2, "the second announcement")
        assert len({start.nonce for start in bench.starts(task)}) == 1
        gate.go.set()
        await bench.outcome(task)


async def test_a_single_attempt_runs_only_when_it_is_granted(bench: Bench) -> None:
    gate = Gate()
    bench.owner.script = silence
    async with bench.worker(gate.hold):
        task = bench.dispatch("hold", announce_first=True)
        start = await bench.started(task)
        assert start.asks_grant
        assert not gate.runs
        (answer,) = acknowledge(Command(task.workflow_id, start))
        bench.owner.tell(start.worker, start.nonce, answer)
        await eventually(lambda: len(gate.runs) == 1, "it runs")
        gate.go.set()
        await bench.outcome(task)


async def test_a_single_attempt_that_is_not_granted_never_runs(bench: Bench) -> None:
    gate = Gate()
    bench.owner.script = lambda command: acknowledge(command, granted=False)
    async with bench.worker(gate.hold):
        bench.dispatch("hold", announce_first=True)
        await eventually(lambda: bench.committed() == 1, "the task is dropped")
    assert not gate.runs
    assert not bench.outcomes()


async def test_a_task_from_before_the_assignment_runs_once_its_start_is_acknowledged_and_its_offset_committed(bench: Bench) -> None:
    gate = Gate()
    bench.owner.script = silence
    task = bench.dispatch("hold")
    async with bench.worker(gate.hold):
        start = await bench.started(task)
        assert not start.asks_grant
        assert not gate.runs
        (answer,) = acknowledge(Command(task.workflow_id, start))
        bench.owner.tell(start.worker, start.nonce, answer)
        await eventually(lambda: len(gate.runs) == 1, "it runs")
        assert bench.committed() == 1
        gate.go.set()
        await bench.outcome(task)


async def test_a_commit_that_nobody_waited_for_lets_no_old_task_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log may refuse it, or not have it yet when the attempt ends its worker (R21)."""
    lost: list[Mapping[int, int]] = []
    monkeypatch.setattr(MemoryGroupConsumer, "commit", lambda self, positions: lost.append(dict(positions)))
    gate = Gate()
    bench.owner.script = silence
    task = bench.dispatch("hold")
    async with bench.worker(gate.hold):
        start = await bench.started(task)
        await eventually(lambda: bool(lost), "its offset was committed, and lost")
        assert bench.committed() == 0
        (answer,) = acknowledge(Command(task.workflow_id, start))
        bench.owner.tell(start.worker, start.nonce, answer)
        await eventually(lambda: len(gate.runs) == 1, "it runs")
        assert bench.committed() == 1
        gate.go.set()
        await bench.outcome(task)


async def test_old_tasks_of_a_silent_owner_do_not_hold_up_those_of_others(bench: Bench) -> None:
    gate = Gate()
    gate.go.set()
    deaf = bench.dispatch("hold")
    heard = bench.dispatch("hold")
    bench.owner.script = lambda command: () if command.workflow_id == deaf.workflow_id else acknowledge(command)
    async with bench.worker(gate.hold):
        await bench.outcome(heard)
        assert gate.runs == [(heard.workflow_id, 1)]


async def test_an_old_task_that_is_no_longer_wanted_is_dropped(bench: Bench) -> None:
    gate = Gate()

    def unwanted(command: Command) -> Iterable[ReplyBody]:
        return [attention(command.body.activity, command.workflow_id, not_found=True)] if isinstance(command.body, ActivityStarted) else ()

    bench.owner.script = unwanted
    bench.dispatch("hold")
    async with bench.worker(gate.hold):
        await eventually(lambda: bench.committed() == 1, "the task is dropped")
    assert not gate.runs
    assert not bench.outcomes()


async def test_a_second_delivery_of_what_runs_is_not_run_and_both_are_committed(bench: Bench) -> None:
    gate = Gate()
    async with bench.worker(gate.hold):
        task = bench.dispatch("hold")
        bench.put(encode_task(task), b"again")
        other = replace(task, attempt=2)
        bench.put(encode_task(other), b"other")
        await eventually(lambda: len(gate.runs) == 2, "both attempts run")
        await eventually(lambda: bench.committed() == 3, "all three are committed")
        gate.go.set()
        await bench.outcome(other)
        await bench.outcome(task)
    assert sorted(gate.runs) == [(task.workflow_id, 1), (task.workflow_id, 2)]
    assert len(bench.outcomes()) == 2


async def test_tasks_of_a_worker_that_vanished_run_on_the_next_one(bench: Bench) -> None:
    dead = bench.log.group_consumer(workers_group("default", QUEUE), f"default.tasks.{QUEUE}", 300)
    dead.poll(1, 0)
    task = bench.dispatch("hold")
    await eventually(lambda: bool(dead.poll(10, 0)), "the first worker has the task, and then dies")
    gate = Gate()
    gate.go.set()
    async with bench.worker(gate.hold, session_timeout_ms=300):
        assert isinstance(await bench.outcome(task), CompleteActivity)
        assert bench.starts(task), "what may have run elsewhere is announced first"


async def test_a_partition_that_comes_back_while_its_task_runs_gives_no_second_run(bench: Bench) -> None:
    gate = Gate()
    async with bench.worker(gate.hold, session_timeout_ms=60_000):
        bench.owner.script = silence
        first = bench.dispatch("hold", announce_first=True)  # its offset is settled by its start, so the next stays open
        second = bench.dispatch("hold")
        await eventually(lambda: len(gate.runs) == 1, "the second runs")
        with bench.log.medium.changed:
            group = bench.group()
            group.committed[0] = 1
            group.held.clear()  # as after a session that ran out
            group.generations[0] += 5
        await eventually(lambda: bool(bench.group().held), "the partition is back")
        bench.dispatch("hold")
        await eventually(lambda: len(bench.owner.received(ActivityStarted)) >= 3, "the third is announced")
        bench.owner.script = acknowledge
        start = await bench.started(first)
        (answer,) = acknowledge(Command(first.workflow_id, start))
        bench.owner.tell(start.worker, start.nonce, answer)
        gate.go.set()
        await bench.outcome(second)
        await bench.outcome(first)
        await eventually(lambda: bench.committed() == 3, "all are committed")
    assert len(gate.runs) == len(set(gate.runs)) == 3
