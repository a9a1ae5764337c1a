"""Lists: pages of every partition, merged."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from kit.scripted_owner import ScriptedOwner
from perdure.client import Client, RPCError, RPCStatusCode
from perdure_schemas.commands import Command, DescribePartition, ListWorkflows
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.replies import PartitionDescribed, RefusalCode, Refused, ReplyBody, RunSummary, WorkflowsListed


def run(start_time_ms: int) -> RunSummary:
    return RunSummary(f"wf-{start_time_ms}", "run", "run", "Transfer", "q", WorkflowStatus.RUNNING, start_time_ms)


class Partitions:
    """What the partitions hold; which one is asked is told by where the command was read."""

    def __init__(self, owner: ScriptedOwner, rows: dict[int, list[int]]) -> None:
        self.owner = owner
        self.rows = rows
        self.asked: list[tuple[int, int]] = []

    def __call__(self, command: Command) -> Iterable[ReplyBody]:
        assert isinstance(command.body, ListWorkflows)
        partition, _ = self.owner.commands[-1]
        first = int(command.body.page_token or b"0")
        end = first + command.body.page_size
        times = sorted(self.rows[partition], reverse=True)
        self.asked.append((partition, command.body.page_size))
        return (WorkflowsListed(tuple(map(run, times[first:end])), str(end).encode() if end < len(times) else b""),)


async def test_partitions_are_merged_with_the_newest_start_first(client: Client, owner: ScriptedOwner) -> None:
    rows = {0: [10, 3, 7, 1], 1: [], 2: [9, 2, 8], 3: [10, 5]}
    owner.script = Partitions(owner, rows)
    times = [int(found.start_time.timestamp() * 1000) async for found in client.list_workflows("WorkflowType = 'Transfer'", page_size=2)]
    assert times == sorted((time for times in rows.values() for time in times), reverse=True)
    assert {ask.query for ask in owner.received(ListWorkflows)} == {"WorkflowType = 'Transfer'"}


async def test_a_limit_ends_the_list_and_shrinks_its_pages(client: Client, owner: ScriptedOwner) -> None:
    partitions = Partitions(owner, {number: [number * 100 + row for row in range(50)] for number in range(4)})
    owner.script = partitions
    found = [run.id async for run in client.list_workflows(limit=3)]
    assert found == ["wf-349", "wf-348", "wf-347"]
    assert {page_size for _, page_size in partitions.asked} == {3}


async def test_an_empty_namespace_lists_nothing(client: Client, owner: ScriptedOwner) -> None:
    owner.script = Partitions(owner, {0: [], 1: [], 2: [], 3: []})
    assert [run async for run in client.list_workflows()] == []


async def test_a_filter_that_cannot_be_read_is_an_error_and_no_empty_list(client: Client, owner: ScriptedOwner) -> None:
    owner.script = lambda _: (Refused(RefusalCode.INVALID, "unknown name 'Colour' at position 1"),)
    with pytest.raises(RPCError, match="Colour") as caught:
        [run async for run in client.list_workflows("Colour = 1")]
    assert caught.value.status is RPCStatusCode.INVALID_ARGUMENT


async def test_a_partition_is_described_by_its_own_owner(client: Client, owner: ScriptedOwner) -> None:
    described = PartitionDescribed(3, 1, "claim", "owner", "host", 5, 6, 7, 8, 9, 10, 11, 12)
    owner.script = lambda _: (described,)
    assert await client.describe_partition(3, with_digest=True) == described
    assert owner.received(DescribePartition) == [DescribePartition(with_digest=True)]
    assert {partition for partition, _ in owner.commands} == {3}


async def test_a_list_of_nothing_asks_nobody(client: Client, owner: ScriptedOwner) -> None:
    assert [one async for one in client.list_workflows(limit=0)] == []
    assert not owner.commands
