"""A row of the fault matrix as a test runs it: what was injected, how often, what went on meanwhile, and the line of the report."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kit.namespace import Namespace

REPORT = Path(os.environ.get("PERDURE_FAULTS_REPORT", Path(__file__).parents[2] / ".cache" / "faults.jsonl"))


@dataclass
class Row:
    """One run of one row; a test that injects nothing fails."""

    test: str
    names: str = ""
    injection: str = ""
    injections: int = 0
    during: int = 0
    """Operations of the drivers that came to an outcome while the fault was there."""
    ok: int = 0
    unknown: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    verdict: str = "failed"
    seconds: float = 0.0

    def injects(self, names: str, injection: str) -> None:
        """Say which rows of the matrix this is, and what it does."""
        self.names, self.injection = names, injection

    def injected(self, times: int = 1) -> None:
        """Count what was injected."""
        self.injections += times

    @contextmanager
    def fault(self, namespace: Namespace) -> Iterator[None]:
        """While the fault is there; counts the operations that succeed meanwhile."""
        before = namespace.told()["ok"]
        yield
        self.during += namespace.told()["ok"] - before

    def count(self, namespace: Namespace) -> None:
        """Take over what the drivers have recorded."""
        phases = namespace.told()
        self.ok += phases["ok"]
        self.unknown += phases["unknown"]

    def write(self) -> None:
        """Append the line of the report."""
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        with REPORT.open("a", encoding="utf-8") as report:
            report.write(json.dumps(asdict(self)) + "\n")


def table() -> list[str]:
    """The report as lines of text; none without rows."""
    rows = [json.loads(line) for line in REPORT.read_text(encoding="utf-8").splitlines()] if REPORT.exists() else []
    head = f"{'row':12} {'verdict':8} {'injected':>8} {'ok':>6} {'unknown':>7} {'during':>6} {'seconds':>7}  injection"
    return [head] * bool(rows) + [
        *(
            f"{row['names']:12} {row['verdict']:8} {row['injections']:8} {row['ok']:6} {row['unknown']:7} {row['during']:6} "
            f"{row['seconds']:7.1f}  {row['injection']} {row['figures'] or ''}"
            for row in rows
        ),
    ]


@contextmanager
def timed(row: Row) -> Iterator[Row]:
    """Run a row; its line is written whatever becomes of it."""
    began = time.monotonic()
    try:
        yield row
    finally:
        row.seconds = round(time.monotonic() - began, 1)
        row.write()
