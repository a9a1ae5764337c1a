"""The line between a process and a namespace."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from kit.failing_log import FailingLog
from kit.replies import always
from kit.scripted_owner import ScriptedOwner, eventually
from perdure._channel import Channel
from perdure._log.errors import LogClosed, LogError, LogUnauthorized, LogUnavailable, RecordTooLarge
from perdure._log.memory import MemoryLog, MemoryMedium
from perdure._log.port import Delivery, Log
from perdure.service import NamespaceNotFound
from perdure_schemas.codec import decode_command
from perdure_schemas.commands import AwaitWorkflow, Command, Request, SignalWorkflow
from perdure_schemas.headers import CLIENT_ID
from perdure_schemas.payload import Payload
from perdure_schemas.replies import Accepted, QueryAnswered
from perdure_schemas.topics import commands_topic, replies_topic


def signal(workflow_id: str, name: str = "go", size_bytes: int = 0) -> Command:
    return Command(workflow_id, SignalWorkflow(name, input=(Payload({}, bytes(size_bytes)),)))


def asked(channel: Channel, request_id: str, workflow_id: str = "wf-1") -> Command:
    expires_at_ms = channel.log.now_ms() + 60_000
    return Command(workflow_id, AwaitWorkflow(), Request(request_id, expires_at_ms, channel.address))


async def test_a_command_goes_to_the_partition_of_its_workflow_id(channel: Channel, owner: ScriptedOwner) -> None:
    for number in range(20):
        await channel.send(signal(f"wf-{number}"))
    await eventually(lambda: len(owner.commands) == 20, "all commands arrive")
    assert all(partition == channel.partition_of(command.workflow_id) for partition, command in owner.commands)
    assert len({partition for partition, _ in owner.commands}) > 1


async def test_a_sent_command_is_in_the_log(channel: Channel, log: Log) -> None:
    await channel.send(signal("wf-1"))
    where = (commands_topic("default"), channel.partition_of("wf-1"))
    consumer = log.consumer()
    consumer.assign({where: 0})
    (record,) = consumer.poll(10, 5_000)
    consumer.close()
    assert record.key == b"wf-1"
    assert decode_command(record.value) == signal("wf-1")


async def test_commands_of_one_workflow_keep_the_order_in_which_they_were_sent(channel: Channel, owner: ScriptedOwner) -> None:
    names = [str(number) for number in range(300)]
    await asyncio.gather(*(channel.send(signal("wf-1", name)) for name in names))
    await eventually(lambda: len(owner.commands) == len(names), "all commands arrive")
    assert [body.name for body in owner.received(SignalWorkflow)] == names


async def test_a_reply_reaches_only_who_listens_for_its_request(channel: Channel, owner: ScriptedOwner) -> None:
    owner.script = always(AwaitWorkflow, Accepted("run-1"))
    with channel.listen("mine") as mine, channel.listen("other") as other:
        await channel.send(asked(channel, "mine"))
        assert await mine.next(5_000) == Accepted("run-1")
        with pytest.raises(TimeoutError):
            await other.next(1)


async def test_a_reply_for_another_client_on_the_same_partition_is_not_taken(channel: Channel, log: Log, owner: ScriptedOwner) -> None:
    producer = log.producer(Delivery.PIPELINED)
    topic, partition = replies_topic("default"), channel.address.partition
    producer.append(topic, partition, b"x", b"not even a reply", ((CLIENT_ID, b"somebody else"),))
    producer.append(topic, partition, b"x", b"damaged", ((CLIENT_ID, channel.address.client_id.encode()),), token="end")
    producer.poll(5_000)
    producer.close()
    owner.script = always(AwaitWorkflow, QueryAnswered())
    with channel.listen("mine") as mine:
        await channel.send(asked(channel, "mine"))
        assert await mine.next(5_000) == QueryAnswered()


async def test_two_clients_have_addresses_of_their_own(log: Log, channel: Channel) -> None:
    other = await Channel.open(log, "default")
    try:
        assert other.address.client_id != channel.address.client_id
    finally:
        await other.close()


async def test_closing_wakes_everyone_who_waits(log: Log, owner: ScriptedOwner) -> None:
    channel = await Channel.open(log, "default")
    with channel.listen("never answered") as replies:
        waiting = asyncio.create_task(replies.next(None))
        await asyncio.sleep(0)
        await channel.close()
        with pytest.raises(LogClosed):
            await waiting
    with pytest.raises(LogClosed):
        await channel.send(signal("wf-1"))


async def test_a_closed_channel_leaves_no_thread_behind(log: Log, owner: ScriptedOwner) -> None:
    channel = await Channel.open(log, "default")
    await channel.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("perdure-sender", "perdure-receiver"))]


async def test_a_channel_whose_loop_is_gone_ends_its_threads(log: Log, owner: ScriptedOwner) -> None:
    await asyncio.to_thread(asyncio.run, _forget(log))
    await eventually(
        lambda: not [thread for thread in threading.enumerate() if thread.name.startswith(("perdure-sender", "perdure-receiver"))],
        "the threads end",
    )


async def _forget(log: Log) -> None:
    await (await Channel.open(log, "default")).send(signal("wf-1"))


async def test_a_namespace_that_is_not_there_is_made_on_an_embedded_log() -> None:
    log = MemoryLog(MemoryMedium())
    channel = await Channel.open(log, "fresh")
    try:
        assert channel.partition_count == log.default_partitions
        await channel.send(signal("wf-1"))
    finally:
        await channel.close()
        log.close()


async def test_a_namespace_that_an_operator_must_make_is_asked_for() -> None:
    log = FailingLog(MemoryLog(MemoryMedium()))
    log.creates_namespaces = False
    with pytest.raises(NamespaceNotFound, match="perdure namespace create fresh"):
        await Channel.open(log, "fresh")


async def test_a_command_that_no_log_would_take_is_refused_at_once(channel: Channel, owner: ScriptedOwner) -> None:
    with pytest.raises(RecordTooLarge, match="wf-1"):
        await channel.send(signal("wf-1", size_bytes=9 * 1024 * 1024))
    await channel.send(signal("wf-1"))


class TestFailingAppends:
    @pytest.fixture
    def failing(self, log: Log, owner: ScriptedOwner) -> FailingLog:
        return FailingLog(log)

    @pytest.fixture
    async def line(self, failing: FailingLog) -> AsyncIterator[Channel]:
        channel = await Channel.open(failing, "default")
        yield channel
        failing.hold = False
        await channel.close()

    async def test_a_failed_append_is_reported_and_the_next_one_gets_a_new_producer(self, failing: FailingLog, line: Channel) -> None:
        failing.fail = lambda *_: LogUnavailable("the leader is away")
        with pytest.raises(LogUnavailable, match="the leader is away"):
            await line.send(signal("wf-1"))
        failing.fail = lambda *_: None
        await line.send(signal("wf-1"))
        assert failing.producers == 2

    async def test_a_failure_within_a_batch_speaks_for_its_partition(self, failing: FailingLog, line: Channel) -> None:
        failing.hold = True
        bad = line.partition_of("wf-1")
        failing.fail = lambda _, partition, __: LogUnauthorized("not yours") if partition == bad else None
        outcomes = await asyncio.gather(*(line.send(signal("wf-1")) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(outcome, LogUnauthorized) for outcome in outcomes)

    async def test_one_record_that_is_too_large_does_not_blame_its_neighbours(self, failing: FailingLog, line: Channel) -> None:
        failing.fail = lambda _, __, value: RecordTooLarge("too large") if len(value) > 5_000 else None
        outcomes = await asyncio.gather(
            line.send(signal("wf-1")), line.send(signal("wf-1", size_bytes=10_000)), line.send(signal("wf-1")), return_exceptions=True
        )
        assert not isinstance(outcomes[0], RecordTooLarge)
        assert isinstance(outcomes[1], LogError)
        assert not isinstance(outcomes[2], RecordTooLarge)
        with pytest.raises(RecordTooLarge):
            await line.send(signal("wf-1", size_bytes=10_000))

    async def test_none_of_a_batch_that_was_refused_for_its_size_is_blamed(self, failing: FailingLog, line: Channel) -> None:
        failing.fail = lambda *_: RecordTooLarge("too large")
        outcomes = await asyncio.gather(*(line.send(signal("wf-1")) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(outcome, LogUnavailable) for outcome in outcomes)

    async def test_what_is_not_acknowledged_at_the_close_is_reported_as_unknown(self, failing: FailingLog, log: Log) -> None:
        channel = await Channel.open(failing, "default")
        failing.hold = True
        sending = asyncio.create_task(channel.send(signal("wf-1")))
        await eventually(lambda: failing.producers == 1, "the command is on its way")
        await channel.close()
        with pytest.raises(LogClosed, match="outcome is unknown"):
            await sending
