"""Other versions of Python on this machine: a history that one wrote must replay on all."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MINORS = range(11, 15)
"""Minor versions of Python 3 that Perdure runs on."""

VARIABLE = "PERDURE_TEST_PYTHONS"
"""Interpreters to use beside those that are found, as in PATH."""

HOW = f"""no second version of Python was found, so nothing shows that a history of one version replays on another.
Install one of {", ".join(f"python3.{minor}" for minor in MINORS)} (with the system's packages, pyenv or uv) beside
{sys.version.split()[0]}, or name its executable in {VARIABLE}"""


def _candidates() -> Iterator[Path]:
    """The system's, pyenv's and uv's; the newest of a minor version first."""
    yield from map(Path, filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)))
    home = Path.home()
    places = [Path(os.environ.get("PYENV_ROOT", home / ".pyenv")) / "versions", home / ".local" / "share" / "uv" / "python"]
    for minor in MINORS:
        named = shutil.which(f"python3.{minor}")
        if named is not None:
            yield Path(named)
        folders = itertools.chain.from_iterable(place.glob(f"*3.{minor}.*") for place in places)
        yield from sorted((folder / "bin" / "python3" for folder in folders), key=_patch, reverse=True)


def _patch(executable: Path) -> int:
    digits = "".join(itertools.takewhile(str.isdigit, executable.parents[1].name.partition("3.")[2].partition(".")[2]))
    return int(digits or 0)


def _version(executable: Path) -> str:
    """Its full version, or nothing where it does not run: pyenv puts names into PATH that lead nowhere."""
    program = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    try:
        ran = subprocess.run([executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    except OSError:
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""


def interpreters() -> dict[str, Path]:
    """This interpreter and one of each minor version of Python 3 that is installed beside it, by full version.

    Raises RuntimeError where there is no other minor version.
    """
    own = ".".join(map(str, sys.version_info[:3]))
    found = {own: Path(sys.executable)}
    minors = {sys.version_info[1]}
    for executable in _candidates():
        version = _version(executable)
        minor = int(version.split(".")[1]) if version.startswith("3.") else 0
        if minor in MINORS and minor not in minors:
            found[version] = executable
            minors.add(minor)
    if len(found) == 1:
        raise RuntimeError(HOW)
    return found
