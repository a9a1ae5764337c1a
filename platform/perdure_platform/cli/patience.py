"""How long a command may take: `--timeout` bounds the whole of it, from the connection to the last answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

import typer

from perdure_platform.cli.options import duration

CALL_SECONDS = 30.0
"""What a command is given that waits for an answer, and what one call of a longer wait is given."""

Timeout = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="Give up after this long in all, as 5s or 2m (exit code 3).")]
WaitTimeout = Annotated[
    str,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        help="Give up after this long in all, as 30s or 5m (exit code 3). [default: never; 30s for the start itself]",
        show_default=False,
    ),
]
DEFAULT_TIMEOUT = "30s"


class Patience:
    """The time that is left to a command. Made when the command begins."""

    def __init__(self, text: str) -> None:
        """`text` is that of `--timeout`; empty: for ever. Raises typer.BadParameter."""
        span = duration("--timeout", text)
        self.text = text
        self._until = None if span is None else time.monotonic() + span.total_seconds()

    @property
    def left_s(self) -> float | None:
        """Seconds that are left, None for ever."""
        return None if self._until is None else max(0.001, self._until - time.monotonic())

    def call(self, seconds_max: float = CALL_SECONDS) -> timedelta:
        """What one call may take."""
        left_s = self.left_s
        return timedelta(seconds=seconds_max if left_s is None else min(left_s, seconds_max))

    @asynccontextmanager
    async def bounding(self, what: str, grace_s: float = 0.5) -> AsyncIterator[None]:
        """Bound several calls together. The one that is under way is given a moment to say better what it waits for."""
        left_s = self.left_s
        try:
            async with asyncio.timeout(None if left_s is None else left_s + grace_s):
                yield
        except TimeoutError as error:
            if str(error):
                raise
            raise TimeoutError(f"{what} took longer than {self.text}") from None
