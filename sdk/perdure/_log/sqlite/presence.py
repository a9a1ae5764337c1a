"""How a member's death is seen at once: a file beside the log for each member, locked for as long as its process lives.

Only a hint, like all membership. The system drops the lock with the process, however that ends; a process that is stopped (SIGSTOP) or
stuck keeps it, and a child that it has forked may keep it too: then the lease decides, as it does where there is no file. The locks are
those of `flock`, which belong to the open file: a file that the same process opens and closes elsewhere does not drop them.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
from collections.abc import Collection
from pathlib import Path


class Presence:
    """A member's own lock. Without one (the system has no such locks) others go by the lease."""

    def __init__(self, database: Path, member: str) -> None:
        self._path = _file_of(database, member)
        self._fd = _locked(self._path)

    def leave(self) -> None:
        """Give the lock up."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._fd)
            self._fd = None


def is_dead(database: Path, member: str) -> bool:
    """Whether the member's process is known to have ended."""
    return _is_let_go(_file_of(database, member))


def forget(database: Path, member: str) -> None:
    """Remove the file of a member that is gone."""
    with contextlib.suppress(OSError):
        _file_of(database, member).unlink()


def sweep(database: Path, known: Collection[str]) -> None:
    """Remove the files of those who are gone and whom nobody knows; the others' files tell of their deaths."""
    for path in database.parent.glob(f"{glob.escape(database.name)}-member-*"):
        if path.name.rpartition("-member-")[2] not in known and _is_let_go(path):
            with contextlib.suppress(OSError):
                path.unlink()


def _file_of(database: Path, member: str) -> Path:
    return database.with_name(f"{database.name}-member-{member}")


def _locked(path: Path) -> int | None:
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # somebody who looks holds it for a moment at most
            if path.exists() and os.fstat(fd).st_ino == path.stat().st_ino:
                return fd
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()  # a file without a lock would tell of a death
            os.close(fd)
            return None
        os.close(fd)  # it was taken for the file of somebody gone before it was locked


def _is_let_go(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
