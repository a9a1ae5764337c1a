"""How readers in other processes hear of a commit: a file beside the log that is touched after each, and watched by the kernel for us.

Only a hint: who hears nothing looks at the log every so often all the same, and where the system offers no such watch (Linux does),
readers take short naps.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import sys
import time
from pathlib import Path

_LOOK_S = 0.05
"""A writer may die between its commit and the bell; and a member looks after its share this often."""
_NAP_FIRST_S = 0.0002
_NAP_LAST_S = 0.002
_NAP_GROWTH = 1.25

_IN_MODIFY = 0x2


class Bell:
    """The writer's side. The file is made when it is first rung or heard."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def ring(self) -> None:
        """Tell everybody that there is something new."""
        with contextlib.suppress(OSError):  # a full disk must not make a commit look failed
            os.pwrite(self._fd, b"!", 0)

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)


class Ear:
    """The reader's side: waits for the bell. It hears every ring since it was made or last waited."""

    def __init__(self, path: Path) -> None:
        Bell(path).close()
        self._fd = _watch(path)
        self._nap_s = _NAP_FIRST_S
        self._poll = select.poll() if self._fd is not None else None
        if self._poll is not None and self._fd is not None:
            self._poll.register(self._fd, select.POLLIN)

    def rest(self) -> None:
        """Something was there: the next one may follow at once."""
        self._nap_s = _NAP_FIRST_S

    def wait(self, timeout_s: float) -> None:
        """Return when the bell was rung, and at the latest after `timeout_s` or when it is time to look anyway."""
        if self._poll is None or self._fd is None:
            time.sleep(min(self._nap_s, timeout_s))
            self._nap_s = min(self._nap_s * _NAP_GROWTH, _NAP_LAST_S)
        elif self._poll.poll(min(timeout_s, _LOOK_S) * 1000):
            with contextlib.suppress(BlockingIOError):
                os.read(self._fd, 4096)

    def close(self) -> None:
        """Release the watch."""
        fd, self._fd, self._poll = self._fd, None, None
        if fd is not None:
            os.close(fd)


def _watch(path: Path) -> int | None:
    """A descriptor that is readable when the file was written to; None where the system has none to give."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        return None  # this user has used up its watches: naps do as well
    if libc.inotify_add_watch(fd, os.fsencode(path), _IN_MODIFY) < 0:
        code = ctypes.get_errno()
        os.close(fd)
        if code in (errno.ENOSPC, errno.ENOSYS):
            return None
        raise OSError(code, os.strerror(code), str(path))
    return fd
