"""What processes hold over time: memory, descriptors, threads; and whether it grows."""

from __future__ import annotations

import os
import time
from collections import Counter
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
    kinds: Counter[str]
    """Threads by name and descriptors by what they are of, so that what grows has a name."""


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
            kinds = kinds_of(self.pid)
        except OSError:
            return
        found = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if "VmRSS" in found:
            self.samples.append(Sample(time.monotonic(), int(found["VmRSS"].split()[0]), descriptors, int(found["Threads"]), kinds))

    def resident_mb(self) -> list[int]:
        """Its memory in each minute of its life."""
        by_minute = {int((one.at_s - self.samples[0].at_s) / 60): one.resident_kb // 1024 for one in self.samples}
        return [mb for _, mb in sorted(by_minute.items())]

    def more_of(self, since_s: float) -> dict[str, tuple[int, int]]:
        """Which kinds of threads and descriptors it had another number of in the end than at a moment: then and now."""
        then, now = next(one.kinds for one in self.samples if one.at_s >= since_s), self.samples[-1].kinds
        return {kind: (then[kind], now[kind]) for kind in sorted(then | now) if then[kind] != now[kind]}

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


def kinds_of(pid: int) -> Counter[str]:
    """The threads of a process by their names, and its descriptors by what they are of. Raises OSError when it is gone."""
    kinds: Counter[str] = Counter()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            kinds[f"thread {(thread / 'comm').read_text().strip()}"] += 1
        except OSError:  # ended meanwhile
            continue
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        kind = target.partition(":")[0] if not target.startswith("/") else f"file *{Path(target).suffix}"
        kinds[f"descriptor {kind}"] += 1
    return kinds


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
