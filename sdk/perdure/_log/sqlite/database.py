"""The file: how it is opened and checked, its tables, and SQLite's errors as the Log's.

Rows of `batch` are what one producer's log took in one commit for one partition, packed (`batches.py`): reading and writing many
records is then one step of SQLite. A step hands the interpreter's lock to whoever waits for it, so a step per record would cost
milliseconds per record beside a busy thread.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import apsw

from perdure._log.errors import LogClosed, LogDamaged, LogError, LogMisconfigured, LogUnavailable
from perdure._log.sqlite.bell import Bell, Ear

T = TypeVar("T")

SQLITE_MINIMUM = (3, 51, 3)
"""The first release without the race between two connections that reset the write-ahead log, which can damage the file."""

BUSY_TIMEOUT_MS = 10_000
"""How long another process may hold the file before that is an error."""

_APPLICATION_ID = 0x50455244
_FORMAT = 1
_BUSY_NAP_S = 0.0005
_CHECKPOINT_PAGES = 4000
_WAL_BYTES_KEPT = 64 * 1024 * 1024
_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "fuse.s3fs"}
)

_TABLES = f"""
CREATE TABLE topic(
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, topic_id TEXT NOT NULL, settings TEXT NOT NULL);
CREATE TABLE partition(
    id INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER NOT NULL REFERENCES topic, partition INTEGER NOT NULL,
    start_offset INTEGER NOT NULL DEFAULT 0, next_offset INTEGER NOT NULL DEFAULT 0, timestamp_ms INTEGER NOT NULL DEFAULT 0,
    UNIQUE(topic, partition));
CREATE TABLE batch(
    id INTEGER PRIMARY KEY, -- partition.id, then 40 bits of the first record's offset
    next_offset INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL, checksum INTEGER NOT NULL, records BLOB NOT NULL);
CREATE TABLE member(
    joined INTEGER PRIMARY KEY AUTOINCREMENT, grp TEXT NOT NULL, name TEXT NOT NULL, session_timeout_ms INTEGER NOT NULL,
    lease_until_ms INTEGER NOT NULL, UNIQUE(grp, name));
CREATE TABLE holding(
    grp TEXT NOT NULL, partition INTEGER NOT NULL, member TEXT, generation INTEGER NOT NULL, PRIMARY KEY(grp, partition)) WITHOUT ROWID;
CREATE TABLE committed(
    grp TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL, PRIMARY KEY(grp, partition)) WITHOUT ROWID;
PRAGMA application_id={_APPLICATION_ID};
PRAGMA user_version={_FORMAT};
"""


@dataclass(frozen=True, slots=True)
class Database:
    """One file and how to open it. `url` is for messages."""

    path: Path
    url: str
    busy_timeout_ms: int = BUSY_TIMEOUT_MS

    def connect(self, busy_timeout_ms: int | None = None) -> apsw.Connection:
        """A connection for one thread. Raises LogError."""
        with self.errors():
            connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
            try:
                connection.set_busy_handler(_patience(self.busy_timeout_ms if busy_timeout_ms is None else busy_timeout_ms))
                connection.execute(
                    f"PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}; PRAGMA journal_size_limit={_WAL_BYTES_KEPT}"
                )
            except BaseException:
                connection.close()
                raise
            return connection

    def prepare(self) -> None:
        """Check that this file can be used, and make its tables if it is new. Raises LogMisconfigured, LogDamaged, LogUnavailable."""
        self._check_place()
        self._make_private()
        connection = self.connect()
        try:
            with self.errors():
                if application_id(connection) not in (0, _APPLICATION_ID):
                    raise LogMisconfigured(f"{self.url} is the SQLite database of another program; name another file")
                self._switch_to_wal(connection)
                with transaction(connection):
                    self._make_tables(connection)
                self._check_pages(connection)
        finally:
            with contextlib.suppress(apsw.Error):
                connection.close()

    def bell(self) -> Bell:
        """What a writer rings. Raises LogError."""
        return self._beside(Bell)

    def ear(self) -> Ear:
        """What a reader hears it with. Raises LogError."""
        return self._beside(Ear)

    def _beside(self, kind: Callable[[Path], T]) -> T:
        path = self.path.with_name(f"{self.path.name}-bell")
        try:
            return kind(path)
        except OSError as error:
            raise LogMisconfigured(
                f"{self.url}: {path} cannot be used ({error}); this user needs write access to it and to its directory"
            ) from error

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's errors into those of the Log."""
        try:
            yield
        except apsw.Error as error:
            raise self._mapped(error) from error

    def _check_place(self) -> None:
        found = tuple(int(number) for number in apsw.sqlite_lib_version().split("."))
        if found < SQLITE_MINIMUM:
            raise LogMisconfigured(
                f"SQLite {apsw.sqlite_lib_version()} can damage a file that several connections use; "
                f"{'.'.join(map(str, SQLITE_MINIMUM))} or later is needed: upgrade the package apsw"
            )
        directory = self.path.parent
        if not directory.is_dir():
            raise LogMisconfigured(f"{self.url}: the directory {directory} does not exist; make it, or name another file")
        if self.path.is_dir():
            raise LogMisconfigured(f"{self.url}: {self.path} is a directory; name a file in it")
        kind = file_system(directory)
        if kind in _NETWORK_FILE_SYSTEMS:
            raise LogMisconfigured(
                f"{self.url}: {directory} is on a network file system ({kind}), whose locks SQLite cannot rely on; "
                "use a local disk, or Kafka to share a log between machines"
            )

    def _make_private(self) -> None:
        """Make a new file for its owner's eyes only; SQLite gives its other files the same mode.

        One that is there is not opened: closing it would drop the locks of this process' other connections.
        """
        with contextlib.suppress(OSError):  # SQLite says better what is wrong with the place
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def _switch_to_wal(self, connection: apsw.Connection) -> None:
        deadline = time.monotonic() + self.busy_timeout_ms / 1000
        while True:  # SQLite does not call the busy handler for this switch
            try:
                mode = connection.execute("PRAGMA journal_mode=WAL").get
            except apsw.BusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_BUSY_NAP_S)
                continue
            if mode != "wal":
                raise LogMisconfigured(f"{self.url}: this place offers no write-ahead log (journal mode {mode}); use a local disk")
            return

    def _make_tables(self, connection: apsw.Connection) -> None:
        if application_id(connection) == 0:
            if connection.execute("SELECT count(*) FROM sqlite_schema").get:
                raise LogMisconfigured(f"{self.url} is the SQLite database of another program; name another file")
            connection.execute(_TABLES)
        version = connection.execute("PRAGMA user_version").get
        if version != _FORMAT:
            raise LogMisconfigured(f"{self.url} has format {version}, and this release reads {_FORMAT}; use the release that made the file")

    def _check_pages(self, connection: apsw.Connection) -> None:
        """A look at the tables that everything hangs on. Records carry checksums of their own."""
        connection.execute("SELECT count(*), sum(next_offset) FROM partition; SELECT max(id) FROM batch").fetchall()

    def _mapped(self, error: apsw.Error) -> LogError:
        match error:
            case apsw.BusyError() | apsw.LockedError():
                return LogUnavailable(
                    f"{self.url}: another process has held the file for more than {self.busy_timeout_ms} ms; "
                    "if one of its processes is stopped or hangs, end it"
                )
            case apsw.FullError():
                return LogUnavailable(f"{self.url}: the disk is full; make room and try again")
            case apsw.CorruptError() | apsw.NotADBError():
                return LogDamaged(f"{self.url}: the file is damaged ({error}); put a good copy in its place, it is not repaired by itself")
            case apsw.CantOpenError() | apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.AuthError():
                return LogMisconfigured(
                    f"{self.url}: the file cannot be opened for writing ({error}); this user needs write access to it and to its directory"
                )
            case apsw.ConnectionClosedError() | apsw.CursorClosedError():
                return LogClosed(f"{self.url}: used after close")
            case _:
                return LogUnavailable(f"{self.url}: {type(error).__name__}: {error}")


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """One write transaction, which waits for its turn at its beginning and never later."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            with contextlib.suppress(apsw.Error):
                connection.execute("ROLLBACK")


def application_id(connection: apsw.Connection) -> Any:
    """The number by which a file says whose it is; 0 for a new one."""
    return connection.execute("PRAGMA application_id").get


def file_system(directory: Path) -> str:
    """The kind of file system of a directory, where the system tells (Linux); else an empty string."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    place, best, kind = directory.resolve(), Path("/"), ""
    for mount in mounts:
        _, point, found, *_ = mount.split(" ")
        point_path = Path(point.replace("\\040", " "))
        if place.is_relative_to(point_path) and point_path.is_relative_to(best):
            best, kind = point_path, found
    return kind


def _patience(timeout_ms: int) -> Callable[[int], bool]:
    """A busy handler of short naps: SQLite's own grow to 100 ms, a hundred times what a commit takes."""
    deadline = 0.0

    def wait(attempt: int) -> bool:
        nonlocal deadline
        now = time.monotonic()
        if attempt == 0:
            deadline = now + timeout_ms / 1000
        if now >= deadline:
            return False
        time.sleep(_BUSY_NAP_S)
        return True

    return wait
