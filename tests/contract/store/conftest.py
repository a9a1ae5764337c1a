"""The contract of the Store port, asked of each adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure_platform.store.memory import MemoryStores
from perdure_platform.store.port import StoreProvider
from perdure_platform.store.rocks import RocksStores


@pytest.fixture(params=["memory", "rocks"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> StoreProvider:
    return MemoryStores() if request.param == "memory" else RocksStores(tmp_path / "stores")
