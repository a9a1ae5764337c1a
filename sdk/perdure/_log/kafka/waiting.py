"""How long a call of the Kafka library waits."""

from __future__ import annotations

import math

_HALF_MS = 0.5
"""Half a millisecond on top of whole ones, so that no product of floats falls below the number that is meant."""


def waiting_s(timeout_ms: float) -> float:
    """`timeout_ms` as the library takes it, rounded up to whole milliseconds; 0 or less does not wait.

    The library drops what is below a millisecond. A caller that waits in a loop for the rest of its time would not wait at all in the
    last millisecond: it would turn some hundred times, and take the interpreter from the other threads.
    """
    return (math.ceil(timeout_ms) + _HALF_MS) / 1000 if timeout_ms > 0 else 0.0
