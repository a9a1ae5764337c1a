"""Whatever an activity raises, returns or tells fails its attempt, and nothing else (P9)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from kit.activity_bench import Bench, values
from kit.hostile import ERRORS, HALF, Odd
from kit.scripted_owner import eventually
from perdure import activity
from perdure._activity_worker.attempt import Attempt
from perdure.converter import DataConverter, DefaultPayloadConverter
from perdure_schemas.commands import CompleteActivity, FailActivity
from perdure_schemas.failure import ApplicationFailureInfo
from perdure_schemas.payload import Payload


@activity.defn
async def good(number: int) -> int:
    return number


@activity.defn
async def raises(what: str) -> None:
    raise ERRORS[what]()


@activity.defn
def raises_in_a_thread(what: str) -> None:
    raise ERRORS[what]()


async def still_works(bench: Bench) -> None:
    outcome = await bench.outcome(bench.dispatch("good", 1))
    assert isinstance(outcome, CompleteActivity)
    assert values(outcome.result) == [1]


@pytest.mark.parametrize("name", ["raises", "raises_in_a_thread"])
async def test_whatever_is_raised_fails_the_attempt_and_the_worker_goes_on(bench: Bench, name: str) -> None:
    async with bench.worker(good, raises, raises_in_a_thread):
        tasks = {what: bench.dispatch(name, what) for what in ERRORS}
        for what, task in tasks.items():
            failure = await bench.failure(task)
            assert failure.message, what
            assert failure.info is not None, what
            await still_works(bench)
        await eventually(lambda: bench.committed() == 2 * len(ERRORS), "every offset is committed")


@pytest.mark.parametrize(
    ("what", "message", "kind"),
    [
        ("half a character", "name \\udcff.txt", "ValueError"),
        ("half a character in an application error", "name \\udcff.txt", "name \\udcff.txt"),
        ("an exception as the message", "x", ""),
        ("no message", "None", ""),
        ("a class as the type", "x", "ValueError"),
        ("a member as the type", "x", "HEARTBEAT"),
        ("odd details", "x", "Kept"),
        ("no text", "<a Unspeakable whose text cannot be made: RuntimeError>", "Unspeakable"),
        ("an interrupt", "name \\udcff.txt", "KeyboardInterrupt"),
    ],
)
async def test_an_error_keeps_its_message_and_its_type(bench: Bench, what: str, message: str, kind: str) -> None:
    async with bench.worker(raises):
        failure = await bench.failure(bench.dispatch("raises", what))
    assert failure.message == message
    assert isinstance(failure.info, ApplicationFailureInfo)
    assert failure.info.type == kind


class Careless(DefaultPayloadConverter):
    """Gives what it is told instead of payloads."""

    def __init__(self, given: Any) -> None:
        super().__init__()
        self.given = given

    def to_payloads(self, given: Any) -> Any:
        return super().to_payloads(given) if list(given) == [1] else self.given


@pytest.mark.parametrize("given", [None, "text", (5,), (Payload({}, "x"),), (Payload({"e": "x"}),), (Payload(None),)])  # type: ignore[arg-type,dict-item]
async def test_what_is_no_payload_fails_the_attempt(bench: Bench, given: Any) -> None:
    async with bench.worker(good, data_converter=DataConverter(Careless(given))):
        failure = await bench.failure(bench.dispatch("good", 2))
        assert "must be" in failure.message
        await still_works(bench)


@pytest.mark.parametrize("value", [Odd(), float, {1: Odd()}])
async def test_a_result_that_has_no_json_fails_the_attempt(bench: Bench, value: Any) -> None:
    @activity.defn
    async def gives() -> Any:
        return value

    async with bench.worker(good, gives):
        assert (await bench.failure(bench.dispatch("gives"))).info.type == "TypeError"
        await still_works(bench)


async def test_a_heartbeat_that_has_no_json_fails_the_attempt(bench: Bench) -> None:
    @activity.defn
    async def beats() -> None:
        activity.heartbeat(Odd())
        await asyncio.sleep(60)

    async with bench.worker(good, beats):
        assert (await bench.failure(bench.dispatch("beats"))).info.type == "TypeError"
        await still_works(bench)


async def test_half_a_character_in_values_and_names_is_no_trouble(bench: Bench) -> None:
    @activity.defn
    async def gives() -> str:
        activity.heartbeat(HALF)
        asyncio.current_task().set_name(HALF)  # type: ignore[union-attr]
        return HALF

    async with bench.worker(good, gives):
        outcome = await bench.outcome(bench.dispatch("gives"))
        assert isinstance(outcome, CompleteActivity)
        assert values(outcome.result) == [HALF]


async def test_a_defect_over_one_attempt_is_its_failure_and_no_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The last line of defence, for what nobody has thought of."""
    caplog.set_level(logging.CRITICAL + 1, "perdure.worker")  # pytest-xdist cannot pass half a character on
    sound = Attempt._report

    async def unsound(self: Attempt, outcome: Any) -> None:
        if isinstance(outcome, FailActivity):
            raise LookupError(HALF)
        await sound(self, outcome)

    monkeypatch.setattr(Attempt, "_report", unsound)
    async with bench.worker(good, raises):
        failure = await bench.failure(bench.dispatch("raises", "no message"))
        assert failure.message == "a defect in the worker: LookupError: name \\udcff.txt"
        await still_works(bench)


async def test_a_handler_of_logs_that_fails_is_no_matter(bench: Bench) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("disk full")

    handler = Broken()
    logging.getLogger("perdure.worker").addHandler(handler)
    try:
        async with bench.worker(good, raises):
            await bench.failure(bench.dispatch("raises", "half a character"))
            await still_works(bench)
    finally:
        logging.getLogger("perdure.worker").removeHandler(handler)
