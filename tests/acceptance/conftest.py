"""Shells for the acceptance tests: one per test, and one in whose directory `perdure dev` runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.shell import Shell, make_shell


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell of this test's own."""
    made = make_shell(tmp_path)
    yield made
    made.stop()
    made.check_log()


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell in whose directory `perdure dev app:registry` runs."""
    made = make_shell(tmp_path_factory.mktemp("dev"))
    made.background("dev", "app:registry")
    made.until(lambda: "Ctrl-C stops it" in made.outputs(), "what dev says once it has its store")
    yield made
    made.stop()
    made.check_log()
