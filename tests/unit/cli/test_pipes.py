"""Whoever reads a command's output may leave before its end, as `head` does: the command ends quietly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit.shell import PERDURE

CHECK = (sys.executable, "-m", "perdure_check.cli")


def left_alone(directory: Path, *command: str) -> tuple[int, str]:
    """Run a command whose reader has gone; its exit code, and what it says elsewhere."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        finished = subprocess.run(command, cwd=directory, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=100, check=False)
    finally:
        os.close(writing)
    return finished.returncode, finished.stderr


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the log of an empty namespace."""
    made = tmp_path_factory.mktemp("pipes")
    subprocess.run([*PERDURE, "namespace", "create"], cwd=made, check=True, timeout=100, capture_output=True)
    return made


@pytest.mark.parametrize("typed", ["--help", "--version", "workflow list --help", "namespace describe", "namespace describe --json"])
def test_a_command_whose_reader_has_gone_ends_quietly(directory: Path, typed: str) -> None:
    assert left_alone(directory, *PERDURE, *typed.split()) == (141, "")


@pytest.mark.parametrize("typed", ["--help", "", "--json"])
def test_the_checker_does_too(directory: Path, typed: str) -> None:
    assert left_alone(directory, *CHECK, *typed.split()) == (141, "")


def test_a_disk_that_is_full_is_told_in_one_line(directory: Path) -> None:
    with Path("/dev/full").open("w") as full:
        finished = subprocess.run(
            [*PERDURE, "namespace", "describe"], cwd=directory, stdout=full, stderr=subprocess.PIPE, text=True, timeout=100, check=False
        )
    assert (finished.returncode, finished.stderr) == (1, "perdure: No space left on device\n")
