"""Connecting: where to, and what is said when that cannot work."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from perdure.client import Client, LogMisconfigured


@pytest.fixture(autouse=True)
def _no_defaults_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PERDURE_LOG", raising=False)
    monkeypatch.delenv("PERDURE_NAMESPACE", raising=False)
    monkeypatch.chdir(tmp_path)


async def test_clients_of_one_memory_log_meet() -> None:
    url = f"memory://{uuid.uuid4().hex}"
    async with await Client.connect(url) as one, await Client.connect(url) as other:
        assert one.namespace == other.namespace == "default"
        assert one.connection.channel.address.client_id != other.connection.channel.address.client_id


async def test_address_and_namespace_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURE_LOG", "memory://from-the-environment")
    monkeypatch.setenv("PERDURE_NAMESPACE", "bank")
    async with await Client.connect() as client:
        assert client.connection.channel.log.url.startswith("memory://")
        assert client.namespace == "bank"


async def test_without_any_address_a_file_in_the_current_directory_is_the_log(tmp_path: Path) -> None:
    async with await Client.connect():
        assert (tmp_path / "perdure.db").exists()


async def test_an_unknown_scheme_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogMisconfigured, match="redis"):
        await Client.connect("redis://localhost")


async def test_an_unusable_namespace_is_refused() -> None:
    with pytest.raises(LogMisconfigured, match="'a b'"):
        await Client.connect("memory://x", namespace="a b")


async def test_a_client_names_its_process_unless_told_otherwise() -> None:
    async with await Client.connect("memory://x") as client, await Client.connect("memory://x", identity="me") as named:
        assert "@" in client.identity
        assert named.identity == "me"
