"""The contract of the Log port, asked of each adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.media import InFile, InMemory, InSimulation, Medium, OnKafka
from perdure._log.port import Log

KAFKA = pytest.param("kafka", marks=pytest.mark.kafka)


def make(kind: str, request: pytest.FixtureRequest) -> Medium:
    if kind == "memory":
        return InMemory()
    if kind == "simulated":
        return InSimulation()
    if kind == "sqlite":
        directory: Path = request.getfixturevalue("tmp_path")
        return InFile(directory / "log.db")
    return OnKafka(request.getfixturevalue("kafka"))


@pytest.fixture(params=["memory", "simulated", "sqlite", KAFKA])
def medium(request: pytest.FixtureRequest) -> Iterator[Medium]:
    made = make(request.param, request)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", KAFKA])
def shared_medium(request: pytest.FixtureRequest) -> Iterator[Medium]:
    """One that other processes can reach."""
    made = make(request.param, request)
    yield made
    made.close()


@pytest.fixture
def log(medium: Medium) -> Log:
    return medium.open()
