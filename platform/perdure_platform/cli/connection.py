"""Opens what a command works with, and closes it again."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

from perdure._log.address import open_log
from perdure._log.port import Log
from perdure._telemetry.setup import setup_from_environment
from perdure.client import Client
from perdure_platform.cli.exits import ExitCode, fail
from perdure_platform.cli.options import DEFAULT_NAMESPACE

CONNECT_TIMEOUT = timedelta(seconds=10)
"""What a command gives the log to answer for the first time, if it has that long."""


@contextmanager
def opened_log(url: str, namespace: str | None = None) -> Iterator[tuple[Log, str]]:
    """The log at `url`, and the namespace: the given one, else the one that the URL names, else the default."""
    if namespace and not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", namespace):
        fail(ExitCode.USAGE, f"a namespace is made of up to 100 letters, digits, '.', '_' and '-', and {namespace!r} is not")
    log, named = open_log(url)
    try:
        yield log, namespace or named or DEFAULT_NAMESPACE
    finally:
        log.close()


@asynccontextmanager
async def connected(url: str, namespace: str | None, timeout: timedelta = CONNECT_TIMEOUT) -> AsyncIterator[Client]:  # noqa: ASYNC109
    """A client of the namespace, connected within `timeout`. Its spans are exported where the OTEL_* variables ask for it."""
    setup_from_environment("client")
    with opened_log(url, namespace) as (log, name):
        async with await Client.over(log, namespace=name, timeout=min(timeout, CONNECT_TIMEOUT)) as client:
            yield client
