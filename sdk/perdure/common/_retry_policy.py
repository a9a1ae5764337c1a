"""How often, and how far apart, a failed attempt is followed by another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from perdure_schemas.conform import Misfit, conformed
from perdure_schemas.limits import DURATION_MS_MAX
from perdure_schemas.options import RetryOptions


@dataclass
class RetryPolicy:
    """Attempt n waits `initial_interval` x `backoff_coefficient`^(n-1), at most `maximum_interval` (None: 100 times the initial).

    `maximum_attempts` counts attempts, not retries; 0 is unlimited. `non_retryable_error_types` are names, and no classes: they are
    compared exactly with the `type` of an ApplicationError, which for any other exception is the name of its class.
    """

    initial_interval: timedelta = timedelta(seconds=1)
    backoff_coefficient: float = 2.0
    maximum_interval: timedelta | None = None
    maximum_attempts: int = 0
    non_retryable_error_types: Sequence[str] | None = None

    def to_options(self) -> RetryOptions:
        """The policy on the wire. Raises ValueError where it makes no sense, TypeError for what is of a wrong type."""
        self._validate()
        initial_ms = _milliseconds(self.initial_interval)
        maximum_ms = _milliseconds(self.maximum_interval) if self.maximum_interval is not None else min(100 * initial_ms, DURATION_MS_MAX)
        names = self.non_retryable_error_types or ()
        options = RetryOptions(
            initial_ms,
            self.backoff_coefficient,
            maximum_ms,
            self.maximum_attempts,
            (names,) if isinstance(names, str) else tuple(names),
        )
        try:
            return conformed(options)
        except Misfit as misfit:
            name = f": give its name, {misfit.value.__name__!r}" if isinstance(misfit.value, type) else ""
            raise (TypeError if misfit.is_kind else ValueError)(f"retry policy: {misfit}{name}") from None

    @classmethod
    def from_options(cls, options: RetryOptions) -> RetryPolicy:
        """The policy that `options` stand for."""
        return cls(
            timedelta(milliseconds=options.initial_interval_ms),
            options.backoff_coefficient,
            timedelta(milliseconds=options.maximum_interval_ms) if options.maximum_interval_ms else None,
            options.maximum_attempts,
            options.non_retryable_error_types or None,
        )

    def _validate(self) -> None:
        if self.maximum_attempts < 0:
            raise ValueError(f"maximum_attempts is {self.maximum_attempts}; it must be 0 (unlimited) or more")
        if self.maximum_attempts == 1:
            return
        if self.initial_interval <= timedelta():
            raise ValueError(f"initial_interval is {self.initial_interval}; it must be positive")
        if not self.backoff_coefficient >= 1:  # NaN is not
            raise ValueError(f"backoff_coefficient is {self.backoff_coefficient}; it must be 1 or more")
        if self.maximum_interval is not None and self.maximum_interval < self.initial_interval:
            raise ValueError(f"maximum_interval is {self.maximum_interval}, below initial_interval, {self.initial_interval}")


def _milliseconds(duration: timedelta) -> int:
    return min(max(1, round(duration / timedelta(milliseconds=1))), DURATION_MS_MAX)
