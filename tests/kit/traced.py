"""A process under strace: what it writes to one file and when it syncs it, and system calls that fail or end the process.

Needs strace, and the right to trace one's own children.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"(?P<pid>\d+) +(?P<at>\d+\.\d+) (?P<text>.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_WRITE = re.compile(r"pwrite64\(\d+, .*, (?P<size>\d+), (?P<offset>\d+)\) += \d+")
_SYNC = re.compile(r"f(data)?sync\(\d+\) += 0")
_UNFINISHED = " <unfinished ...>"


def command(log: Path, file: Path, traced: list[str], inject: str = "") -> list[str]:
    """`traced` under strace, with its writes and syncs of `file` in `log`; `inject` is what happens to them, in strace's words."""
    options = ["-f", "-qq", "-ttt", "-s", "0", "-o", str(log), "-P", str(file), "-e", "trace=pwrite64,fdatasync,fsync"]
    return ["strace", *options, *(["-e", f"inject={inject}"] if inject else []), *traced]


def injected(log: Path) -> int:
    """How often strace has failed or ended something."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return text.count("(INJECTED)") + text.count("+++ killed by")


def traced_pid(strace: int) -> int:
    """The process that this strace runs."""
    return int(Path(f"/proc/{strace}/task/{strace}/children").read_text().split()[0])


@dataclass(frozen=True, slots=True)
class Write:
    """What was written, and not synced since."""

    at_s: float
    offset: int
    size: int


def unsynced(logs: list[Path]) -> list[Write]:
    """The writes that no sync has followed, whoever made either. A sync counts from when it was called, and once it has returned."""
    writes: list[Write] = []
    last_sync_s = 0.0
    for log in logs:
        begun: dict[str, tuple[float, str]] = {}
        for line in log.read_text(errors="replace").splitlines():
            found = _LINE.match(line)
            if found is None:
                continue
            pid, at_s, text = found["pid"], float(found["at"]), found["text"]
            if text.endswith(_UNFINISHED):
                begun[pid] = (at_s, text.removesuffix(_UNFINISHED))
                continue
            if (resumed := _RESUMED.match(text)) is not None and pid in begun:
                at_s, text = begun[pid][0], begun.pop(pid)[1] + resumed[1]
            if (write := _WRITE.match(text)) is not None:
                writes.append(Write(at_s, int(write["offset"]), int(write["size"])))
            elif _SYNC.match(text):
                last_sync_s = max(last_sync_s, at_s)
        writes += [
            Write(at_s, int(one["offset"]), int(one["size"]))
            for at_s, text in begun.values()
            if (one := re.match(r"pwrite64\(\d+, .*, (?P<size>\d+), (?P<offset>\d+)", text)) is not None
        ]
    return [write for write in writes if write.at_s > last_sync_s]
