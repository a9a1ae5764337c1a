"""Drives the pure core of an owner without a log: commands in, decisions out, states carried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from perdure._replay.actions import Action, CompleteWorkflow, ScheduleActivity
from perdure._replay.host import Activation, ActivationError
from perdure_platform.partition.transition.decide import decide
from perdure_platform.partition.transition.draft import Arrived, Context, Decision, Due, Input
from perdure_platform.partition.transition.fold import fold_transition
from perdure_platform.partition.transition.state import RunState
from perdure_schemas import events
from perdure_schemas.commands import ActivityReference, Command, CommandBody, ReplyAddress, Request, StartWorkflow
from perdure_schemas.failure import Failure
from perdure_schemas.history import SettledRequest
from perdure_schemas.payload import Payload

CLIENT = ReplyAddress("client", 0)
WORKER = ReplyAddress("worker", 1)
START = StartWorkflow("Transfer", "queue")
Code = Callable[[RunState, Activation], tuple[Action, ...]]


def data(text: str) -> tuple[Payload, ...]:
    """One payload."""
    return (Payload({"encoding": b"json/plain"}, text.encode()),)


def one_activity(run: RunState, activation: Activation) -> tuple[Action, ...]:
    """Code that runs one activity and returns what it returned."""
    for _, event in activation.inbound:
        match event:
            case events.WorkflowExecutionStarted():
                return (ScheduleActivity("1", "withdraw", start_to_close_timeout_ms=60_000),)
            case events.ActivityTaskCompleted():
                return (CompleteWorkflow(event.result),)
            case _:
                pass
    return ()


def failing(message: str = "boom") -> Code:
    """Code that cannot be activated."""

    def code(run: RunState, activation: Activation) -> tuple[Action, ...]:
        raise ActivationError(Failure(message))

    return code


@dataclass
class Core:
    """One workflow id. Every decision is checked against the fold of its own transitions, as a rebuild would make it."""

    code: Code = one_activity
    now_ms: int = 1_000_000
    workflow_id: str = "transfer-1"
    state: RunState | None = None
    caught_up: bool = True
    requests: dict[tuple[str, str], SettledRequest] = field(default_factory=dict)
    activations: list[Activation] = field(default_factory=list)
    discarded: int = 0
    offset: int = 0

    def take(self, *bodies: CommandBody, request_id: str = "") -> Decision:
        """Commands that arrive together; with a request id they are one client's."""
        return self.decide(*(self.arrived(body, request_id) for body in bodies))

    def arrived(self, body: CommandBody, request_id: str = "") -> Arrived:
        """A command at the next offset."""
        self.offset += 1
        request = Request(request_id, self.now_ms + 30_000, CLIENT) if request_id else None
        return Arrived(self.offset, Command(self.workflow_id, body, request))

    def start(self, body: StartWorkflow = START) -> Decision:
        """Start the workflow."""
        return self.take(body, request_id="start")

    def pass_time(self, milliseconds: int) -> Decision:
        """Let time pass, and look at what is due."""
        self.now_ms += milliseconds
        return self.decide(Due())

    def decide(self, *inputs: Input) -> Decision:
        """Decide, fold the transitions from the state before, and compare with the state that the decision carries."""
        context = Context(
            now_ms=self.now_ms,
            caught_up_ms=self.now_ms if self.caught_up else 0,
            leading_since_ms=0,
            run_id_seed="topic/0",
            settled=lambda workflow_id, request_id: self.requests.get((workflow_id, request_id)),
            activate=self._activate,
            discard=self._discard,
        )
        decision = decide(self.state, self.workflow_id, inputs, context)
        for run in decision.runs:
            assert fold_transition(run.before, run.transition(), self.now_ms) == run.state, "live and rebuilt state differ"
            self.state = run.state
        self.requests.update({(r.workflow_id, r.request_id): r for r in decision.requests})
        return decision

    def _activate(self, run: RunState, activation: Activation) -> tuple[tuple[Action, ...], tuple[int, ...]]:
        self.activations.append(activation)
        return self.code(run, activation), ()

    def _discard(self, workflow_id: str) -> None:
        self.discarded += 1

    @property
    def run(self) -> RunState:
        """The current run."""
        assert self.state is not None
        return self.state

    def attempt(self, attempt: int = 0) -> ActivityReference:
        """The only open activity, at its current attempt or at the one given."""
        (activity,) = self.run.activities.values()
        return ActivityReference(self.run.run_id, activity.scheduled_event_id, attempt or activity.attempt)


def produced(decision: Decision) -> list[events.Event]:
    """Every event of a decision, in order."""
    return [event for run in decision.runs for event in (*run.inbound, *run.produced)]


def with_expiry(arrived: Arrived, expires_at_ms: int) -> Arrived:
    """The same command with another deadline."""
    request = arrived.command.request
    assert request is not None
    return replace(arrived, command=replace(arrived.command, request=replace(request, expires_at_ms=expires_at_ms)))
