"""Fixtures for all tests: a broker, started when the first test asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kit.broker import running_broker


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """HOST:PORT of a Kafka broker that the tests share. Where none can be had, the test fails."""
    with running_broker() as bootstrap:
        yield bootstrap
