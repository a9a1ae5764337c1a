"""Deadlines come in the order of time, never early and each once, whatever is added and removed, and however small the window is."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from perdure_platform.partition.timers import DueRuns
from perdure_platform.partition.transition.state import FAR_AHEAD_MS
from perdure_platform.store import keys
from perdure_platform.store.memory import MemoryStore
from perdure_platform.store.tables import Tables

IDS = st.text(alphabet=st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=6)
RUN_IDS = st.sampled_from(["run-1", "run-2"])
NUMBERS = st.one_of(st.integers(0, 300), st.integers(0, FAR_AHEAD_MS), st.integers((1 << 64) - 9, (1 << 64) - 1))
NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
DUE = st.integers(1, 40)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("due"), NAMES, DUE),
        st.tuples(st.just("closed"), NAMES),
        st.tuples(st.just("time"), st.integers(0, 15)),
    ),
    max_size=40,
)


@dataclass
class Deadlines:
    """Each workflow id's deadline, in the store's index and, as the owner does it, told to the window."""

    window_max: int
    known: dict[str, int] = field(default_factory=dict)
    store: MemoryStore = field(default_factory=MemoryStore)

    def open(self) -> DueRuns:
        return DueRuns(Tables(self.store), self.window_max)

    def move(self, workflow_id: str, due_ms: int) -> None:
        """0 is never."""
        batch: dict[bytes, bytes | None] = {}
        if before := self.known.pop(workflow_id, 0):
            batch[keys.due(before, workflow_id, "run-1")] = None
        if due_ms:
            batch[keys.due(due_ms, workflow_id, "run-1")] = b""
            self.known[workflow_id] = due_ms
        self.store.write(batch)

    def take(self, due: DueRuns, now_ms: int) -> list[str]:
        """Take what may be due; what is not is added again, as an owner does that has looked at it."""
        taken = due.take(now_ms)
        assert len(set(taken)) == len(taken), "each once"
        for workflow_id in taken:
            if self.known.get(workflow_id, 0) > now_ms:
                due.add(workflow_id, self.known[workflow_id])
        return [workflow_id for workflow_id in taken if 0 < self.known.get(workflow_id, 0) <= now_ms]


@given(stored=st.dictionaries(NAMES, DUE), steps=STEPS, window_max=st.integers(1, 6))
def test_what_is_due_comes_at_its_time_and_once(stored: dict[str, int], steps: list[tuple[object, ...]], window_max: int) -> None:
    deadlines = Deadlines(window_max)
    for workflow_id, due_ms in stored.items():
        deadlines.move(workflow_id, due_ms)
    due, now_ms = deadlines.open(), 0
    for step in steps:
        match step:
            case ("due", str() as workflow_id, int() as after_ms):
                deadlines.move(workflow_id, now_ms + after_ms)
                due.add(workflow_id, now_ms + after_ms)
            case ("closed", str() as workflow_id):
                deadlines.move(workflow_id, 0)
            case (_, int() as passed_ms):
                now_ms += passed_ms
        expected = sorted((at, workflow_id) for workflow_id, at in deadlines.known.items() if at <= now_ms)
        assert sorted(deadlines.take(due, now_ms)) == sorted(workflow_id for _, workflow_id in expected), "none early, late or forgotten"
        for _, workflow_id in expected:
            deadlines.move(workflow_id, 0)
        assert due.next_ms() <= min(deadlines.known.values(), default=FAR_AHEAD_MS), "the owner sleeps past nothing"


@given(stored=st.dictionaries(IDS, NUMBERS.filter(bool)), window_max=st.integers(1, 6), now_ms=NUMBERS)
def test_they_come_in_the_order_of_time(stored: dict[str, int], window_max: int, now_ms: int) -> None:
    deadlines = Deadlines(window_max)
    for workflow_id, due_ms in stored.items():
        deadlines.move(workflow_id, due_ms)
    taken = deadlines.open().take(min(now_ms, FAR_AHEAD_MS - 1))
    assert [stored[workflow_id] for workflow_id in taken] == sorted(at for at in stored.values() if at <= min(now_ms, FAR_AHEAD_MS - 1))


@given(stored=st.dictionaries(NAMES, DUE, min_size=1), window_max=st.integers(1, 6), taken_ms=st.integers(1, 40), after_ms=DUE)
def test_a_run_that_is_to_be_looked_at_again_is_so_however_small_the_window_is(
    stored: dict[str, int], window_max: int, taken_ms: int, after_ms: int
) -> None:
    """Its deadline in the store is in the past, and nobody reads the store there any more."""
    deadlines = Deadlines(window_max)
    for workflow_id, due_ms in stored.items():
        deadlines.move(workflow_id, due_ms)
    due = deadlines.open()
    due.take(taken_ms)
    due.look_again("again", taken_ms + after_ms)
    seen = [name for now_ms in range(taken_ms, taken_ms + after_ms + 1) for name in due.take(now_ms)]
    assert "again" in seen


@given(st.tuples(NUMBERS, IDS, RUN_IDS), st.tuples(NUMBERS, IDS, RUN_IDS))
def test_due_keys_sort_by_time_and_say_what_they_were_made_of(one: tuple[int, str, str], other: tuple[int, str, str]) -> None:
    assert keys.parse_due(keys.due(*one)) == one
    assert (keys.due(*one) < keys.due(*other)) == ((one[0], one[1].encode(), one[2]) < (other[0], other[1].encode(), other[2]))
    assert keys.due(*one).startswith(keys.DUE + keys.number(one[0]))


@given(NUMBERS, NUMBERS)
def test_lists_sort_the_newest_start_first(one: int, other: int) -> None:
    assert (keys.visibility(one, "a", "r") < keys.visibility(other, "a", "r")) == (one > other)


@given(st.integers().filter(lambda value: not 0 <= value < 1 << 64))
def test_a_number_that_would_not_sort_is_refused(value: int) -> None:
    try:
        keys.number(value)
    except OverflowError:
        return
    raise AssertionError(f"{value} has a key")
