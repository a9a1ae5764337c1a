"""The fold makes one state, whether it runs beside the decisions, over the records read back, or goes on from the rows half-way."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from kit.core import WORKER, Core, data
from perdure._log.port import Record
from perdure._replay import actions
from perdure._replay.host import Activation, ActivationError
from perdure._replay.runtime import CodeHost
from perdure_platform.partition.append import Appender
from perdure_platform.partition.apply import Applier
from perdure_platform.partition.confirm import Confirmer
from perdure_platform.partition.rebuild import Rebuild, Topics
from perdure_platform.partition.runs import Runs
from perdure_platform.partition.transition.draft import Arrived, Input, TakenOver, TaskUndeliverable
from perdure_platform.partition.transition.fold import fold_transition
from perdure_platform.partition.transition.state import ActivityState, RunState
from perdure_platform.store.digest import digest
from perdure_platform.store.memory import MemoryStore
from perdure_platform.store.tables import Tables
from perdure_schemas import commands
from perdure_schemas.codec import decode_history, encode_history
from perdure_schemas.commands import ActivityReference, CommandBody
from perdure_schemas.failure import ApplicationFailureInfo, Failure
from perdure_schemas.history import Claim, CommitRecord
from perdure_schemas.live import LiveState, judge
from perdure_schemas.options import ActivityCancellationType, IdConflictPolicy, RetryOptions
from perdure_schemas.payload import Payloads

TOPICS = Topics("ns", 0, 1, "commands-id", "history-id")
CLAIM = Claim(1, "claim", "", "owner", "host", 1, "build", 1, "commands-id", "history-id", 1, 1_000_000)
FAILURE = Failure("no", "trace", "source", Failure("cause"), ApplicationFailureInfo("Bad", False, data("details"), 30))

# -- what may happen: commands and code are made from the state that they meet, so that most of them fit

PAYLOADS = st.sampled_from([(), data("7"), (*data("ä"), *data(""))])
TIMES = st.sampled_from([1, 40, 1_000, 1_000, 30_000, 30_000, 4 * 24 * 3600 * 1000])
RETRIES = st.sampled_from([None, RetryOptions(), RetryOptions(10, 1.5, 50, 2, ("Worse",)), RetryOptions(maximum_attempts=1)])


def _nth(items: Any, number: int) -> Any:
    found = list(items)
    return found[number % len(found)] if found else None


def _reference(run: RunState, number: int) -> ActivityReference:
    """An open activity, or one that is not there."""
    activity: ActivityState | None = _nth(run.activities.values(), number)
    return ActivityReference(run.run_id, activity.scheduled_event_id, activity.attempt) if activity else ActivityReference(run.run_id, 3, 1)


def _body(kind: str, number: int, payloads: Payloads, milliseconds: int, retry: RetryOptions | None, run: RunState | None) -> CommandBody:
    if run is None or kind == "start":
        return commands.StartWorkflow(
            "Transfer",
            "queue",
            payloads,
            memo={"m": data("1")[0]} if number % 2 else {},
            run_timeout_ms=milliseconds if number == 1 else 0,
            execution_timeout_ms=milliseconds if number == 2 else 0,
            start_delay_ms=milliseconds if number == 3 else 0,
            retry_options=retry,
            id_conflict_policy=_nth(IdConflictPolicy, number),
            signal=commands.SignalWorkflow("go") if number == 4 else None,
            await_result=number % 2 == 1,
        )
    activity = _reference(run, number)
    if kind == "external":
        event_id = _nth([*run.external_signals, *run.external_cancels], number) or 3
        answer = commands.ResolveExternalCancel if event_id in run.external_cancels else commands.ResolveExternalSignal
        return answer(run.run_id, event_id, FAILURE if number % 2 else None)
    bodies: dict[str, CommandBody] = {
        "signal": commands.SignalWorkflow("s", input=payloads),
        "cancel": commands.CancelWorkflow(reason="enough"),
        "terminate": commands.TerminateWorkflow(reason="enough", details=payloads),
        "started": commands.ActivityStarted(activity, f"nonce-{number}", WORKER, "worker", asks_grant=number % 2 == 1),
        "heartbeat": commands.ActivityHeartbeat(activity, number, payloads, "nonce", WORKER),
        "complete": commands.CompleteActivity(activity, payloads, "worker"),
        "fail": commands.FailActivity(activity, FAILURE, "worker", payloads),
        "canceled": commands.CancelActivity(activity, payloads),
    }
    return bodies[kind]


KINDS = (
    *("start", "signal", "cancel", "terminate", "external", "external"),
    *("started", "started", "heartbeat", "complete", "complete", "fail", "fail", "canceled"),
)
BODIES = st.builds(partial, st.just(_body), st.sampled_from(KINDS), st.integers(0, 9), PAYLOADS, TIMES, RETRIES)
STEPS = st.one_of(
    *[st.tuples(st.just("commands"), st.lists(BODIES, min_size=1, max_size=4))] * 3,
    st.tuples(st.just("time"), TIMES),
    st.tuples(st.just("taken over")),
    st.tuples(st.just("undeliverable"), st.integers(0, 9)),
)


def _action(
    kind: str, number: int, payloads: Payloads, milliseconds: int, retry: RetryOptions | None, run: RunState
) -> actions.Action | None:
    """An action that this run may ask for; None where it has nothing of the kind."""
    match kind:
        case "timer":
            return actions.StartTimer(str(number), milliseconds)
        case "cancel timer" if run.timers:
            event_id = _nth(run.timers, number)
            return actions.CancelTimer(run.timers[event_id].timer_id, event_id)
        case "cancel activity" if run.activities and number < 4:
            return actions.RequestCancelActivity(_nth(run.activities, number))
        case "marker":
            return actions.RecordMarker("patch", {"id": str(number)})
        case "signal":
            return actions.SignalExternalWorkflow("other", "", "s", payloads)
        case "cancel":
            return actions.CancelExternalWorkflow("other", "")
        case "complete":
            return actions.CompleteWorkflow(payloads)
        case "fail":
            return actions.FailWorkflow(FAILURE)
        case "end":
            return actions.CancelWorkflowExecution(payloads)
        case "again":
            return actions.ContinueAsNewWorkflow(input=payloads, backoff_start_interval_ms=milliseconds, retry_options=retry)
        case _:
            return actions.ScheduleActivity(
                f"{run.next_event_id}-{number}",
                "withdraw",
                input=payloads,
                schedule_to_close_timeout_ms=milliseconds if number % 2 else 0,
                schedule_to_start_timeout_ms=milliseconds if number % 3 == 2 else 0,
                start_to_close_timeout_ms=60_000,
                heartbeat_timeout_ms=milliseconds if number % 3 == 1 else 0,
                retry_options=retry,
                cancellation_type=_nth(ActivityCancellationType, number),
            )


GOING_ON = ("activity", "activity", "timer", "cancel timer", "cancel activity", "marker", "signal", "cancel")
WISHES = st.builds(partial, st.just(_action), st.sampled_from(GOING_ON), st.integers(0, 9), PAYLOADS, TIMES, RETRIES)
ENDS = st.builds(
    partial, st.just(_action), st.sampled_from(("complete", "fail", "end", "again", "again")), st.integers(0, 9), PAYLOADS, TIMES, RETRIES
)
GOES_ON = st.lists(WISHES, min_size=1, max_size=3)
CODE = st.lists(st.one_of(*[GOES_ON] * 5, st.just("raises"), st.tuples(WISHES, ENDS)), min_size=5, max_size=12)
"""What activations ask for; the first of all goes on."""


@dataclass
class Life:
    """A workflow id's life through the real decisions, and the records that an owner would have appended for it."""

    code: list[Any]
    values: list[bytes] = field(default_factory=lambda: [encode_history(CLAIM)])
    after: list[RunState | None] = field(default_factory=lambda: [None])
    core: Core = field(init=False)

    def __post_init__(self) -> None:
        self.core = Core(code=self._activate)
        live = judge(LiveState(), CLAIM, 0)[1]
        self.confirmer = Confirmer(live)
        self._appender = Appender(CLAIM, live, self.confirmer, lambda _, value: self.values.append(value))

    def step(self, what: tuple[Any, ...]) -> None:
        match what:
            case ("commands", bodies):
                self._decide(*(self._arrived(body(self.core.state), number) for number, body in enumerate(bodies)))
            case ("time", milliseconds):
                self._keep(self.core.pass_time(milliseconds))
            case ("taken over",):
                self._decide(TakenOver())
            case ("undeliverable", number) if self.core.state is not None:
                activity = _reference(self.core.state, number)
                self._decide(TaskUndeliverable(activity.run_id, activity.scheduled_event_id, activity.attempt, "gone"))

    def _arrived(self, body: CommandBody, number: int) -> Arrived:
        return self.core.arrived(body, f"request-{self.core.offset % 7}" if number % 2 else "")

    def _decide(self, *inputs: Input) -> None:
        self._keep(self.core.decide(*inputs))

    def _keep(self, decision: Any) -> None:
        if decision.is_recorded:
            self._appender.add(decision, self.core.now_ms, released=max(-1, len(self.values) - 4))
            self._appender.end_turn(max(-1, self.core.offset - 3), {})
            self.after.append(self.core.state)

    def _activate(self, run: RunState, activation: Activation) -> tuple[actions.Action, ...]:
        wanted = self.code[activation.first_produced_event_id % len(self.code)]
        if wanted == "raises":
            raise ActivationError(FAILURE)
        return tuple(action for wish in wanted if (action := wish(run)) is not None)

    @property
    def records(self) -> list[Record]:
        return [Record("ns.history", 0, offset, 1_000_000 + offset, None, value) for offset, value in enumerate(self.values)]


@dataclass
class Reader:
    """A store, and what reads histories into it; a new one on the same store knows only the rows."""

    store: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        tables = Tables(self.store)
        self.runs = Runs(tables, CodeHost([]), "ns", open_max=0)
        self.applier = Applier(tables)
        self.rebuild = Rebuild(TOPICS, tables, self.runs, self.applier)

    def state(self, workflow_id: str) -> RunState | None:
        return self.runs.entry(workflow_id).state


@st.composite
def lives(draw: st.DrawFn) -> Life:
    life = Life(draw(CODE))
    for step in [("commands", draw(st.lists(BODIES, min_size=1, max_size=2))), *draw(st.lists(STEPS, min_size=12, max_size=30))]:
        life.step(step)
    return life


@settings(max_examples=200)
@given(lives())
def test_the_records_give_every_state_that_the_decisions_made(life: Life) -> None:
    state: RunState | None = None
    for value, decided in zip(life.values[1:], life.after[1:], strict=True):
        record = decode_history(value)
        assert isinstance(record, CommitRecord)
        assert encode_history(record) == value
        for transition in record.transitions:
            state = fold_transition(None if transition.first_event_id == 1 else state, transition, record.time_ms)
        assert state == decided
    event(f"{'no run' if state is None else state.status.name}")


@settings(max_examples=200)
@given(lives())
def test_the_rows_of_a_rebuild_are_the_rows_of_the_owner(life: Life) -> None:
    owner, rebuilt = Reader(), Reader()
    owner.rebuild.fold(life.records[:1])
    for record in life.records[1:]:
        owner.applier.apply([judged for judged, _ in life.confirmer.confirm([record])])
    rebuilt.rebuild.fold(life.records)
    assert list(rebuilt.store.scan(b"")) == list(owner.store.scan(b""))


@settings(max_examples=200)
@given(lives(), st.data())
def test_a_fold_that_goes_on_from_the_rows_of_any_moment_ends_the_same(life: Life, chosen: st.DataObject) -> None:
    middle = chosen.draw(st.integers(0, len(life.records)), label="records folded before the restart")
    whole, first = Reader(), Reader()
    whole.rebuild.fold(life.records)
    first.rebuild.fold(life.records[:middle])
    second = Reader(first.store)
    assert second.rebuild.next_offset == middle
    second.rebuild.fold(life.records[middle:])
    assert digest(second.store) == digest(whole.store)
    workflow_id = life.core.workflow_id
    assert Reader(first.store).state(workflow_id) == second.state(workflow_id) == whole.state(workflow_id) == life.core.state
