"""What processes hold over time: memory, descriptors, threads; and whether it grows."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sample:
    """What one process held at one moment (of time.monotonic)."""

    at_s: float
    resident_kb: int
    descriptors: int
    threads: int


@dataclass
class Watched:
    """One process and its samples."""

    role: str
    pid: int
    samples: list[Sample] = field(default_factory=list)

    def look(self) -> None:
        """Take a sample; of a process that is gone, none."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
            descriptors = len(os.listdir(f"/proc/{self.pid}/fd"))
        except OSError:
            return
        found = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if "VmRSS" in found:
            self.samples.append(Sample(time.monotonic(), int(found["VmRSS"].split()[0]), descriptors, int(found["Threads"])))

    def resident_mb(self) -> list[int]:
        """Its memory in each minute of its life."""
        by_minute = {int((one.at_s - self.samples[0].at_s) / 60): one.resident_kb // 1024 for one in self.samples}
        return [mb for _, mb in sorted(by_minute.items())]

    def slopes(self, since_s: float, until_s: float) -> dict[str, float] | None:
        """Growth per minute of each, over the samples of a time; None where the process was not there for most of it."""
        samples = [one for one in self.samples if since_s <= one.at_s <= until_s]
        if len(samples) < 5 or samples[-1].at_s - samples[0].at_s < 0.8 * (until_s - since_s):
            return None
        minutes = [(one.at_s - since_s) / 60 for one in samples]
        return {
            "resident_kb": slope(minutes, [one.resident_kb for one in samples]),
            "descriptors": slope(minutes, [one.descriptors for one in samples]),
            "threads": slope(minutes, [one.threads for one in samples]),
            "resident_kb_last": samples[-1].resident_kb,
        }


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Least squares: how much y grows for each x."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((one - mean_x) ** 2 for one in x)
    return round(sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread, 2) if spread else 0.0


def disk_kb(directory: Path) -> int:
    """What lies in a directory, as blocks."""
    total = 0
    for place, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.stat(Path(place) / name).st_blocks // 2
            except OSError:  # gone meanwhile
                continue
    return total
