import json

import pytest
import typer

from perdure_platform.cli.exits import ExitCode, fail
from perdure_platform.cli.output import (
    duration_text,
    failure_text,
    jsonable,
    payloads_text,
    print_fields,
    print_json,
    print_table,
    print_text,
    time_text,
)
from perdure_schemas.failure import ApplicationFailureInfo, Failure, TimeoutFailureInfo, TimeoutType
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.payload import Payload
from perdure_schemas.replies import RunSummary

JSON = {"encoding": b"json/plain"}


def test_a_table_aligns_text_to_the_left_and_numbers_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "count"), [("a", 5), ("longer", 1200)])
    assert capsys.readouterr().out == "NAME    COUNT\na           5\nlonger   1200\n"


def test_an_empty_table_still_shows_its_heads(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "count"), [])
    assert capsys.readouterr().out == "NAME  COUNT\n"


def test_fields_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields([("id", "x"), ("closed", ""), ("blocked by", None), ("events", 0)])
    assert capsys.readouterr().out == "id      x\nevents  0\n"


def test_a_record_becomes_json_with_payloads_as_values_and_enums_by_name() -> None:
    summary = RunSummary("id", "run", "run", "Type", "queue", WorkflowStatus.TIMED_OUT, 5, memo={"note": Payload(JSON, b'{"a":1}')})
    shown = jsonable(summary)
    assert shown["status"] == "timed_out"
    assert shown["memo"] == {"note": {"a": 1}}


def test_a_payload_that_is_not_json_shows_its_encoding_and_bytes() -> None:
    assert jsonable(Payload({"encoding": b"binary/plain"}, b"\xff")) == {"encoding": "binary/plain", "base64": "/w=="}
    assert jsonable(Payload(JSON, b"not json")) == {"encoding": "json/plain", "base64": "bm90IGpzb24="}
    assert jsonable(Payload({"encoding": b"binary/null"})) is None


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": "über\nzwei"})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"text": "über\nzwei"}


def test_a_failure_is_shown_with_its_causes() -> None:
    cause = Failure("no such account", info=ApplicationFailureInfo(type="InvalidAccountError"))
    assert failure_text(Failure("Activity task failed", cause=cause)) == "Activity task failed <- InvalidAccountError: no such account"
    assert failure_text(Failure("late", info=TimeoutFailureInfo(TimeoutType.START_TO_CLOSE))) == "start-to-close timeout: late"
    assert failure_text(None) == ""


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [(0, "0 ms"), (999, "999 ms"), (1500, "1.5 s"), (59_900, "59.9 s"), (125_000, "2 m 5 s"), (11_400_000, "3 h 10 m")],
)
def test_durations_read_as_a_person_says_them(duration_ms: int, text: str) -> None:
    assert duration_text(duration_ms) == text


def test_times_are_utc_to_the_millisecond_and_empty_where_there_is_none() -> None:
    assert time_text(1_700_000_000_123) == "2023-11-14 22:13:20.123"
    assert time_text(0) == ""


HOSTILE = "\x1b[2J\x07order\u202e\r\x9b31m\ud800"
HARMLESS = r"\x1b[2J\x07order\u202e\r\x9b31m\ud800"


def test_what_acts_on_a_terminal_is_shown_and_does_not_act(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name",), [(HOSTILE,), ("two\nlines",), ("größe €",)])
    print_fields([("id", HOSTILE)])
    print_text(f"{HOSTILE} sent\n\tto all")
    out = capsys.readouterr().out.splitlines()
    assert out == ["NAME", HARMLESS, r"two\nlines", "größe €", f"id  {HARMLESS}", f"{HARMLESS} sent", "\tto all"]


def test_a_failure_that_another_chose_cannot_act_on_the_terminal_either(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        fail(ExitCode.FAILED, f"it failed: {HOSTILE}\nperdure: all is well", HOSTILE)
    assert capsys.readouterr().err.splitlines() == [f"perdure: it failed: {HARMLESS}", "  perdure: all is well", f"  hint: {HARMLESS}"]


def test_json_says_what_was_there(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"id": "\x1b[2J\u202e"})
    assert json.loads(capsys.readouterr().out) == {"id": "\x1b[2J\u202e"}


ODD = {
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep maps": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NaN": b"NaN",
    "too large for a float": b"[1e400]",
    "5,000 digits": b"9" * 5_000,
    "half a character": b'"\\ud800"',
    "no UTF-8": b'"\xff"',
}


@pytest.mark.parametrize("kind", ODD)
def test_a_payload_that_json_cannot_say_is_shown_as_its_bytes(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    payload = Payload(JSON, ODD[kind])
    assert jsonable(payload)["encoding"] == "json/plain"
    assert payloads_text([payload]).startswith('{"encoding": "json/plain"')
    print_json([payload])
    assert json.loads(capsys.readouterr().out) == [jsonable(payload)]


@pytest.mark.parametrize(("value", "shown"), [(float("nan"), "nan"), (-1e400, "-inf"), ("\ud800", "\ud800")])
def test_a_value_that_json_has_no_word_for_is_shown_all_the_same(value: object, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"result": value})
    out = capsys.readouterr().out
    assert json.loads(out, parse_constant=pytest.fail) == {"result": shown}
    assert out.isprintable() or out.isascii()


def test_a_value_that_is_too_deep_to_be_shown_is_an_error_of_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    value: list[object] = []
    for _ in range(2_000):
        value = [value]
    with pytest.raises(typer.Exit):
        print_json({"result": value})
    assert capsys.readouterr().err == "perdure: this value is nested too deeply to be shown as JSON\n"
