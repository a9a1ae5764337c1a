from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_platform.store.visibility import FilterError, parse_filter
from perdure_schemas.options import WorkflowStatus
from perdure_schemas.replies import RunSummary

RUN = RunSummary("order-7", "run-1", "run-1", "Order", "shop", WorkflowStatus.RUNNING, 1_767_225_600_000, history_length=12)


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ("", True),
        ("WorkflowType = 'Order'", True),
        ("WorkflowType != 'Order'", False),
        ("ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH \"order-\"", True),
        ("ExecutionStatus = 2 OR HistoryLength >= 12", True),
        ("NOT (ExecutionStatus IN ('Completed', 'TimedOut'))", True),
        ("StartTime BETWEEN '2026-01-01T00:00:00Z' AND '2026-01-02'", True),
        ("StartTime > '2026-01-01T00:00:00+00:00'", False),
        ("CloseTime > 0", False),
        ("WorkflowId = 'a' OR WorkflowId = 'order-7' AND TaskQueue = 'other'", False),
        ("ExecutionStatus = 'running'", True),
        ("ExecutionStatus IN ('timed_out', 'Timed Out')", False),
        ("Blocked = false", True),
        ("Blocked = true", False),
        ("Blocked != 'True' AND WorkflowType = 'Order'", True),
        ("NOT Blocked IN (true)", True),
    ],
)
def test_a_filter_says_which_runs_are_in_the_list(query: str, matches: bool) -> None:
    assert parse_filter(query).matches(RUN) is matches


def test_blocked_runs_can_be_asked_for() -> None:
    blocked = replace(RUN, blocked=True)
    assert parse_filter("Blocked = true AND ExecutionStatus = 'Running'").matches(blocked)
    assert not parse_filter("Blocked = false").matches(blocked)


@pytest.mark.parametrize(
    ("query", "position", "expected"),
    [
        ("Colour = 'red'", 1, "WorkflowId, RunId"),
        ("WorkflowType", 13, "an operator"),
        ("WorkflowType = 5", 16, "a text in quotes"),
        ("ExecutionStatus = 'Sleeping'", 19, "'Running'"),
        ("StartTime > 'yesterday'", 13, "a time like"),
        ("Blocked = 'perhaps'", 11, "true or false"),
        ("Blocked = 1", 11, "true or false"),
        ("WorkflowId = 'a' WorkflowId = 'b'", 18, "AND, OR or the end"),
        ("(WorkflowId = 'a'", 18, "')'"),
        ("WorkflowId = 'a' ;", 17, "is not understood"),
        ("HistoryLength STARTS_WITH 1", 15, "another operator"),
        ("HistoryLength > " + "9" * 5000, 17, "at most 18 digits"),
    ],
)
def test_an_error_shows_where_and_what_is_allowed(query: str, position: int, expected: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(query)
    assert f"position {position}" in str(caught.value)
    assert expected in str(caught.value)


def test_deep_nesting_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(FilterError):
        parse_filter("(" * 10_000 + "WorkflowId = 'a'" + ")" * 10_000)


def test_a_long_chain_is_no_deep_tree() -> None:
    assert parse_filter(" OR ".join(["WorkflowId = 'no'"] * 5_000 + ["WorkflowId = 'order-7'"])).matches(RUN)
    assert not parse_filter(" AND ".join(["WorkflowId = 'order-7'"] * 5_000 + ["WorkflowId = 'no'"])).matches(RUN)


@pytest.mark.parametrize(
    "query", ["CloseTime < '2030-01-01'", "CloseTime >= 0", "CloseTime IN (0)", "CloseTime BETWEEN 0 AND 9", "CloseTime = 0"]
)
def test_an_open_run_has_no_close_time_to_compare(query: str) -> None:
    assert not parse_filter(query).matches(RUN)
    assert parse_filter(f"NOT {query}").matches(RUN)


def test_a_quote_within_a_text_is_written_twice() -> None:
    assert parse_filter("WorkflowId = 'it''s \"7\"'").matches(replace(RUN, workflow_id='it\'s "7"'))
    assert parse_filter('WorkflowId = "it\'s ""7"""').matches(replace(RUN, workflow_id='it\'s "7"'))


# -- any filter, against the same condition written as a Python function

TEXTS = st.text(alphabet="ab'\"\\%é(", max_size=3)
TIMES = st.integers(min_value=1, max_value=4)
RUNS = st.builds(
    RunSummary,
    workflow_id=TEXTS,
    run_id=TEXTS,
    first_execution_run_id=st.just(""),
    workflow_type=TEXTS,
    task_queue=TEXTS,
    status=st.sampled_from(WorkflowStatus),
    start_time_ms=TIMES,
    close_time_ms=TIMES,
    execution_time_ms=TIMES,
    history_length=TIMES,
)


@dataclass(frozen=True)
class Stated:
    """A condition twice: as a filter's text, and as a function."""

    text: str
    holds: Callable[[RunSummary], bool]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def as_time(ms: int) -> str:
    return quoted((datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).isoformat())


def compared(field: str, read: Callable[[RunSummary], object], values: st.SearchStrategy[tuple[str, object]]) -> st.SearchStrategy[Stated]:
    def equal(value: tuple[str, object]) -> Stated:
        return Stated(f"{field} = {value[0]}", lambda run: read(run) == value[1])

    def other(value: tuple[str, object]) -> Stated:
        return Stated(f"{field} != {value[0]}", lambda run: read(run) != value[1])

    def between(low: tuple[str, object], high: tuple[str, object]) -> Stated:
        return Stated(f"{field} between {low[0]} and {high[0]}", lambda run: low[1] <= read(run) <= high[1])  # type: ignore[operator]

    def less(value: tuple[str, object]) -> Stated:
        return Stated(f"{field}<{value[0]}", lambda run: read(run) < value[1])  # type: ignore[operator]

    def at_least(value: tuple[str, object]) -> Stated:
        return Stated(f"{field} >= {value[0]}", lambda run: read(run) >= value[1])  # type: ignore[operator]

    def one_of(several: list[tuple[str, object]]) -> Stated:
        return Stated(f"{field} IN ({', '.join(text for text, _ in several)})", lambda run: read(run) in [value for _, value in several])

    return st.one_of(
        values.map(equal),
        values.map(other),
        values.map(less),
        values.map(at_least),
        st.builds(between, values, values),
        st.lists(values, min_size=1, max_size=3).map(one_of),
    )


CONDITIONS = st.one_of(
    compared("WorkflowId", lambda run: run.workflow_id, TEXTS.map(lambda text: (quoted(text), text))),
    compared("TaskQueue", lambda run: run.task_queue, TEXTS.map(lambda text: (quoted(text), text))),
    TEXTS.map(lambda text: Stated(f"WorkflowType STARTS_WITH {quoted(text)}", lambda run: run.workflow_type.startswith(text))),
    compared("StartTime", lambda run: run.start_time_ms, TIMES.map(lambda ms: (as_time(ms), ms))),
    compared("CloseTime", lambda run: run.close_time_ms, TIMES.map(lambda ms: (str(ms), ms))),
    compared("HistoryLength", lambda run: run.history_length, TIMES.map(lambda count: (str(count), count))),
    compared(
        "ExecutionStatus",
        lambda run: run.status,
        st.sampled_from(WorkflowStatus).map(lambda status: (quoted(status.name.title().replace("_", "")), status)),
    ),
)


def combined(parts: st.SearchStrategy[Stated]) -> st.SearchStrategy[Stated]:
    def both(left: Stated, right: Stated) -> Stated:
        return Stated(f"({left.text}) AND ({right.text})", lambda run: left.holds(run) and right.holds(run))

    def either(left: Stated, right: Stated) -> Stated:
        return Stated(f"({left.text}) or ({right.text})", lambda run: left.holds(run) or right.holds(run))

    return st.one_of(
        st.builds(both, parts, parts),
        st.builds(either, parts, parts),
        parts.map(lambda inner: Stated(f"NOT ({inner.text})", lambda run: not inner.holds(run))),
    )


@given(stated=st.recursive(CONDITIONS, combined, max_leaves=6), run=RUNS)
def test_any_filter_holds_where_its_condition_does(stated: Stated, run: RunSummary) -> None:
    assert parse_filter(stated.text).matches(run) is stated.holds(run)


@given(first=CONDITIONS, second=CONDITIONS, third=CONDITIONS, run=RUNS)
def test_and_binds_closer_than_or_and_not_closest(first: Stated, second: Stated, third: Stated, run: RunSummary) -> None:
    query = f"NOT {first.text} OR {second.text} AND {third.text}"
    assert parse_filter(query).matches(run) is ((not first.holds(run)) or (second.holds(run) and third.holds(run)))


@given(st.text(alphabet="WorkflowId=<>'\"() ,ANDORT1-!é", max_size=30))
def test_any_text_is_a_filter_or_a_filter_error(text: str) -> None:
    with suppress(FilterError):
        parse_filter(text).matches(RUN)
