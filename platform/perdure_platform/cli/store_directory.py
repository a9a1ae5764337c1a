"""The directory of an owner's stores, held by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perdure_platform.cli.exits import ExitCode, fail


@contextmanager
def held_directory(path: Path) -> Iterator[Path]:
    """The directory, made if absent and locked for this process, so that no two owners write into one store."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds what workflows were given and what they answered
        lock_file = (path / "lock").open("a+")
    except OSError as error:
        fail(ExitCode.USAGE, f"the store directory {path} cannot be used: {error.strerror or error}", "name another with --store DIR")
    with lock_file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            fail(ExitCode.CONFLICT, f"the store directory {path} is in use by {holder}", "give each owner process a --store of its own")
        lock.truncate(0)
        lock.write(f"process {os.getpid()}")
        lock.flush()
        yield path
