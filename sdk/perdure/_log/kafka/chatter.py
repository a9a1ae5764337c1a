"""What the client library says on its own: through `perdure.log.kafka`, and not the same thing hundreds of times."""

from __future__ import annotations

import logging
import re
import time

_REPEAT_S = 60.0
_REMEMBERED_MAX = 1_000


class _OncePerMinute(logging.Filter):
    """Drops what was said a moment ago. A client that cannot connect says so with every attempt, several times a second, for each of its
    connections; what it says differs in numbers only."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "enable.gapless.guarantee is experimental" in message:
            return False  # said with every ORDERED producer; it is known, and tested here
        kind = re.sub(r"\[perdure#[a-z]+-\d+\]|\d+ms", "", message)
        now = time.monotonic()
        if now - self._said_at.get(kind, -_REPEAT_S) < _REPEAT_S:
            return False
        if len(self._said_at) >= _REMEMBERED_MAX:
            self._said_at.clear()
        self._said_at[kind] = now
        return True


logger = logging.getLogger("perdure.log.kafka")
logger.addFilter(_OncePerMinute())
