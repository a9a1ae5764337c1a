"""The one place where the SDK reaches for the platform: a worker with workflows is an owner as well (design.md 6)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from perdure._log.port import Log
from perdure._replay.host import WorkflowHost


class Owner(Protocol):
    """An owner of partitions that runs in a thread of this process."""

    failure: Exception | None
    """Why it ended by itself, if it has."""

    def start(self) -> None:
        """Start its thread."""

    def wait_ready(self, timeout_ms: int) -> bool:
        """Wait until it serves what it has been given, or has failed; False if that took longer."""

    async def stop(self, timeout_ms: int) -> None:
        """Hand its partitions over and end its thread."""


def make_owner(
    log: Log,
    namespace: str,
    host: WorkflowHost,
    *,
    store_directory: Path | None,
    identity: str,
    session_timeout_ms: int,
    token_keys: Path | None,
    cached_runs_max: int | None = None,
) -> Owner:
    """An owner that is not started yet. Raises ImportError where the platform is not installed."""
    from perdure_platform.config import DEFAULT_LIMITS
    from perdure_platform.node.embedded import EmbeddedOwner

    return EmbeddedOwner(
        log,
        namespace,
        host,
        store_directory=store_directory,
        identity=identity,
        session_timeout_ms=session_timeout_ms,
        token_keys=token_keys,
        limits=DEFAULT_LIMITS if cached_runs_max is None else replace(DEFAULT_LIMITS, cached_runs_max=cached_runs_max),
    )
