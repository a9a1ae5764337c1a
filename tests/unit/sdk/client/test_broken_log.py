"""Calls over a log that fails, or does not acknowledge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from kit.failing_log import FailingLog
from kit.replies import always
from kit.scripted_owner import ScriptedOwner, eventually
from perdure._channel import Channel
from perdure._log.errors import LogUnavailable
from perdure._log.port import Log
from perdure.client import Client, LogUnauthorized, OutcomeUnknownError, RPCTimeoutOrCancelledError
from perdure.client._connection import Connection
from perdure.client._requests import Pace, Requests
from perdure.converter import DataConverter
from perdure_schemas.commands import SignalWorkflow
from perdure_schemas.replies import Accepted


@pytest.fixture
def failing(log: Log, owner: ScriptedOwner) -> FailingLog:
    owner.script = always(SignalWorkflow, Accepted("run-1"))
    return FailingLog(log)


@pytest.fixture
async def far_client(failing: FailingLog) -> AsyncIterator[Client]:
    channel = await Channel.open(failing, "default")
    yield Client(Connection(channel, Requests(channel, call_pace=Pace(0.01, 0.03)), "tester", DataConverter.default))
    failing.hold = False
    await channel.close()


async def test_a_call_outlives_failed_appends_and_acts_once(far_client: Client, failing: FailingLog, owner: ScriptedOwner) -> None:
    failures = iter([LogUnavailable("away")] * 3)
    failing.fail = lambda *_: next(failures, None)
    await far_client.get_workflow_handle("wf-1").signal("go")
    assert len(owner.requests(SignalWorkflow)) == 1


async def test_what_is_not_acknowledged_is_not_sent_again(far_client: Client, failing: FailingLog, owner: ScriptedOwner) -> None:
    owner.script = lambda _: ()
    failing.hold = True
    with pytest.raises(OutcomeUnknownError, match="has not acknowledged"):
        await far_client.get_workflow_handle("wf-1").signal("go", rpc_timeout=timedelta(milliseconds=150))
    await eventually(lambda: bool(owner.commands), "the one copy arrives")
    assert len(owner.commands) == 1


async def test_a_refused_operation_is_reported_at_once(far_client: Client, failing: FailingLog, owner: ScriptedOwner) -> None:
    failing.fail = lambda *_: LogUnauthorized("this user may not write to default.commands")
    with pytest.raises(LogUnauthorized, match="may not write"):
        await far_client.get_workflow_handle("wf-1").signal("go")
    assert owner.commands == []


async def test_after_a_copy_has_left_a_refused_operation_leaves_a_doubt(
    far_client: Client, failing: FailingLog, owner: ScriptedOwner
) -> None:
    owner.script = lambda _: ()
    failures = iter([None])
    failing.fail = lambda *_: next(failures, LogUnauthorized("the permission is gone"))
    with pytest.raises(OutcomeUnknownError, match="the permission is gone"):
        await far_client.get_workflow_handle("wf-1").signal("go")


async def test_why_the_log_is_away_is_in_the_error(far_client: Client, failing: FailingLog, owner: ScriptedOwner) -> None:
    failing.fail = lambda *_: LogUnavailable("all brokers are down")
    with pytest.raises(RPCTimeoutOrCancelledError, match="all brokers are down"):
        await far_client.get_workflow_handle("wf-1").describe(rpc_timeout=timedelta(milliseconds=100))
