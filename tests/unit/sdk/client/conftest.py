from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from kit.scripted_owner import ScriptedOwner
from perdure._channel import Channel
from perdure._log.memory import MemoryLog, MemoryMedium
from perdure._log.port import Log
from perdure.client import Client
from perdure.client._connection import Connection
from perdure.client._requests import Pace, Requests
from perdure.converter import DataConverter

SHORT = timedelta(milliseconds=150)
"""A deadline that is meant to pass."""


@pytest.fixture
def log() -> Iterator[Log]:
    log = MemoryLog(MemoryMedium())
    yield log
    log.close()


@pytest.fixture
def owner(log: Log) -> Iterator[ScriptedOwner]:
    with ScriptedOwner(log) as owner:
        yield owner


@pytest.fixture
async def channel(log: Log, owner: ScriptedOwner) -> AsyncIterator[Channel]:
    channel = await Channel.open(log, "default")
    yield channel
    await channel.close()


@pytest.fixture
def client(channel: Channel) -> Client:
    """A client that asks again after milliseconds rather than seconds."""
    requests = Requests(channel, call_pace=Pace(0.01, 0.03), result_pace=Pace(0.02, 0.05))
    return Client(Connection(channel, requests, "tester", DataConverter.default))
