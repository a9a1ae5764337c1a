"""A wall clock for one process that a test sets while the process runs; its monotonic clock stays right."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock_shim.c")
CACHE = Path(__file__).parents[2] / ".cache"


class WrongClock:
    """`environment` goes into the process; `set` takes effect at its next look at the clock."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)
        self.environment = {"LD_PRELOAD": str(_library()), "CLOCK_SHIM": str(file)}

    def set(self, offset_ms: int) -> None:
        """Be wrong by so much."""
        made = self._file.with_suffix(".new")
        made.write_text(str(offset_ms))
        made.rename(self._file)


def _library() -> Path:
    """The shim, compiled once for each version of its source. Needs a C compiler."""
    target = CACHE / f"clock-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.so"
    if not target.exists():
        CACHE.mkdir(exist_ok=True)
        made = target.with_suffix(".making")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(made), str(SOURCE), "-ldl"], check=True)
        made.rename(target)
    return target
