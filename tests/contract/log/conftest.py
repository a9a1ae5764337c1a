"""The contract of the Log port, asked of each adapter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kit.media import KAFKA, Medium, medium_of
from perdure._log.port import Log


@pytest.fixture(params=["memory", "simulated", "sqlite", KAFKA])
def medium(request: pytest.FixtureRequest) -> Iterator[Medium]:
    yield from medium_of(request)


@pytest.fixture(params=["sqlite", KAFKA])
def shared_medium(request: pytest.FixtureRequest) -> Iterator[Medium]:
    """One that other processes can reach."""
    yield from medium_of(request)


@pytest.fixture
def log(medium: Medium) -> Log:
    return medium.open()
