"""What is open in a run: as a dictionary would have it, with who is due next found by few looks, however many there are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core import Core, data
from perdure._replay.actions import Action, ScheduleActivity, StartTimer
from perdure._replay.host import Activation
from perdure_platform.partition.apply import write_run
from perdure_platform.partition.transition.open_items import OpenItems
from perdure_platform.partition.transition.state import INDEXED_MIN, ActivityState, OpenActivities, RunState, TimerState
from perdure_schemas import events
from perdure_schemas.commands import ActivityReference, CompleteActivity

IDS = st.integers(1, 8)
DUE = st.integers(1, 20)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), IDS, DUE),
        st.tuples(st.just("close"), IDS),
        st.tuples(st.sampled_from(["copy", "clear", "ask"])),
    ),
    max_size=120,
)


@given(STEPS, st.integers(0, 20))
def test_items_and_their_deadlines_are_those_of_a_dictionary(steps: list[tuple[object, ...]], limit_ms: int) -> None:
    items: OpenItems[TimerState] = OpenItems()
    known: dict[int, TimerState] = {}
    left_behind = [(items.copy(), dict(known))]
    for step in steps:
        match step:
            case ("put", int() as event_id, int() as due_ms):
                known[event_id] = TimerState(str(event_id), due_ms)
                items.put(event_id, known[event_id])
            case ("close", int() as event_id):
                assert items.close(event_id) == known.pop(event_id, None)
            case ("copy",):
                left_behind.append((items, dict(known)))
                items = items.copy()
            case ("clear",):
                items.clear()
                known.clear()
            case _:
                assert items.next_due_ms() == min((one.due_ms for one in known.values()), default=0)
    for now, expected in (*left_behind, (items, known)):
        assert (dict(now), list(now), len(now)) == (expected, list(expected), len(expected))
        in_order = sorted((one.due_ms, event_id) for event_id, one in expected.items() if one.due_ms <= limit_ms)
        assert [(one.due_ms, event_id) for event_id, one in now.due(limit_ms)] == in_order
        assert now.next_due_ms() == min((one.due_ms for one in expected.values()), default=0)
        assert all(event_id in now and now.get(event_id) == now[event_id] for event_id in expected)
        assert 99 not in now
        assert now.get(99) is None
        with pytest.raises(KeyError):
            now[99]


def activity(event_id: int, name: str) -> ActivityState:
    return ActivityState(event_id, events.ActivityTaskScheduled(name, "withdraw", "queue"), 1)


@pytest.mark.parametrize("count", [3, INDEXED_MIN - 1, INDEXED_MIN, 3 * INDEXED_MIN])
def test_an_open_activity_is_found_by_the_name_that_code_gave_it(count: int) -> None:
    opened = OpenActivities()
    for event_id in range(1, count + 1):
        assert opened.named(f"a-{event_id}") is None
        opened.put(event_id, activity(event_id, f"a-{event_id}"))
    before = opened.copy()
    opened.close(2)
    opened.put(1, replace(opened[1], attempt=7))
    opened.put(count + 1, activity(count + 1, "a-2"))  # the name is free again
    found = opened.named("a-1"), opened.named("a-2"), opened.named("a-3"), opened.named("b")
    assert found == (opened[1], opened[count + 1], opened[3], None)
    opened.clear()
    assert opened.named("a-1") is None
    assert (before.named("a-1"), before.named("a-2")) == (before[1], before[2])


@dataclass
class Looks:
    """Deadlines that were worked out."""

    count: int = 0


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    counted = Looks()

    def counting(kind: type[ActivityState] | type[TimerState]) -> None:
        original = kind.next_due_ms

        def next_due_ms(self: ActivityState | TimerState) -> int:
            counted.count += 1
            return original(self)  # type: ignore[arg-type]

        monkeypatch.setattr(kind, "next_due_ms", next_due_ms)

    counting(ActivityState)
    counting(TimerState)
    return counted


def opens(count: int) -> Core:
    """A run with so many activities and timers under way."""

    def code(_: RunState, activation: Activation) -> tuple[Action, ...]:
        if not any(isinstance(event, events.WorkflowExecutionStarted) for _, event in activation.inbound):
            return ()
        timers = [StartTimer(str(number), 1_000_000 + number) for number in range(count)]
        return (*timers, *(ScheduleActivity(str(number), "withdraw", start_to_close_timeout_ms=60_000) for number in range(count)))

    return Core(code=code)


def of_one_completion(core: Core, looks: Looks, chosen: int) -> int:
    """Looks that one completion takes, from the decision to the rows."""
    event_id = list(core.run.activities)[chosen]
    looks.count = 0
    decision = core.take(CompleteActivity(ActivityReference(core.run.run_id, event_id, 1), data("7")))
    for run in decision.runs:
        write_run(run.before, run.state, {})
    core.run.next_due_ms()
    return looks.count


@pytest.mark.parametrize("chosen", [0, -1])
def test_a_completion_looks_at_few_deadlines_however_many_are_open(looks: Looks, chosen: int) -> None:
    few, many = opens(2), opens(1_900)
    few.start()
    looks.count = 0
    many.start()
    assert looks.count <= 10 * 2 * 1_900, "each is opened once, and looked at as often as a heap has to"
    of_few = of_one_completion(few, looks, chosen)
    for _ in range(20):
        assert of_one_completion(many, looks, chosen) <= of_few + 4


def test_time_that_passes_looks_at_what_is_due_and_not_at_the_rest(looks: Looks) -> None:
    core = opens(1_900)
    core.start()
    looks.count = 0
    decision = core.pass_time(1_000_003)
    assert [event.timer_id for event in decision.runs[0].inbound if isinstance(event, events.TimerFired)] == ["0", "1", "2", "3"]
    assert looks.count < 100
