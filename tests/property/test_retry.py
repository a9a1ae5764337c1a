from hypothesis import given
from hypothesis import strategies as st

from perdure_schemas.failure import ApplicationFailureInfo, Failure, RetryState
from perdure_schemas.options import RetryOptions
from perdure_schemas.retry import decide_retry, retry_delay_ms

OPTIONS = st.builds(
    RetryOptions,
    initial_interval_ms=st.integers(1, 10**9),
    backoff_coefficient=st.floats(1, 1000),
    maximum_interval_ms=st.integers(0, 10**12),
    maximum_attempts=st.integers(0, 100),
)


@given(OPTIONS, st.integers(1, 10**6))
def test_the_wait_grows_to_its_maximum_and_never_overflows(options: RetryOptions, attempt: int) -> None:
    delay_ms = retry_delay_ms(options, attempt)
    assert delay_ms > 0 or options.maximum_interval_ms < options.initial_interval_ms
    assert delay_ms <= retry_delay_ms(options, attempt + 1)
    assert delay_ms <= (options.maximum_interval_ms or 100 * options.initial_interval_ms)


@given(OPTIONS, st.integers(1, 200), st.integers(0, 10**13), st.integers(0, 10**13))
def test_a_retry_is_in_the_future_and_before_the_deadline(options: RetryOptions, attempt: int, now_ms: int, deadline_ms: int) -> None:
    decision = decide_retry(options, attempt, Failure("x"), now_ms=now_ms, deadline_ms=deadline_ms)
    if isinstance(decision, RetryState):
        return
    assert decision >= now_ms
    assert not deadline_ms or decision < deadline_ms
    assert not options.maximum_attempts or attempt < options.maximum_attempts


@given(OPTIONS, st.integers(1, 10**12), st.booleans())
def test_the_failures_own_delay_wins_and_is_capped_for_workflows_only(options: RetryOptions, delay_ms: int, cap: bool) -> None:
    failure = Failure("x", info=ApplicationFailureInfo(next_retry_delay_ms=delay_ms))
    decision = decide_retry(options, 1, failure, now_ms=0, cap_next_retry_delay=cap)
    if not isinstance(decision, RetryState):
        assert decision == (min(delay_ms, options.maximum_interval_ms or 100 * options.initial_interval_ms) if cap else delay_ms)
