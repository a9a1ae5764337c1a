"""What the rows of the fault matrix share: a broker with doors for proxies, namespaces of processes, and the report."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.broker import Broker
from kit.namespace import Namespace, Namespaces
from kit.proxy import Proxy
from kit.row import Row, timed

DOORS = 4


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A broker of our own, which may be restarted, suspended and cut off."""
    made = Broker(doors=DOORS)
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def door(broker: Broker) -> Iterator[Callable[[], Proxy]]:
    """Opens a proxy to the broker, one for each process that is to be cut off alone.

    A test names this fixture first: it is closed last then, and processes that end need not wait for a network that is gone.
    """
    opened: list[Proxy] = []

    def opens() -> Proxy:
        opened.append(Proxy(*broker.doors[len(opened)]))
        return opened[-1]

    yield opens
    for proxy in opened:
        proxy.close()


@pytest.fixture
def namespaces(request: pytest.FixtureRequest, tmp_path: Path, row: Row) -> Iterator[Namespaces]:
    """Makes namespaces: `namespaces("bank")` on the broker, `namespaces("bank", log="sqlite")` in a file."""
    made: list[Namespace] = []

    def make(workload: str = "bank", *, log: str = "kafka", partitions: int = 4) -> Namespace:
        directory = tmp_path / str(len(made))
        directory.mkdir()
        name = f"{workload}-{uuid.uuid4().hex[:8]}"
        bootstrap = request.getfixturevalue("broker").bootstrap if log == "kafka" else ""
        made.append(Namespace(bootstrap, name, directory, workload))
        return made[-1].create(partitions) if log == "kafka" else made[-1]

    yield make
    for namespace in made:
        namespace.stop()
        row.count(namespace)


@pytest.fixture
def bank(namespaces: Namespaces) -> Namespace:
    """The bank on the broker."""
    return namespaces()


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Row]:
    """The line of this test in the report. A row that has injected nothing fails."""
    with timed(Row(request.node.name)) as made:
        yield made
        passed = getattr(request.node, "passed", False)
        made.verdict = "passed" if passed and made.injections else "failed"
        assert made.injections or not passed, "nothing was injected"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    if report.when == "call":
        item.passed = report.passed  # type: ignore[attr-defined]
    return report
