import pytest

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
    ],
)
def test_a_filter_says_which_runs_are_in_the_list(query: str, matches: bool) -> None:
    assert parse_filter(query).matches(RUN) is matches


@pytest.mark.parametrize(
    ("query", "position", "expected"),
    [
        ("Colour = 'red'", 1, "WorkflowId, RunId"),
        ("WorkflowType", 13, "an operator"),
        ("WorkflowType = 5", 16, "a text in quotes"),
        ("ExecutionStatus = 'Sleeping'", 19, "'Running'"),
        ("StartTime > 'yesterday'", 13, "a time like"),
        ("WorkflowId = 'a' WorkflowId = 'b'", 18, "AND, OR or the end"),
        ("(WorkflowId = 'a'", 18, "')'"),
        ("WorkflowId = 'a' ;", 17, "is not understood"),
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
