import io
from datetime import timedelta
from pathlib import Path

import pytest
import typer

from perdure_platform.cli.options import arguments, duration, size_bytes
from perdure_platform.cli.serving import owner_limits
from perdure_platform.config import DEFAULT_LIMITS


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5d", timedelta(hours=36)),
        ("", None),
    ],
)
def test_durations_are_numbers_with_units(text: str, span: timedelta | None) -> None:
    assert duration("--timeout", text) == span


@pytest.mark.parametrize("text", ["30", "s", "5 m", "-3s", "1h later"])
def test_other_text_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 500ms, 30s"):
        duration("--timeout", text)


def test_a_duration_that_no_clock_holds_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="leave the option out"):
        duration("--run-timeout", "99999999999999999d")


def test_inputs_are_json() -> None:
    assert arguments(['{"a": 1}', '"text"', "3"]) == [{"a": 1}, "text", 3]
    assert arguments(None) == []


def test_bare_text_is_refused_and_told_how_to_write_it() -> None:
    with pytest.raises(typer.BadParameter, match=r"put it in double quotes: '\"hello\"'"):
        arguments(["hello"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("NaN", "it has no NaN"),
        ("1e999", "not JSON"),
        ("[" * 60_000 + "]" * 60_000, "nested too deeply"),
        (r'"\ud800"', "half a character"),
    ],
)
def test_what_no_payload_can_hold_is_refused(text: str, says: str) -> None:
    with pytest.raises(typer.BadParameter, match=says):
        arguments([text])


def test_inputs_come_from_files_and_from_stdin_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.json").write_text('{"a": "\u00e4"}\n', encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[2]\n")))
    assert arguments(["1"], [tmp_path / "one.json", Path("-")]) == [1, {"a": "ä"}, [2]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"{", "input.json is not JSON"),
        (b"\xff", "is not UTF-8"),
        (b"hello\n", r"put it in double quotes: '\"hello\"'"),
        (b"x" * 100_000, "input.json is not JSON"),
    ],
)
def test_a_file_that_holds_no_input_is_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "input.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(typer.BadParameter, match=says) as raised:
        arguments(None, [file])
    assert len(str(raised.value)) < 1000


def test_stdin_is_read_once() -> None:
    with pytest.raises(typer.BadParameter, match="once"):
        arguments(None, [Path("-"), Path("-")])


def test_sizes_are_whole_numbers_with_units() -> None:
    assert size_bytes("--store-memory", "") is None
    assert size_bytes("--store-memory", "512K") == 512 * 1024
    assert size_bytes("--store-memory", "64M") == 64 * 1024 * 1024
    assert size_bytes("--store-memory", "1G") == 1024 * 1024 * 1024


@pytest.mark.parametrize("text", ["64", "0M", "-1M", "1.5G", "64MB", "M", "64m"])
def test_what_is_not_a_size_is_refused_with_examples(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 512K, 64M or 1G"):
        size_bytes("--store-memory", text)


def test_the_limits_of_an_owner_are_those_that_were_asked_for() -> None:
    limits = owner_limits(timedelta(minutes=2), 16 * 1024 * 1024, 0)
    assert (limits.retention_ms, limits.store_memory_bytes, limits.cached_runs_max) == (120_000, 16 * 1024 * 1024, 0)
    assert owner_limits(None).cached_runs_max == DEFAULT_LIMITS.cached_runs_max
