"""A store directory that cannot be written ends the start of an owner with an error of its own type, which names the directory."""

from pathlib import Path

import pytest

from perdure import workflow
from perdure._log.memory import MemoryLog
from perdure._replay.runtime import CodeHost
from perdure_platform.node.embedded import EmbeddedOwner
from perdure_platform.store.port import StoreUnavailable


@workflow.defn
class Idle:
    @workflow.run
    async def run(self) -> None: ...


@pytest.mark.parametrize("place", ["a-file", "a-file/below", "/proc/no-such-place/store"])
def test_an_owner_with_such_a_store_does_not_start(tmp_path: Path, place: str) -> None:
    (tmp_path / "a-file").touch()
    owner = EmbeddedOwner(MemoryLog(), "default", CodeHost([Idle]), store_directory=tmp_path / place)
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        owner.start()
    assert not owner.is_running


async def test_an_owner_whose_store_is_absent_makes_it(tmp_path: Path) -> None:
    owner = EmbeddedOwner(MemoryLog(), "default", CodeHost([Idle]), store_directory=tmp_path / "a" / "b")
    owner.start()
    await owner.stop()
    assert (tmp_path / "a" / "b").is_dir()
