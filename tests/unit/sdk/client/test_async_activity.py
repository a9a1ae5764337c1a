"""Completing activities from outside."""

from __future__ import annotations

import pytest

from kit.hostile import ERRORS, Odd
from kit.scripted_owner import ScriptedOwner
from perdure._task_token import TaskToken
from perdure.client import AsyncActivityCancelledError, Client, RPCError, RPCStatusCode
from perdure_schemas.commands import ActivityHeartbeat, ActivityReference, CancelActivity, CompleteActivity, FailActivity
from perdure_schemas.replies import Accepted, ActivityAttention, RefusalCode, Refused

TOKEN = TaskToken("wf-1", "run-1", 5, 2)


async def test_each_outcome_is_reported_for_the_attempt_that_the_token_names(client: Client, owner: ScriptedOwner) -> None:
    owner.script = lambda _: (Accepted("run-1"),)
    handle = client.get_async_activity_handle(task_token=TOKEN.to_bytes())
    convert = client.data_converter.payload_converter.to_payloads
    await handle.heartbeat("half way")
    await handle.complete(None)
    await handle.complete()
    await handle.fail(ValueError("no"), last_heartbeat_details=[7])
    await handle.report_cancellation("bye")
    reference = ActivityReference("run-1", 5, 2)
    assert {command.workflow_id for _, command in owner.commands} == {"wf-1"}
    (beat,) = owner.received(ActivityHeartbeat)
    assert (beat.activity, beat.details, beat.worker) == (reference, convert(["half way"]), client.connection.channel.address)
    assert [done.result for done in owner.received(CompleteActivity)] == [convert([None]), ()]
    (failed,) = owner.received(FailActivity)
    assert (failed.activity, failed.last_heartbeat_details) == (reference, convert([7]))
    assert "no" in failed.failure.message
    assert owner.received(CancelActivity) == [CancelActivity(reference, convert(["bye"]), "tester")]


async def test_an_error_is_never_lost_to_what_it_says_and_what_is_no_error_is_refused(client: Client, owner: ScriptedOwner) -> None:
    owner.script = lambda _: (Accepted("run-1"),)
    handle = client.get_async_activity_handle(task_token=TOKEN.to_bytes())
    for made in ERRORS.values():
        await handle.fail(made())  # type: ignore[arg-type]  # some are no Exceptions
    reported = owner.received(FailActivity)
    assert len(reported) == len(ERRORS)
    assert all(failed.failure.message for failed in reported)
    for wrong in (ValueError, "no", None):
        with pytest.raises(TypeError, match="must be an exception"):
            await handle.fail(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await handle.complete(Odd())


async def test_ids_name_the_current_attempt(client: Client, owner: ScriptedOwner) -> None:
    owner.script = lambda _: (Accepted("run-1"),)
    await client.get_async_activity_handle(workflow_id="wf-1", run_id=None, activity_id="a-1").complete(3)
    assert owner.received(CompleteActivity)[0].activity == ActivityReference("", activity_id="a-1")


async def test_a_heartbeat_tells_that_a_cancel_is_requested(client: Client, owner: ScriptedOwner) -> None:
    owner.script = lambda _: (ActivityAttention("wf-1", "run-1", 5, 2, cancel_requested=True), Accepted("run-1"))
    with pytest.raises(AsyncActivityCancelledError):
        await client.get_async_activity_handle(task_token=TOKEN.to_bytes()).heartbeat()


@pytest.mark.parametrize(
    "answer", [Refused(RefusalCode.NOT_FOUND, "it has closed"), ActivityAttention("wf-1", "run-1", 5, 2, not_found=True)]
)
async def test_an_attempt_that_is_over_is_not_found(client: Client, owner: ScriptedOwner, answer: Refused | ActivityAttention) -> None:
    owner.script = lambda _: (answer,)
    with pytest.raises(RPCError) as caught:
        await client.get_async_activity_handle(task_token=TOKEN.to_bytes()).heartbeat()
    assert caught.value.status is RPCStatusCode.NOT_FOUND


async def test_later_heartbeats_count_higher(client: Client, owner: ScriptedOwner) -> None:
    owner.script = lambda _: (Accepted("run-1"),)
    handle = client.get_async_activity_handle(task_token=TOKEN.to_bytes())
    for _ in range(5):
        await handle.heartbeat()
    counters = [beat.counter for beat in owner.received(ActivityHeartbeat)]
    assert counters == sorted(set(counters))


@pytest.mark.parametrize("token", [b"", b"x", b"[]", b'["wf", "run", "5", 2]', b'["wf", "run", 5, true]', b"null", b"\xff"])
def test_what_is_no_token_is_refused(token: bytes) -> None:
    with pytest.raises(ValueError, match="not a task token"):
        TaskToken.from_bytes(token)


def test_a_token_survives_its_bytes() -> None:
    assert TaskToken.from_bytes(TOKEN.to_bytes()) == TOKEN


async def test_a_handle_takes_a_token_or_ids(client: Client) -> None:
    with pytest.raises(ValueError, match="not both"):
        client.get_async_activity_handle(task_token=b"x", workflow_id="wf-1")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="activity_id"):
        client.get_async_activity_handle(workflow_id="wf-1")  # type: ignore[call-overload]
