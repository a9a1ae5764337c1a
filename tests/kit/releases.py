"""The release after this one, for tests that roll from one to the other: this code in a directory of its own, with a later format level."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from perdure_platform.partition.decode import FORMAT_LEVEL

ROOT = Path(__file__).parents[2]
TREES = ("schemas", "sdk", "platform")
NEXT_LEVEL = FORMAT_LEVEL + 1


@dataclass(frozen=True, slots=True)
class Release:
    """Where a release lies."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """Makes a process of the tests one of this release."""
        return {"PYTHONPATH": ":".join(str(place) for place in (*(self.directory / tree for tree in TREES), ROOT / "tests"))}


def next_release(directory: Path, *, records: bool = False, writes: bool = False) -> Release:
    """One that reads the next format level; with `records`, each partition that it leads says that its owners must; with `writes`,
    it sends its commands in it."""
    for tree in TREES:
        shutil.copytree(ROOT / tree, directory / tree, ignore=shutil.ignore_patterns("__pycache__"))
    _change(directory / "platform/perdure_platform/__init__.py", "__version__ = ", '__version__ = "next"  # ')
    _change(directory / "platform/perdure_platform/partition/decode.py", f"FORMAT_LEVEL = {FORMAT_LEVEL}", f"FORMAT_LEVEL = {NEXT_LEVEL}")
    level = f"format_level: int = {FORMAT_LEVEL}\n"
    if records:
        _change(directory / "platform/perdure_platform/config.py", level, f"format_level: int = {NEXT_LEVEL}\n")
    if writes:
        _change(directory / "schemas/perdure_schemas/commands.py", level, f"format_level: int = {NEXT_LEVEL}\n")
    return Release(directory)


def _change(place: Path, before: str, after: str) -> None:
    text = place.read_text("utf-8")
    assert text.count(before) == 1, f"{place.name} does not say {before!r} once: this release is not made as it was"
    place.write_text(text.replace(before, after), "utf-8")
