"""Log records of user code name the line of user code that wrote them."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path

import pytest

from kit.code import Code, kinds
from perdure import activity, workflow


@workflow.defn
class Logs:
    @workflow.run
    async def run(self) -> None:
        workflow.logger.info("by its level")
        workflow.logger.log(logging.INFO, "by log")
        try:
            raise ValueError("x")
        except ValueError:
            workflow.logger.exception("an exception")
        note("from a helper")


def note(text: str) -> None:
    """A user's own helper, whose caller is meant."""
    workflow.logger.warning(text, stacklevel=2)


def test_a_record_of_workflow_code_names_its_caller(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "perdure.workflow"):
        assert kinds(Code(Logs).begin()) == ["CompleteWorkflow"]
    lines, first = inspect.getsourcelines(Logs.run)
    assert [record.funcName for record in caplog.records] == ["run"] * 4
    assert {Path(record.pathname).name for record in caplog.records} == {Path(__file__).name}
    for record in caplog.records:
        text = record.getMessage().partition(" (")[0]
        assert text in lines[record.lineno - first]


def test_a_record_outside_of_a_workflow_does_too(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        workflow.logger.info("plain")
        activity.logger.info("plain")
    assert [Path(record.pathname).name for record in caplog.records] == [Path(__file__).name] * 2
