"""Values that are too large, too many, too deep, or no values (row D3), from a producer that checks nothing, beside neighbours."""

import asyncio
import time
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from kit import raw
from kit.namespace import Namespace, Namespaces
from kit.row import Row
from kit.workloads.hostile import hostility
from kit.workloads.oddities import Box, Fan, Slow
from perdure.client import Client, LimitExceeded, WorkflowExecutionStatus
from perdure_schemas.codec import decode_task, encode_command, encode_history
from perdure_schemas.commands import (
    ActivityReference,
    Command,
    CommandBody,
    CompleteActivity,
    QueryWorkflow,
    Request,
    SignalWorkflow,
    StartWorkflow,
)
from perdure_schemas.history import CommitRecord
from perdure_schemas.limits import COMMIT_RECORD_BYTES_MAX, PAYLOADS_BYTES_MAX, PENDING_ACTIVITIES_MAX
from perdure_schemas.payload import Payload

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

PATIENCE = timedelta(seconds=60)
PLAIN, JSON = {"encoding": b"binary/plain"}, {"encoding": b"json/plain"}
AROUND = Payload(PLAIN, b"").size_bytes
"""What a payload counts beside its data."""

ODD = {
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep enough to be read": b"[" * 900 + b"]" * 900,
    "deep maps": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NaN": b"NaN",
    "infinite": b"-Infinity",
    "a number of 5,000 digits": b"9" * 5_000,
    "1e400": b"1e400",
    "half a character": b'"\\ud800"',
    "no UTF-8": b'"\xff\xfe"',
    "cut off": b'{"a": [1, 2',
    "nothing": b"",
    "control characters": b'"\\u0000\\u001b[2J\\u202e"',
}


def bytes_of(size_bytes: int) -> tuple[Payload, ...]:
    """A payload that counts so many bytes."""
    return (Payload(PLAIN, bytes(size_bytes - AROUND)),)


def forge(namespace: Namespace, *commands: Command) -> None:
    raw.append(namespace, "commands", 0, [encode_command(command) for command in commands])


def asked(workflow_id: str, body: CommandBody) -> Command:
    """A command of a client that wants to be able to repeat it."""
    return Command(workflow_id, body, Request(uuid.uuid4().hex, time.time_ns() // 1_000_000 + 60_000))


def peak_kb(pid: int) -> int:
    """The most memory that a process has held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


async def test_payloads_at_their_limit_are_taken_and_a_byte_more_is_refused_at_both_ends(namespaces: Namespaces, row: Row) -> None:
    row.injects("D3", "signals of the limit and of one byte less and more, from a client and from a producer that checks nothing")
    odd = namespaces("oddities", partitions=1)
    odd.owner()
    async with await Client.connect(odd.url) as client:
        box = await client.start_workflow(Box.run, id="box", task_queue="work", rpc_timeout=PATIENCE)
        for around in (-1, 0, 1):
            forge(odd, asked("box", SignalWorkflow("put", input=bytes_of(PAYLOADS_BYTES_MAX + around))))
            row.injected()
        for around in (-1, 0):
            await box.signal(Box.put, bytes(PAYLOADS_BYTES_MAX + around - AROUND), rpc_timeout=PATIENCE)
        with pytest.raises(LimitExceeded):
            await box.signal(Box.put, bytes(PAYLOADS_BYTES_MAX + 1 - AROUND), rpc_timeout=PATIENCE)
        row.injected(3)
        await box.signal(Box.finish, rpc_timeout=PATIENCE)
        whole = PAYLOADS_BYTES_MAX - AROUND
        assert await asyncio.wait_for(box.result(), 60) == [whole - 1, whole, whole - 1, whole]
        with pytest.raises(LimitExceeded):
            await client.start_workflow(Box.run, bytes(PAYLOADS_BYTES_MAX), id="large", task_queue="work")
        forge(odd, asked("odd-large", StartWorkflow("Box", "work", bytes_of(PAYLOADS_BYTES_MAX + 1))))
        row.injected(2)
        await client.start_workflow(Box.run, id="behind", task_queue="work", rpc_timeout=PATIENCE)
        assert [one.id async for one in client.list_workflows()] == ["behind", "box"]
        await client.get_workflow_handle("behind").terminate()
        row.during = 4
    odd.verify()
    odd.check_independently()


async def test_a_hundred_signals_of_two_mebibytes_in_one_turn_are_cut_into_records_that_fit(namespaces: Namespaces, row: Row) -> None:
    row.injects("D3", "100 signals of 2 MiB that wait for an owner, and 100 more under it, beside neighbours")
    odd = namespaces("oddities", partitions=1)
    owner = odd.owner()
    odd.worker()
    async with await Client.connect(odd.url) as client:
        box = await client.start_workflow(Box.run, id="box", task_queue="work", rpc_timeout=PATIENCE)
        owner.terminate()
        await asyncio.to_thread(owner.wait, 60)
        large = Command("box", SignalWorkflow("put", input=bytes_of(PAYLOADS_BYTES_MAX)))
        for _ in range(10):
            forge(odd, *[large] * 10)
        row.injected(100)
        owner = odd.owner()
        load = odd.load(60, 5)
        for _ in range(10):
            await asyncio.to_thread(forge, odd, *[large] * 10)
        row.injected(100)
        with row.fault(odd):
            await asyncio.to_thread(odd.until_done, 60)
        await box.signal(Box.finish, rpc_timeout=PATIENCE)
        assert await asyncio.wait_for(box.result(), 60) == [PAYLOADS_BYTES_MAX - AROUND] * 200
    row.figures["peak_resident_mb"] = peak_kb(owner.pid) // 1024
    sizes = [len(encode_history(decoded)) for _, decoded in raw.history(odd, 0) if isinstance(decoded, CommitRecord)]
    assert max(sizes) <= COMMIT_RECORD_BYTES_MAX
    assert sum(size > PAYLOADS_BYTES_MAX for size in sizes) >= 100, "the signals did not come in turns of several"
    row.during = 60
    await asyncio.to_thread(odd.finish, load, 60)


async def test_two_thousand_activities_in_one_activation_run_and_one_more_blocks_its_run_only(namespaces: Namespaces, row: Row) -> None:
    row.injects("D3", f"{PENDING_ACTIVITIES_MAX} activities in one activation, and one more")
    odd = namespaces("oddities", partitions=1)
    owner = odd.owner()
    odd.worker()
    load = odd.load(100, 5)
    odd.until_done(5)
    async with await Client.connect(odd.url) as client:
        start = {"task_queue": "work", "rpc_timeout": PATIENCE}
        with row.fault(odd):
            most = await client.start_workflow(Fan.run, PENDING_ACTIVITIES_MAX, id="most", **start)  # type: ignore[call-overload]
            more = await client.start_workflow(Fan.run, PENDING_ACTIVITIES_MAX + 1, id="more", **start)  # type: ignore[call-overload]
            row.injected(2)
            assert await asyncio.wait_for(most.result(), 120) == sum(range(PENDING_ACTIVITIES_MAX))
        described = await more.describe(rpc_timeout=PATIENCE)
        assert described.status is WorkflowExecutionStatus.RUNNING
        assert described.history_length == 1, "some of what the activation asked for was recorded"
        await more.terminate(rpc_timeout=PATIENCE)
    await asyncio.to_thread(odd.finish, load, 100)
    assert owner.poll() is None


async def test_odd_values_hurt_who_is_given_them_and_nobody_else(namespaces: Namespaces, row: Row) -> None:
    row.injects("D3", f"as input of a start, of a signal and of a query, and as result of an activity: {', '.join(ODD)}")
    odd = namespaces("oddities", partitions=1)
    owner, worker = odd.owner(), odd.worker()
    load = odd.load(200, 2, per_second=4)
    await asyncio.to_thread(odd.until_done, 3)
    async with await Client.connect(odd.url) as client:

        async def give(kind: str) -> None:
            value, name = (Payload(JSON, ODD[kind]),), f"odd-{kind}"
            box = await client.start_workflow(Box.run, id=f"{name}-box", task_queue="work", rpc_timeout=PATIENCE)
            slow = await client.start_workflow(Slow.run, id=f"{name}-slow", task_queue="work", rpc_timeout=PATIENCE)
            task = await asyncio.to_thread(slow_task, odd, slow.id)
            await asyncio.to_thread(
                forge,
                odd,
                asked(f"{name}-start", StartWorkflow("Box", "work", value)),
                asked(box.id, SignalWorkflow("put", input=value)),
                asked(box.id, QueryWorkflow("seen", args=value)),
                Command(slow.id, CompleteActivity(task, value)),
            )
            row.injected(4)
            await box.signal(Box.put, "behind", rpc_timeout=PATIENCE)
            assert (await box.query(Box.seen, rpc_timeout=PATIENCE))[-1] == -1, f"{kind}: the signal behind it did not arrive"
            for workflow_id in (f"{name}-start", box.id, slow.id):
                handle = client.get_workflow_handle(workflow_id)
                assert (await handle.describe(rpc_timeout=PATIENCE)).status is not None
                assert (await handle.fetch_history()).events

        for kind in ODD:
            await give(kind)
    row.during = odd.done()
    for name in ("deep", "control characters"):
        for words in (("show",), ("show", "--json"), ("describe",)):
            said = odd.typed("workflow", words[0], f"odd-{name}-start", *words[1:])
            assert said.returncode == 0, said.stderr
            assert "\x1b[2J" not in said.stdout
    load.terminate()
    await asyncio.to_thread(odd.until, lambda: load.poll() is not None, "the load's end")
    await asyncio.to_thread(odd.check, odd.done())
    assert owner.poll() is None
    assert worker.poll() is None


async def test_values_that_are_none_block_or_fail_their_run_and_nobody_else_also_under_the_next_owner(
    namespaces: Namespaces, row: Row
) -> None:
    row.injects("D3", "what workflow code and activities hand over, raise and answer, and is no value; kill -9 of the owner")
    row.injected(await hostility(namespaces("hostile", partitions=1), 60))
    row.during = 60


def slow_task(namespace: Namespace, workflow_id: str) -> ActivityReference:
    """The attempt that a Slow waits for, as soon as it is dispatched."""
    found: list[ActivityReference] = []

    def is_there() -> bool:
        records = [decode_task(record.value) for partition in range(4) for record in raw.read(namespace, "tasks.work", partition)]
        found.extend(
            ActivityReference(one.run_id, one.scheduled_event_id, one.attempt) for one in records if one.workflow_id == workflow_id
        )
        return bool(found)

    namespace.until(is_there, "the task")
    return found[0]
