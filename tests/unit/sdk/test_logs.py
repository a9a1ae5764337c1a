"""Structured logs."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kit.traces import collected
from perdure._telemetry.logs import JsonFormatter, TextFormatter, configure_logging


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("perdure.owner").makeRecord("perdure.owner", logging.WARNING, "file.py", 1, message, args, None, extra=extra)


@contextmanager
def bare_root() -> Iterator[logging.Logger]:
    """The root logger without the handlers that pytest gives it around each test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        yield root
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def test_a_line_of_json_carries_its_fields() -> None:
    line = json.loads(
        JsonFormatter().format(record("claimed %d", 3, partition=3, claim_number=7, workflow_id="té", run_id="r", other={"a": 1}))
    )
    assert line.pop("time").endswith("+00:00")
    expected = {"level": "WARNING", "logger": "perdure.owner", "message": "claimed 3", "partition": 3, "claim_number": 7}
    assert line == {**expected, "workflow_id": "té", "run_id": "r"}


def test_fields_do_not_take_the_place_of_what_every_line_has() -> None:
    line = json.loads(JsonFormatter().format(record("said", level="loud", logger="mine", time=1)))
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "perdure.owner", "said")


def test_a_line_of_text_names_partition_and_run_first_and_quotes_what_could_mislead() -> None:
    text = TextFormatter().format(record("said", activity_id="7", workflow_run_id="r-1", workflow_id="a b\n=", partition=0))
    assert text.endswith('WARNING perdure.owner: said partition=0 workflow_id="a b\\n=" run_id=r-1 activity_id=7')


def test_an_exception_is_part_of_the_line() -> None:
    try:
        raise ValueError("no money")
    except ValueError:
        made = record("failed")
        made.exc_info = sys.exc_info()
    assert "ValueError: no money" in json.loads(JsonFormatter().format(made))["exception"]
    assert TextFormatter().format(made).splitlines()[-1] == "  ValueError: no money"


def test_no_text_from_outside_looks_like_a_line_of_its_own_or_acts_on_a_terminal() -> None:
    made = record("refused %s", "\x1b[2Jid\u202e\n2026-01-01T00:00:00.000+00:00 ERROR   perdure.owner: all is lost")
    made.exc_text = "ValueError: \x07\n2026-01-01T00:00:00.000+00:00 ERROR   perdure.owner: and more"
    first, *others = TextFormatter().format(made).splitlines()
    assert first.endswith(r"refused \x1b[2Jid\u202e")
    assert len(others) == 3
    assert all(line.startswith("  ") and line.isprintable() for line in others)


def test_a_line_within_a_span_leads_to_its_trace() -> None:
    with collected() as traces:
        with traces.provider.get_tracer("test").start_as_current_span("here"):
            line = json.loads(JsonFormatter().format(record("said")))
        (one,) = traces.seen()
    assert (line["trace_id"], line["span_id"]) == (one.trace_id, one.span_id)


def test_configuring_again_replaces_and_does_not_double(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    with bare_root():
        configure_logging("INFO")
        monkeypatch.setattr(sys, "stderr", output)
        configure_logging("WARNING", as_json=True)
        logging.getLogger("perdure.owner").info("not said")
        logging.getLogger("perdure.owner").warning("said", extra={"partition": 2})
    (line,) = output.getvalue().splitlines()
    assert json.loads(line)["partition"] == 2


def test_handlers_of_the_program_are_left_alone() -> None:
    own = logging.NullHandler()
    with bare_root() as root:
        root.addHandler(own)
        configure_logging("DEBUG")
        assert root.handlers == [own]
        assert root.level == logging.DEBUG
