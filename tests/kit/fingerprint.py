"""One hash over everything that a schedule appends to its log, in order: what follows from a seed alone has the same one everywhere.

python -m kit.fingerprint owners|real STEPS SEED...     prints a hash for each seed
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from kit.chooser import Tape
from kit.schedules import scheduled
from perdure._log.port import Record


def fingerprint(source: int | Tape, steps: int, *, is_real: bool = False) -> str:
    """Run the schedule of a seed or of a tape; the hash, whether it keeps every promise or not."""
    schedule = scheduled(source, steps, is_real=is_real)
    watch, found = schedule.world.medium.watch, hashlib.blake2b(digest_size=16)

    def landed(record: Record) -> None:
        found.update(repr(record).encode())
        watch(record)

    schedule.world.medium.watch = landed
    try:
        schedule.run()
    except Exception as error:
        found.update(repr(error).encode())
    return found.hexdigest()


def fingerprints_elsewhere(seeds: Iterable[int], steps: int, hash_seed: int, *, is_real: bool = False) -> list[str]:
    """The same from a process of its own, in which sets and dictionaries of strings have another order."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "kit.fingerprint", "real" if is_real else "owners", str(steps), *map(str, seeds)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    for one in sys.argv[3:]:
        print(fingerprint(int(one), int(sys.argv[2]), is_real=sys.argv[1] == "real"), flush=True)
