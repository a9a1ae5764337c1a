"""What a worker reports on an attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from kit.activity_bench import Bench, payloads, values
from kit.scripted_owner import eventually
from perdure import activity
from perdure.common import RawValue
from perdure.converter import DataConverter
from perdure.exceptions import ApplicationError, ApplicationErrorCategory, CancelledError
from perdure_schemas.codec import decode_dead_letter
from perdure_schemas.commands import ActivityStarted, CompleteActivity
from perdure_schemas.failure import ApplicationFailureInfo
from perdure_schemas.limits import PAYLOADS_BYTES_MAX
from perdure_schemas.payload import Payload
from perdure_schemas.topics import dead_letters_topic


@dataclass
class Order:
    item: str
    count: int


@activity.defn
async def double(number: int) -> int:
    return number * 2


@activity.defn
def double_in_a_thread(number: int) -> int:
    return number * 2


@activity.defn
async def take(order: Order) -> str:
    assert isinstance(order, Order)
    return f"{order.count} {order.item}"


@activity.defn(name="raise")
async def fail(what: str) -> None:
    raise {"value": ValueError("no good"), "exit": SystemExit(3), "cancel": CancelledError("mine")}[what]


@activity.defn
def fail_in_a_thread(what: str) -> None:
    raise {"value": ValueError("no good"), "exit": SystemExit(3), "stop": StopIteration()}[what]


def completed(outcome: object) -> Any:
    assert isinstance(outcome, CompleteActivity), outcome
    assert outcome.identity == "me"
    return values(outcome.result)[0]


async def test_async_and_sync_functions_complete_with_their_value(bench: Bench) -> None:
    async with bench.worker(double, double_in_a_thread):
        first, second = bench.dispatch("double", 4), bench.dispatch("double_in_a_thread", 5)
        assert completed(await bench.outcome(first)) == 8
        assert completed(await bench.outcome(second)) == 10
        await eventually(lambda: bench.committed() == 2, "both offsets are committed")


async def test_arguments_get_their_hinted_types(bench: Bench) -> None:
    async with bench.worker(take):
        assert completed(await bench.outcome(bench.dispatch("take", Order("pens", 3)))) == "3 pens"


async def test_methods_and_callable_instances_run_on_their_objects(bench: Bench) -> None:
    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        @activity.defn
        async def sell(self, what: str) -> str:
            return f"{self.name} sells {what}"

    @activity.defn
    class Buy:
        def __init__(self, name: str) -> None:
            self.name = name

        async def __call__(self, what: str) -> str:
            return f"{self.name} buys {what}"

    async with bench.worker(Shop("A").sell, Buy("B")):
        assert completed(await bench.outcome(bench.dispatch("sell", "tea"))) == "A sells tea"
        assert completed(await bench.outcome(bench.dispatch("Buy", "tea"))) == "B buys tea"


async def test_dynamic_activity_serves_every_other_name_with_raw_values(bench: Bench) -> None:
    @activity.defn(dynamic=True)
    async def anything(arguments: Sequence[RawValue]) -> str:
        return f"{activity.info().activity_type} {[activity.payload_converter().from_payload(each.payload) for each in arguments]}"

    async with bench.worker(double, anything):
        assert completed(await bench.outcome(bench.dispatch("unheard", 1, "x"))) == "unheard [1, 'x']"
        assert completed(await bench.outcome(bench.dispatch("double", 1))) == 2


async def test_an_exception_is_a_failure_named_by_its_class(bench: Bench) -> None:
    async with bench.worker(fail, fail_in_a_thread):
        for name in ("raise", "fail_in_a_thread"):
            failure = await bench.failure(bench.dispatch(name, "value"))
            assert failure.message == "no good"
            assert failure.info == ApplicationFailureInfo("ValueError")
            assert "raise" in failure.stack_trace


async def test_exits_and_stop_iteration_of_an_activity_leave_the_worker_alone(bench: Bench) -> None:
    async with bench.worker(fail, fail_in_a_thread, double):
        assert (await bench.failure(bench.dispatch("raise", "exit"))).info.type == "SystemExit"
        assert (await bench.failure(bench.dispatch("fail_in_a_thread", "exit"))).info.type == "SystemExit"
        assert (await bench.failure(bench.dispatch("fail_in_a_thread", "stop"))).info.type == "RuntimeError"
        assert completed(await bench.outcome(bench.dispatch("double", 1))) == 2


async def test_a_cancellation_that_nobody_requested_is_a_retryable_failure(bench: Bench) -> None:
    async with bench.worker(fail):
        failure = await bench.failure(bench.dispatch("raise", "cancel"))
        assert failure.info == ApplicationFailureInfo("CancelledError")
        assert failure.cause.message == "mine"


async def test_details_and_delay_of_an_application_error_travel(bench: Bench) -> None:
    @activity.defn
    async def refuse() -> None:
        raise ApplicationError(
            "sold out",
            7,
            type="SoldOut",
            non_retryable=True,
            next_retry_delay=timedelta(seconds=3),
            category=ApplicationErrorCategory.BENIGN,
        )

    async with bench.worker(refuse):
        info = (await bench.failure(bench.dispatch("refuse"))).info
        assert info == ApplicationFailureInfo("SoldOut", True, payloads(7), 3000, ApplicationErrorCategory.BENIGN)


async def test_an_unknown_activity_is_a_retryable_failure_that_lists_the_known(bench: Bench) -> None:
    async with bench.worker(double, take):
        failure = await bench.failure(bench.dispatch("triple", 1))
        assert failure.info == ApplicationFailureInfo("NotFoundError")
        assert "'triple'" in failure.message
        assert "double, take" in failure.message


async def test_arguments_that_cannot_be_decoded_fail_the_attempt(bench: Bench) -> None:
    async with bench.worker(take):
        failure = await bench.failure(bench.dispatch("take", "not an order"))
        assert failure.info == ApplicationFailureInfo("TypeError")
        assert "Order" in failure.message


async def test_a_result_that_cannot_be_encoded_fails_the_attempt(bench: Bench) -> None:
    @activity.defn
    async def give() -> object:
        return object()

    async with bench.worker(give):
        failure = await bench.failure(bench.dispatch("give"))
        assert failure.info == ApplicationFailureInfo("TypeError")


async def test_a_result_that_is_too_large_is_refused_for_good_with_its_size(bench: Bench) -> None:
    @activity.defn
    async def give() -> bytes:
        return bytes(PAYLOADS_BYTES_MAX)

    async with bench.worker(give):
        failure = await bench.failure(bench.dispatch("give"))
        assert failure.info == ApplicationFailureInfo("LimitExceeded", True)
        assert str(PAYLOADS_BYTES_MAX) in failure.message


async def test_a_failure_that_is_too_large_keeps_what_decides_about_retries(bench: Bench) -> None:
    @activity.defn
    async def refuse() -> None:
        raise ApplicationError("x" * 9_000_000, b"y" * 9_000_000, type="Huge", non_retryable=True)

    async with bench.worker(refuse):
        failure = await bench.failure(bench.dispatch("refuse"))
        assert failure.info == ApplicationFailureInfo("Huge", True)
        assert len(failure.message) < 20_000


async def test_a_failure_whose_details_cannot_be_encoded_says_so(bench: Bench) -> None:
    @activity.defn
    async def refuse() -> None:
        raise ApplicationError("sold out", object())

    async with bench.worker(refuse):
        failure = await bench.failure(bench.dispatch("refuse"))
        assert failure.message == "sold out"
        (note,) = values(failure.info.details)
        assert "detail 0, a object, cannot be encoded" in note


async def test_a_task_that_cannot_be_read_becomes_a_dead_letter_and_the_next_one_runs(bench: Bench) -> None:
    async with bench.worker(double):
        bench.put(b"rubbish", b"k")
        assert completed(await bench.outcome(bench.dispatch("double", 2))) == 4
        await eventually(lambda: bench.committed() == 2, "the offset behind both is committed")
        (record,) = bench.log.medium.read(dead_letters_topic("default"), 0, 0, 10)
        letter = decode_dead_letter(record.value)
        assert (letter.source_topic, letter.source_partition, letter.source_offset) == ("default.tasks.work", 0, 0)
        assert (letter.key, letter.value) == (b"k", b"rubbish")
        assert letter.message


async def test_info_shows_the_attempt(bench: Bench) -> None:
    seen: list[activity.Info] = []

    @activity.defn
    async def look() -> None:
        seen.append(activity.info())

    async with bench.worker(look):
        task = bench.dispatch("look", attempt=3, heartbeat_timeout_ms=5_000, heartbeat_details=payloads("half", 2))
        await bench.outcome(task)
    (info,) = seen
    assert (info.activity_type, info.activity_id, info.attempt, info.task_queue) == ("look", "1", 3, "work")
    assert (info.workflow_id, info.workflow_run_id, info.workflow_type) == (task.workflow_id, task.run_id, "Flow")
    assert info.heartbeat_details == ["half", 2]
    assert info.heartbeat_timeout == timedelta(seconds=5)
    assert info.schedule_to_close_timeout is None
    assert (info.current_attempt_scheduled_time - info.scheduled_time) == timedelta(milliseconds=500)
    assert info.retry_policy is not None


async def test_heartbeat_details_that_cannot_be_decoded_fail_for_good(bench: Bench) -> None:
    async with bench.worker(double):
        task = bench.dispatch("double", 1, heartbeat_details=payloads(b"x"), input=payloads(1))
        assert completed(await bench.outcome(task)) == 2
        broken = bench.dispatch("double", 1, heartbeat_details=(Payload({"encoding": b"unheard"}, b""),))
        assert (await bench.failure(broken)).info.non_retryable


async def test_many_short_activities_are_reported_once_each_and_hardly_announced(bench: Bench) -> None:
    async with bench.worker(double, max_concurrent_activities=20):
        tasks = [bench.dispatch("double", number) for number in range(300)]
        await eventually(lambda: len(bench.outcomes()) >= 300, "all are reported")
        await eventually(lambda: bench.committed() == 300, "all are committed")
        assert len(bench.outcomes()) == 300
        assert [completed(bench.outcomes(task)[0]) for task in tasks] == [2 * number for number in range(300)]
        assert len(bench.owner.received(ActivityStarted)) < 300


async def test_no_more_run_at_once_than_there_are_slots(bench: Bench) -> None:
    running, most = 0, 0
    go = asyncio.Event()

    @activity.defn
    async def hold() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1

    async with bench.worker(hold, max_concurrent_activities=3):
        for _ in range(12):
            bench.dispatch("hold")
        await eventually(lambda: running == 3, "three run")
        await eventually(lambda: bench.committed() == 3, "their starts are in the log")
        go.set()
        await eventually(lambda: len(bench.outcomes()) == 12, "all are reported")
        assert most == 3


async def test_another_converter_is_used_throughout(bench: Bench) -> None:
    class Shouting(type(DataConverter.default.payload_converter)):  # type: ignore[misc]
        def to_payloads(self, given: Any) -> Any:
            return super().to_payloads([each.upper() if isinstance(each, str) else each for each in given])

    @activity.defn
    async def say(word: str) -> str:
        return word

    async with bench.worker(say, data_converter=DataConverter(payload_converter=Shouting())):
        assert completed(await bench.outcome(bench.dispatch("say", "hi"))) == "HI"


async def test_a_failure_is_logged_with_the_types_of_its_exceptions(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    @activity.defn
    async def look_up() -> None:
        try:
            raise KeyError("price")
        except KeyError as error:
            raise ApplicationError("no offer", type="NoOffer") from error

    async with bench.worker(look_up):
        await bench.outcome(bench.dispatch("look_up"))
    (record,) = [each for each in caplog.records if " failed: " in each.getMessage()]
    assert record.getMessage().endswith("failed: NoOffer: no offer <- KeyError: 'price'")


async def test_the_logger_names_the_attempt_also_from_a_thread(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    @activity.defn
    def speak() -> None:
        activity.logger.warning("hear me")

    async with bench.worker(speak):
        task = bench.dispatch("speak")
        await bench.outcome(task)
    (record,) = [each for each in caplog.records if each.name == "perdure.activity"]
    assert "hear me" in record.getMessage()
    assert task.workflow_id in record.getMessage()
    assert record.__dict__["activity_type"] == "speak"
    assert record.__dict__["temporal_activity"]["attempt"] == 1
