"""On the SQLite log, a member whose process has ended is replaced at once, and one that only stands still is not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure._log.address import open_log
from perdure._log.port import Log
from perdure._log.sqlite import presence
from perdure_schemas.topics import TopicSpec

SESSION_MS = 600_000
"""So long that nobody lives to see it run out here."""
STANDS_STILL_S = 1.0
PATIENCE_S = 60


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/log.db"


@pytest.fixture
def log(url: str) -> Iterator[Log]:
    opened = open_log(url)[0]
    opened.create_topics([TopicSpec("topic", 2)], 10_000)
    yield opened
    opened.close()


@pytest.fixture
def other(url: str, log: Log) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "kit.log_process", url, "lead", "group", "topic", str(SESSION_MS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    assert process.stdout is not None
    assert process.stdout.readline() == "0,1\n"
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    process.stdout.close()


def until(is_reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def files(tmp_path: Path) -> list[str]:
    return [path.name for path in tmp_path.glob("log.db-member-*")]


def test_a_killed_process_is_replaced_long_before_its_session_ends(log: Log, other: subprocess.Popen[str], tmp_path: Path) -> None:
    member = log.membership("group", "topic", SESSION_MS)
    until(lambda: len(member.poll()) == 1)
    other.kill()
    until(lambda: member.poll() == {0, 1})
    assert len(files(tmp_path)) == 1, "the file of the dead is removed"
    member.leave()
    assert files(tmp_path) == []


def test_who_comes_after_a_killed_process_takes_its_place_at_once(log: Log, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()
    member = log.membership("group", "topic", SESSION_MS)
    until(lambda: member.poll() == {0, 1})
    member.leave()


def test_a_process_that_stands_still_keeps_what_it_has_until_its_session_ends(log: Log, other: subprocess.Popen[str]) -> None:
    member = log.membership("group", "topic", SESSION_MS)
    until(lambda: len(member.poll()) == 1)
    other.send_signal(signal.SIGSTOP)
    ends = time.monotonic() + STANDS_STILL_S
    while time.monotonic() < ends:
        assert len(member.poll()) == 1
        time.sleep(0.01)
    member.leave()


def test_members_of_one_process_are_told_apart(log: Log) -> None:
    members = [log.membership("group", "topic", SESSION_MS) for _ in range(2)]
    until(lambda: [len(member.poll()) for member in members] == [1, 1])
    members[0].leave()
    until(lambda: members[1].poll() == {0, 1})
    members[1].leave()


def test_the_file_of_somebody_gone_is_swept_and_that_of_somebody_present_is_not(tmp_path: Path) -> None:
    database = tmp_path / "log.db"
    there = presence.Presence(database, "there")
    (tmp_path / "log.db-member-gone").touch()
    assert presence.is_dead(database, "gone")
    assert not presence.is_dead(database, "there")
    assert not presence.is_dead(database, "an older build, which has no file")
    (tmp_path / "log.db-member-known").touch()
    presence.sweep(database, {"known"})
    assert sorted(files(tmp_path)) == ["log.db-member-known", "log.db-member-there"]
    presence.forget(database, "known")
    assert files(tmp_path) == ["log.db-member-there"]
    there.leave()
    assert files(tmp_path) == []
