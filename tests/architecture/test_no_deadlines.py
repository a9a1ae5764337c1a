"""No property test may fail because a machine is slow: the profile in tests/conftest.py alone says how long an example may take."""

from __future__ import annotations

import ast

import hypothesis

from kit.sources import ROOT, files

PROFILE = "tests/conftest.py"


def test_an_example_may_take_as_long_as_it_takes() -> None:
    assert hypothesis.settings.default is not None
    assert hypothesis.settings.default.deadline is None
    assert hypothesis.settings(max_examples=5).deadline is None, "what a test sets beside it keeps the profile's deadline"
    assert hypothesis.HealthCheck.too_slow in hypothesis.settings(max_examples=5).suppress_health_check


def test_no_test_sets_a_deadline_of_its_own() -> None:
    found = []
    for path in files("tests"):
        file = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), file)):
            if isinstance(node, ast.Call) and "settings" in ast.unparse(node.func) and file != PROFILE:
                found += [f"{file}:{node.lineno}" for keyword in node.keywords if keyword.arg == "deadline"]
    assert not found, "the profile in tests/conftest.py has the deadline of all: " + ", ".join(found)
