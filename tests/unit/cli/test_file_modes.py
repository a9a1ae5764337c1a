"""Who may read what lies on disk: what workflows were given and what they answered is there in the clear."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.media import InFile, append
from perdure_platform.cli.store_directory import held_directory
from perdure_platform.store.rocks import RocksStores


@pytest.fixture(params=[0o000, 0o022])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_a_log_in_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    medium = InFile(tmp_path / "log.db")
    log = medium.open()
    append(log, medium.topic(log, 1), [b"value"])
    found = {path.name: mode(path) for path in tmp_path.iterdir()}
    assert {"log.db", "log.db-wal", "log.db-shm"} < set(found)
    assert set(found.values()) == {0o600}, found
    medium.close()


@pytest.mark.usefixtures("umask")
def test_the_directory_of_stores_is_its_owners_alone(tmp_path: Path) -> None:
    with held_directory(tmp_path / "held") as directory:
        assert mode(directory) == 0o700
    RocksStores(tmp_path / "stores").open(0).close()
    assert mode(tmp_path / "stores") == 0o700
