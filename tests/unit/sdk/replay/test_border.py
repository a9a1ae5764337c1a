"""What workflow code hands over is plain, or its activation fails with an error that says what was wrong with it (P9)."""

from __future__ import annotations

import logging
import math
from typing import Any, get_args

import pytest

from kit import hostile_workflows as flows
from kit.code import Code, kinds, value
from kit.hostile import ERRORS, HALF
from perdure import workflow
from perdure._replay import actions, border
from perdure._replay.host import Activation, ActivationError, QueryError
from perdure._replay.runtime import CodeHost
from perdure.converter import DataConverter, DefaultPayloadConverter
from perdure.exceptions import ApplicationError
from perdure_schemas import events
from perdure_schemas.codec import decode_command, encode_command
from perdure_schemas.commands import ActivityReference, Command, FailActivity
from perdure_schemas.conform import conformed
from perdure_schemas.failure import ApplicationFailureInfo, Failure
from perdure_schemas.limits import DURATION_MS_MAX
from perdure_schemas.payload import Payload


def on_the_wire(failure: Failure) -> Failure:
    """The failure as a reader sees it."""
    body = decode_command(encode_command(Command("w", FailActivity(ActivityReference("r", 1, 1), failure)))).body
    assert isinstance(body, FailActivity)
    return body.failure


@pytest.mark.parametrize("what", list(flows.REFUSED))
def test_what_cannot_be_recorded_fails_its_activation_with_an_error_that_names_it(what: str) -> None:
    code = Code(flows.HandsOver, value(what))
    with pytest.raises(ActivationError, match=flows.REFUSED[what][1]) as caught:
        code.begin()
    assert on_the_wire(caught.value.failure).message
    code.close()


@pytest.mark.parametrize("what", list(flows.TAKEN))
def test_what_only_looks_odd_is_taken_as_plain_values_and_replays(what: str) -> None:
    code = Code(flows.HandsOver, value(what))
    for action in code.begin():
        assert conformed(action) is action
    code.replay().close()
    code.close()


def test_the_longest_timeout_is_as_long_as_there_is() -> None:
    code = Code(flows.HandsOver, value("the longest timeouts"))
    (action,) = code.begin()
    assert action.start_to_close_timeout_ms == action.schedule_to_close_timeout_ms == DURATION_MS_MAX
    code.close()


@pytest.mark.parametrize("what", list(ERRORS))
def test_an_error_is_never_lost_to_what_it_says(what: str) -> None:
    code = Code(flows.Raises, value(what), deadlock_timeout_ms=0)
    try:
        (action,) = code.begin()
        failure = action.failure if isinstance(action, actions.FailWorkflow) else Failure("cancelled")
    except ActivationError as error:
        failure = error.failure
    assert on_the_wire(failure).message
    assert "cannot be encoded" not in failure.message
    code.close()


def test_a_failure_keeps_its_type_and_its_message() -> None:
    (action,) = Code(flows.Raises, value("odd details")).begin()
    failure = on_the_wire(action.failure)
    assert failure.message == "x"
    assert isinstance(failure.info, ApplicationFailureInfo)
    assert failure.info.type == "Kept"
    kept, note = DataConverter.default.payload_converter.from_payloads(failure.info.details)
    assert kept == 1
    assert "detail 1, a Odd, cannot be encoded" in note


@pytest.mark.parametrize("what", list(flows.ANSWERS))
def test_a_query_says_what_it_says_or_fails_alone(what: str) -> None:
    code = Code(flows.Answers, deadlock_timeout_ms=0)
    code.begin()
    if what == "half a character":
        assert b"\\udcff" in code.instance.query("ask", value(what), {})[0].data
    else:
        with pytest.raises(QueryError) as caught:
            code.instance.query("ask", value(what), {})
        assert on_the_wire(caught.value.failure).message
    assert b"\\udcff" in code.instance.query("__stack_trace", (), {})[0].data
    code.close()


class Careless(DefaultPayloadConverter):
    """Gives what it is told instead of payloads."""

    given: Any = None

    def to_payloads(self, given: Any) -> Any:
        return self.given


@pytest.mark.parametrize("given", [None, "text", (5,), (Payload({}, "x"),), (Payload({"e": "x"}),)])  # type: ignore[arg-type,dict-item]
def test_what_a_converter_makes_must_be_payloads(given: Any) -> None:
    converter = Careless()
    converter.given = given
    code = Code(flows.HandsOver, value("half a character as a value"))
    code.host = CodeHost([flows.HandsOver, flows.Answers], data_converter=DataConverter(converter))
    code.instance = code.host.open(code.start, ())
    with pytest.raises(ActivationError, match=r"result of workflow .*must be"):
        code.begin()
    asked = Code(flows.Answers)
    asked.instance = code.host.open(asked.start, ())
    asked.begin()
    with pytest.raises(QueryError, match=r"answer of query 'ask'.*must be"):
        asked.instance.query("ask", value("half a character"), {})


def test_a_timer_of_no_length_that_was_recorded_replays() -> None:
    """It was one of 0 s, before it was refused."""
    code = Code(flows.HandsOver, value("timer, nan"))
    recorded = (events.TimerStarted("1", 0),)
    code.instance.activate(Activation(code.now_ms, ((1, code.start.started),), 2, recorded))
    activated = code.instance.activate(Activation(code.now_ms, ((3, events.TimerFired("1", 2)),), 4))
    assert kinds(list(activated.actions)) == ["CompleteWorkflow"]
    code.close()


def test_code_that_ends_in_text_that_never_ends_is_interrupted() -> None:
    code = Code(LoopsInItsText, deadlock_timeout_ms=100)
    with pytest.raises(ActivationError, match="Endless"):
        code.begin()
    code.close()


def test_a_handler_of_logs_that_fails_changes_nothing() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("disk full")

    handler = Broken()
    logging.getLogger("perdure.workflow").addHandler(handler)
    try:
        code = Code(Logs)
        assert kinds(code.begin()) == ["CompleteWorkflow"]
        code.replay().close()
        with pytest.raises(ActivationError, match="activity_id"):
            Code(flows.HandsOver, value("activity id, a UUID")).begin()
    finally:
        logging.getLogger("perdure.workflow").removeHandler(handler)


def test_every_action_has_a_name_that_users_know() -> None:
    assert set(border._CALLS) == set(get_args(actions.Action))


def test_infinite_and_not_a_number_are_what_they_are() -> None:
    assert math.isnan(conformed(math.nan))


class Endless(Exception):
    def __str__(self) -> str:
        while True:
            pass


@workflow.defn
class LoopsInItsText:
    @workflow.run
    async def run(self) -> None:
        raise Endless


@workflow.defn
class Logs:
    @workflow.run
    async def run(self) -> str:
        try:
            workflow.logger.warning("a line of %s", HALF)
            workflow.logger.warning("a line", extra={"name": "taken"})
        except Exception:
            raise ApplicationError("the log was heard") from None
        return "logged"
