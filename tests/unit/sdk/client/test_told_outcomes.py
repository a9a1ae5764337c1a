"""What a caller is told is true: an append that the log has taken is never said to be not sent."""

import asyncio
from typing import Any

from kit.failing_log import FailingLog
from kit.scripted_owner import ScriptedOwner
from perdure._channel import Channel
from perdure._log.errors import LogUnauthorized
from perdure._log.port import Delivery, FailedAppend, Log, Producer
from perdure.client import Client, OutcomeUnknownError
from perdure.client._connection import Connection
from perdure.client._requests import Pace, Requests
from perdure.converter import DataConverter


async def client_of(log: Any) -> tuple[Client, Channel]:
    channel = await Channel.open(log, "default")
    return Client(Connection(channel, Requests(channel, call_pace=Pace(0.05, 0.1)), "tester", DataConverter.default)), channel


async def sent(owner: ScriptedOwner) -> None:
    while not owner.commands:  # noqa: ASYNC110 - another thread appends
        await asyncio.sleep(0.005)


async def test_a_call_that_the_log_has_taken_has_not_failed_because_the_next_one_was_refused(log: Log, owner: ScriptedOwner) -> None:
    """Both go to one partition, and one poll reports both."""
    owner.script = lambda _: ()
    failing = FailingLog(log)
    client, channel = await client_of(failing)
    failing.hold = True
    first = asyncio.ensure_future(client.get_workflow_handle("wf-1").signal("one"))
    await sent(owner)
    failing.fail = lambda *_: LogUnauthorized("the permission is gone")
    second = asyncio.ensure_future(client.get_workflow_handle("wf-1").signal("two"))
    told, _ = await asyncio.gather(first, second, return_exceptions=True)
    await channel.close()
    assert [command.body.name for _, command in owner.commands] == ["one"]  # type: ignore[union-attr]
    assert told is None or isinstance(told, OutcomeUnknownError), f"it happened, and the caller was told {told!r}"


async def test_a_client_that_is_refused_does_not_know_what_became_of_what_was_on_its_way(log: Log, owner: ScriptedOwner) -> None:
    owner.script = lambda _: ()
    failing, refusing = FailingLog(log), asyncio.Event()
    made = failing.producer

    def producer(delivery: Delivery) -> Producer:
        one = made(delivery)
        poll = one.poll

        def refused(timeout_ms: int = 0) -> tuple[list[object], list[FailedAppend]]:
            if refusing.is_set():
                raise LogUnauthorized("the password was changed")
            return poll(timeout_ms)

        one.poll = refused  # type: ignore[method-assign]
        return one

    failing.producer = producer  # type: ignore[method-assign]
    client, channel = await client_of(failing)
    failing.hold = True
    call = asyncio.ensure_future(client.get_workflow_handle("wf-1").signal("one"))
    await sent(owner)
    refusing.set()
    (told,) = await asyncio.gather(call, return_exceptions=True)
    await channel.close()
    assert isinstance(told, OutcomeUnknownError), f"it happened, and the caller was told {told!r}"
