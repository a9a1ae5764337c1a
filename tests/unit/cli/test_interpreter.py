"""Which interpreter `make` takes, and what benchmarks say about the one that runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kit.sources import ROOT
from perdure_platform.ops.bench.interpreter import is_profile_guided, this_one

WOULD_USE = {"PGO_PROF_USE_FLAG": "-fprofile-use -fprofile-correction", "CONFIG_ARGS": "'--prefix=/opt/python'", "PY_CFLAGS": "-O3"}
"""The variables of a build without a profile: the flag that it would have used is there all the same."""


@pytest.mark.parametrize(
    ("variables", "schemes", "expected"),
    [
        (WOULD_USE, ("posix_prefix", "venv"), False),
        ({}, (), False),
        ({**WOULD_USE, "CONFIG_ARGS": "'--enable-optimizations' '--with-lto'"}, ("posix_prefix",), True),
        ({**WOULD_USE, "PY_CFLAGS_NODIST": "-std=c11 -fprofile-use -fprofile-correction"}, ("posix_prefix",), True),
        ({**WOULD_USE, "PY_CFLAGS": "-fprofile-instr-use=code.profclangd"}, ("posix_prefix",), True),
        ({**WOULD_USE, "PGO_PROF_USE_FLAG": ""}, ("deb_system", "posix_prefix"), True),
    ],
)
def test_a_build_is_profile_guided_if_it_used_a_profile(variables: dict[str, object], schemes: tuple[str, ...], expected: bool) -> None:
    assert is_profile_guided(variables, schemes) is expected


def interpreter(directory: Path, name: str, built: str, *, version_ok: bool = True) -> Path:
    """An interpreter in a directory of PATH: it answers for the version, and for its build where the file that tells is run."""
    directory.mkdir(exist_ok=True)
    path = directory / name
    answers = {"profile": 0, "plain": 1}
    path.write_text(f"#!/bin/sh\ncase $1 in *interpreter.py) exit {answers[built]};; esac\nexit {0 if version_ok else 1}\n")
    path.chmod(0o755)
    return path


def chosen(*directories: Path) -> str:
    path = ":".join(map(str, (*directories, "/nowhere")))
    command = ["make", "--silent", "--eval=which: ; @printf '%s' \"$(PYTHON)\"", "which"]
    make = subprocess.run(["/bin/sh", "-c", "command -v make"], check=True, capture_output=True, text=True).stdout.strip()
    finished = subprocess.run([make, *command[1:]], cwd=ROOT, check=True, capture_output=True, text=True, env={"PATH": path})
    return finished.stdout


def test_make_prefers_a_profile_guided_interpreter_to_an_earlier_one(tmp_path: Path) -> None:
    plain = interpreter(tmp_path / "a", "python3.11", "plain")
    assert chosen(tmp_path / "a") == str(plain)
    interpreter(tmp_path / "a", "python3.12", "plain")
    assert chosen(tmp_path / "a") == str(plain)
    better = interpreter(tmp_path / "b", "python3.12", "profile")
    assert chosen(tmp_path / "a", tmp_path / "b") == str(better)
    best = interpreter(tmp_path / "b", "python3.11", "profile")
    assert chosen(tmp_path / "a", tmp_path / "b") == str(best)


def test_make_takes_no_interpreter_that_is_too_old(tmp_path: Path) -> None:
    interpreter(tmp_path / "a", "python3", "profile", version_ok=False)
    assert chosen(tmp_path / "a") == ""


def test_a_benchmark_names_the_interpreter_that_runs_it() -> None:
    line, good = this_one()
    assert sys.version.split()[0] in line
    assert str(Path(sys.executable).resolve()) in line
    assert ("profile-guided" in line) is good
