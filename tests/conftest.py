"""Fixtures for all tests: a broker, started when the first test asks for it. PERDURE_MUTANT=name puts a mutant into all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from kit.broker import running_broker
from kit.mutants.registry import MUTANTS

# No example has a time limit: machines that run the tests are slow, or busy, and that is no defect of what is tested.
hypothesis.settings.register_profile("perdure", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("perdure")


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module takes its names from what is patched."""
    if name := os.environ.get("PERDURE_MUTANT"):
        patch = pytest.MonkeyPatch()
        MUTANTS[name](patch)
        config.add_cleanup(patch.undo)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The rows of the fault matrix that were run. Here, because the process that prints them may collect no test."""
    from kit.row import table  # what it imports must not be there before a mutant is

    if rows := table():
        terminalreporter.section("rows of the fault matrix")
        for line in rows:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """HOST:PORT of a Kafka broker that the tests share. Where none can be had, the test fails."""
    with running_broker() as bootstrap:
        yield bootstrap
