"""Loggers whose handlers may fail: a line that cannot be written must not change what is done about what it tells."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any


class QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs like the logger of this name. An error of a handler is printed, as `logging` prints those of its own handlers."""

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(name), {})

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Nothing is added."""
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, stacklevel: int = 1, **kwargs: Any) -> None:
        """Log for the caller of `warning`, `error` and so on."""
        try:
            super().log(level, msg, *args, stacklevel=stacklevel + 1, **kwargs)
        except Exception:  # noqa: BLE001 - handlers are foreign code
            if logging.raiseExceptions and sys.stderr:
                traceback.print_exc(file=sys.stderr)
