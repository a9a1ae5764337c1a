"""Whether and when a failed attempt is followed by another: pure arithmetic, the same for activities and workflows (semantics 15 to 19)."""

from __future__ import annotations

from perdure_schemas.failure import (
    ApplicationFailureInfo,
    CanceledFailureInfo,
    Failure,
    RetryState,
    ServerFailureInfo,
    TerminatedFailureInfo,
    TimeoutFailureInfo,
    TimeoutType,
)
from perdure_schemas.limits import DURATION_MS_MAX
from perdure_schemas.options import RetryOptions

TIMEOUT_TYPE_NAMES = {TimeoutType.START_TO_CLOSE: "TemporalTimeout:StartToClose", TimeoutType.HEARTBEAT: "TemporalTimeout:Heartbeat"}
"""How a policy's list of non-retryable types names timeouts (semantics 18)."""

_INTERVAL_MAX_MS = 100 * 365 * 24 * 3600 * 1000
"""A hundred years: what an interval without any other bound grows to."""


def decide_retry(
    options: RetryOptions,
    attempt: int,
    failure: Failure,
    *,
    now_ms: int,
    deadline_ms: int = 0,
    cap_next_retry_delay: bool = False,
) -> int | RetryState:
    """When the attempt after `attempt` begins (milliseconds since 1970), or why there is none.

    `deadline_ms` (0: none) is when the whole has to be over: a next attempt that would begin later is refused at once.
    `cap_next_retry_delay`: the failure's own delay is bounded by the maximum interval, as for workflows (semantics 19).
    """
    if not _is_retryable(options, failure):
        return RetryState.NON_RETRYABLE_FAILURE
    if options.maximum_attempts and attempt >= options.maximum_attempts:
        return RetryState.MAXIMUM_ATTEMPTS_REACHED
    delay_ms = retry_delay_ms(options, attempt)
    if isinstance(failure.info, ApplicationFailureInfo) and failure.info.next_retry_delay_ms > 0:
        delay_ms = min(failure.info.next_retry_delay_ms, DURATION_MS_MAX)
        if cap_next_retry_delay:
            delay_ms = min(delay_ms, _maximum_interval_ms(options))
    retry_at_ms = now_ms + delay_ms
    if deadline_ms and retry_at_ms >= deadline_ms:
        return RetryState.TIMEOUT
    return retry_at_ms


def retry_delay_ms(options: RetryOptions, attempt: int) -> int:
    """The wait after failed attempt `attempt`, from 1: initial x coefficient^(attempt - 1), capped; no jitter (semantics 16)."""
    maximum_ms = _maximum_interval_ms(options)
    try:
        delay = options.initial_interval_ms * options.backoff_coefficient ** (attempt - 1)
    except OverflowError:
        return maximum_ms
    return int(min(delay, maximum_ms))


def _maximum_interval_ms(options: RetryOptions) -> int:
    return min(options.maximum_interval_ms or 100 * options.initial_interval_ms, _INTERVAL_MAX_MS)


def _is_retryable(options: RetryOptions, failure: Failure) -> bool:
    """Only the outermost failure counts (semantics 18)."""
    match failure.info:
        case ApplicationFailureInfo(type=name, non_retryable=non_retryable):
            return not non_retryable and name not in options.non_retryable_error_types
        case TimeoutFailureInfo(timeout_type=timeout_type):
            known_as = TIMEOUT_TYPE_NAMES.get(timeout_type)
            return known_as is not None and known_as not in options.non_retryable_error_types
        case CanceledFailureInfo() | TerminatedFailureInfo():
            return False
        case ServerFailureInfo(non_retryable=non_retryable):
            return not non_retryable
        case _:
            return True
