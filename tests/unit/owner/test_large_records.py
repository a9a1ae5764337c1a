"""What is in a record of history is bounded by what it will take, not by what came: names are repeated in it, and many requests add up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from kit.core import WORKER, Core, produced
from kit.world import LIMITS, World, commands_of, history_of, open_account, plain, transfer
from perdure._log.memory.log import MemoryLog
from perdure._replay.actions import Action, ScheduleActivity
from perdure._replay.host import Activation
from perdure_platform.partition.decode import NAME_LENGTH_MAX
from perdure_platform.partition.lanes import Lanes
from perdure_platform.partition.transition import draft
from perdure_platform.partition.transition.draft import Due, Input
from perdure_schemas import codec
from perdure_schemas.commands import (
    ActivityHeartbeat,
    ActivityReference,
    ActivityStarted,
    CancelActivity,
    Command,
    CommandBody,
    CompleteActivity,
    FailActivity,
    ReplyAddress,
    Request,
    SignalWorkflow,
)
from perdure_schemas.events import ActivityTaskFailed
from perdure_schemas.failure import ApplicationFailureInfo, Failure, RetryState
from perdure_schemas.history import Checkpoint, Claim, CommitRecord, PositionRecord
from perdure_schemas.limits import COMMIT_RECORD_BYTES_MAX, PAYLOADS_BYTES_MAX
from perdure_schemas.options import RetryOptions
from perdure_schemas.payload import Payload
from perdure_schemas.placement import partition_of
from perdure_schemas.replies import RefusalCode, Refused
from perdure_schemas.topics import RECORD_BYTES_MAX, TopicSpec

LONG = NAME_LENGTH_MAX - 10
HOUR_MS = 3_600_000


def records(world: World, partition: int) -> list[object]:
    start, _ = world.medium.bounds(*history_of(partition))
    whole = [*world.medium.deleted[history_of(partition)], *world.medium.read(*history_of(partition), start, 100_000)]
    return [codec.decode_history(record.value) for record in whole]


def claims(world: World) -> list[int]:
    return [sum(isinstance(record, Claim) for record in records(world, partition)) for partition in range(2)]


def send(world: World, account: str, number: int, run_id: str) -> None:
    request = Request(f"{number:06}" + "r" * LONG, world.clock.ms + HOUR_MS, ReplyAddress("c" * LONG, 0))
    command = Command(account, SignalWorkflow("deposit", run_id=run_id, input=plain(1)), request)
    world.medium.append(*commands_of(partition_of(account, 2)), account.encode(), codec.encode_command(command))


def led() -> World:
    world = World(partitions=2, limits=replace(LIMITS, retention_ms=60_000, checkpoint_interval_ms=2_000))
    world.medium.watch = lambda record: None  # these clients wait for nothing
    for number in range(8):
        world.ask(f"account-{number}", open_account())
    world.start()
    world.run_until_done()
    return world


def test_commands_with_long_names_are_taken_in_as_many_records_as_they_need() -> None:
    world = led()
    before = claims(world)
    for number in range(21):
        send(world, "account-0", number, "x" * LONG)
    for _ in range(500):
        world.step()
    assert claims(world) == before, "a record was refused"
    home = partition_of("account-0", 2)
    watermarks = [record.watermark for record in records(world, home) if isinstance(record, CommitRecord | PositionRecord)]
    assert watermarks[-1] == world.medium.bounds(*commands_of(home))[1] - 1, "not all were taken"


def test_a_checkpoint_takes_as_many_records_as_its_requests_need() -> None:
    world = led()
    before = claims(world)
    for number in range(150):
        send(world, "account-0", number, "")
        world.step()
    for _ in range(500):
        world.step()
    assert claims(world) == before, "a record was refused"
    home = records(world, partition_of("account-0", 2))
    assert max(record.parts for record in home if isinstance(record, Checkpoint)) > 1


def test_a_record_that_no_log_takes_ends_the_claim_of_its_own_partition_alone() -> None:
    log = MemoryLog()
    log.medium.create([TopicSpec("ns.history", 2)])
    lanes = Lanes(log, lambda: 0.0)
    failed: list[object] = []
    lanes.on_history_failed.append(lambda place, error: failed.append(place))
    lanes.append_history("ns.history", 1, None, bytes(RECORD_BYTES_MAX + 1))
    lanes.append_history("ns.history", 0, None, b"small")
    lanes.push()
    lanes.turn()
    assert failed == [("ns.history", 1)]


MANY = 12
LARGE = (Payload({}, bytes(PAYLOADS_BYTES_MAX)),)


def with_activities(**options: int) -> Core:
    """A run with so many open activities that what one may hold, of all of them, is more than a record takes."""

    def code(run: object, activation: Activation) -> tuple[Action, ...]:
        if activation.first_produced_event_id > 2:
            return ()
        timeouts = {"start_to_close_timeout_ms": 60_000, "retry_options": RetryOptions(), **options}
        return tuple(ScheduleActivity(str(number), "withdraw", **timeouts) for number in range(MANY))  # type: ignore[arg-type]

    core = Core(code=code)
    core.start()
    for activity in attempts(core):
        core.take(ActivityStarted(activity, "nonce", WORKER))
    return core


def attempts(core: Core) -> list[ActivityReference]:
    activities = core.run.activities.values()
    return [ActivityReference(core.run.run_id, activity.scheduled_event_id, activity.attempt) for activity in activities]


def record_sizes(core: Core, *inputs: Input) -> Iterator[int]:
    """How large the records are that `inputs` come to."""
    while inputs:
        decision = core.decide(*inputs)
        transitions = tuple(run.transition() for run in decision.runs)
        yield len(codec.encode_history(CommitRecord(1, "claim", 1, core.now_ms, -1, transitions=transitions)))
        inputs = decision.left


def test_attempts_with_large_heartbeats_that_time_out_together_take_as_many_records_as_they_need() -> None:
    core = with_activities(heartbeat_timeout_ms=5_000)
    for activity in attempts(core):
        core.take(ActivityHeartbeat(activity, 1, LARGE))
    core.now_ms += 5_000
    assert max(record_sizes(core, Due())) < COMMIT_RECORD_BYTES_MAX
    assert {activity.attempt for activity in attempts(core)} == {2}, "not all timed out"
    core.now_ms += 1_000
    assert max(record_sizes(core, Due())) < COMMIT_RECORD_BYTES_MAX
    assert not any(activity.waits_for_retry for activity in core.run.activities.values()), "not all were dispatched again"


def test_activities_that_close_with_large_failures_behind_them_take_as_many_records_as_they_need() -> None:
    core = with_activities(schedule_to_close_timeout_ms=50_000)
    for activity in attempts(core):
        core.take(FailActivity(activity, Failure("x" * PAYLOADS_BYTES_MAX)))
    core.pass_time(1_000)
    half = attempts(core)[: MANY // 2]
    assert max(record_sizes(core, *(core.arrived(CompleteActivity(one)) for one in half))) < COMMIT_RECORD_BYTES_MAX
    assert len(attempts(core)) == MANY - MANY // 2, "not all have completed"
    core.now_ms += 50_000
    assert max(record_sizes(core, Due())) < COMMIT_RECORD_BYTES_MAX
    assert not attempts(core), "not all have timed out"


@pytest.mark.parametrize("reports", [CompleteActivity, CancelActivity])
def test_a_report_that_is_too_large_fails_its_attempt_for_good(reports: Callable[..., CommandBody]) -> None:
    core = with_activities()
    first = attempts(core)[0]
    decision = core.take(reports(first, (*LARGE, *LARGE)))
    failed = produced(decision)[-1]
    assert isinstance(failed, ActivityTaskFailed)
    assert failed.retry_state is RetryState.NON_RETRYABLE_FAILURE
    assert len(attempts(core)) == MANY - 1


def test_a_failure_that_is_too_large_beside_the_last_one_is_not_kept() -> None:
    core = with_activities()
    first = attempts(core)[0]
    large = FailActivity(first, Failure("x" * (RECORD_BYTES_MAX // 2), info=ApplicationFailureInfo(non_retryable=True)))
    refused = core.take(large, request_id="by a client")
    assert [request.outcome.code for request in refused.requests if isinstance(request.outcome, Refused)] == [RefusalCode.LIMIT_EXCEEDED]
    assert first in attempts(core)
    assert max(record_sizes(core, core.arrived(large))) < PAYLOADS_BYTES_MAX
    assert first not in attempts(core)


def test_a_command_whose_record_no_log_would_take_is_refused() -> None:
    world = led()
    before = claims(world)
    signal = SignalWorkflow("deposit", input=plain(1), identity="i" * (RECORD_BYTES_MAX - 700))
    for request in (None, Request("request", world.clock.ms + HOUR_MS, ReplyAddress("client", 0))):
        value = codec.encode_command(Command("account-0", signal, request))
        assert len(value) < RECORD_BYTES_MAX - 512
        world.medium.append(*commands_of(partition_of("account-0", 2)), b"account-0", value)
    for _ in range(500):
        world.step()
    assert claims(world) == before, "a record was refused"
    home = records(world, partition_of("account-0", 2))
    assert [letter.reason for record in home if isinstance(record, CommitRecord) for letter in record.dead_letters] == ["oversized"]
    settled = [request for record in home if isinstance(record, CommitRecord) for request in record.requests]
    assert isinstance(settled[-1].outcome, Refused)


def test_what_a_record_does_not_take_is_in_the_next_of_the_same_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "GROWN_BYTES_FULL", 0)
    world = World(partitions=2)
    for account in ("account-0", "account-1"):
        world.ask(account, open_account())
    for number in range(8):
        world.ask(f"transfer-{number}", transfer("account-0", "account-1", 2 + number))
    world.start()
    world.run_until_done()
    world.check()
