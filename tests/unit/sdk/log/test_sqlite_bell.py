"""Readers hear of a commit at once where the system can tell them, and soon where it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kit.media import append, read_from
from perdure._log.sqlite import SqliteLog, bell
from perdure._log.sqlite.bell import Bell, Ear
from perdure_schemas.topics import TopicSpec

FOREVER_S = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db-bell"


@pytest.fixture
def no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks without having been told."""
    monkeypatch.setattr(bell, "_LOOK_S", FOREVER_S)


@pytest.mark.usefixtures("no_look")
def test_a_ring_before_the_wait_is_heard(path: Path) -> None:
    ear = Ear(path)
    Bell(path).ring()
    began = time.monotonic()
    ear.wait(FOREVER_S)
    assert time.monotonic() - began < FOREVER_S / 2


@pytest.mark.usefixtures("no_look")
def test_a_ring_of_another_process_is_heard_by_every_ear(path: Path) -> None:
    ears = [Ear(path), Ear(path)]
    heard = [threading.Thread(target=ear.wait, args=(FOREVER_S,)) for ear in ears]
    for thread in heard:
        thread.start()
    subprocess.run([sys.executable, "-c", "import sys; open(sys.argv[1], 'r+b', 0).write(b'!')", path], check=True)
    for thread in heard:
        thread.join(FOREVER_S / 2)
    assert not any(thread.is_alive() for thread in heard)


def test_without_a_ring_it_is_soon_time_to_look(path: Path) -> None:
    ear = Ear(path)
    began = time.monotonic()
    ear.wait(FOREVER_S)
    assert time.monotonic() - began < FOREVER_S / 2


def test_where_the_system_has_no_watch_readers_nap_and_find_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    log = SqliteLog(tmp_path / "log.db")
    log.create_topics([TopicSpec("t", 1)], 5000)
    append(log, "t", [b"a"])
    assert [record.value for record in read_from(log, {("t", 0): 0}, 1)] == [b"a"]
    log.close()


def test_a_bell_that_cannot_be_made_is_told_with_its_place(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    (tmp_path / "log.db-bell").mkdir()
    with pytest.raises(Exception, match=r"log\.db-bell cannot be used"):
        log.consumer()
    log.close()


def test_an_ear_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    log.consumer().close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        log.consumer().close()
    assert len(os.listdir("/proc/self/fd")) <= before
    log.close()
