"""The last line of defence: what nobody has thought of is one run's or one asker's trouble, and never the partition's (P9).

A defect is put into the real code, for one workflow id; every other id goes on, also under the next owner, which has no defect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kit.world import FIRST, World, plain
from perdure._replay import border
from perdure._replay.activate import CodeInstance
from perdure._telemetry import spans as telemetry
from perdure_platform.node.assignment import Stage
from perdure_platform.partition import spans
from perdure_platform.partition.containment import DEFECT, ENDS_A_CLAIM
from perdure_platform.partition.query import Reader
from perdure_platform.partition.tokens import Tokens
from perdure_platform.partition.transition import actions, deadlines, workflow
from perdure_platform.partition.transition import decide as transition
from perdure_platform.partition.transition.draft import Draft
from perdure_platform.partition.transition.handlers import HANDLERS
from perdure_schemas import codec, commands, notes
from perdure_schemas.commands import CommandBody, DescribeWorkflow, QueryWorkflow, SignalWorkflow, StartWorkflow, TerminateWorkflow
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.replies import Accepted, RefusalCode, Refused, WorkflowDescribed

BAD = "bad-0"
COUNTER = StartWorkflow("SimCounter", "sim", signal=SignalWorkflow("count", input=plain(1)))
COUNT = SignalWorkflow("count", input=plain(2))


class Contained(World):
    """One partition, whose owner has a defect over one workflow id."""

    def __init__(self) -> None:
        super().__init__(partitions=1)
        self.process = self.start()

    def steps(self, count: int = 60) -> None:
        for _ in range(count):
            self.step()

    def answer(self, workflow_id: str, body: CommandBody) -> Any:
        asked = self.ask(workflow_id, body)
        self.steps()
        return self.asked[asked].answer

    def goes_on(self) -> None:
        """The partition is led, and another workflow runs to its end on it."""
        name = f"note-{len(self.asked)}"
        assert self.answer(name, StartWorkflow("SimNote", "sim")) is not None
        assert self.kinds(name)[-1] == "WorkflowExecutionCompleted"
        assert self.process.node.partitions[0].stage is Stage.LEADING

    def kinds(self, workflow_id: str) -> list[str]:
        return self.promises.kinds[workflow_id]

    def blocked(self, workflow_id: str = BAD) -> list[str]:
        """What the run's blocked activations said."""
        transitions = [t for _, _, record in self.live() for t in record.transitions if t.workflow_id == workflow_id]
        return [note.failure.message for t in transitions for note in t.notes if isinstance(note, notes.ActivationFailed)]

    def letters(self) -> list[DeadLetter]:
        records = self.medium.read("sim.dead-letters", 0, 0, 1_000)
        return [codec.decode_dead_letter(record.value) for record in records]

    def next_owner(self) -> None:
        """The process is killed, and another one takes over."""
        self.lose_process(2)
        self.process = self.start(name=FIRST)
        self.steps(120)


@pytest.fixture
def world() -> Contained:
    return Contained()


def fails_over_bad(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, is_bad: Callable[..., bool]) -> None:
    sound = getattr(owner, name)

    def unsound(*arguments: Any) -> Any:
        if is_bad(*arguments):
            raise LookupError("nobody has thought of this")
        return sound(*arguments)

    monkeypatch.setattr(owner, name, unsound)


def of_draft(draft: Draft, *_: object) -> bool:
    return draft.workflow_id == BAD


DECISIONS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "in the host of code": lambda patch: fails_over_bad(patch, CodeInstance, "activate", lambda one, _: one._start.workflow_id == BAD),
    "in an action": lambda patch: fails_over_bad(patch, transition, "perform", of_draft),
    "in an event's fold": lambda patch: fails_over_bad(patch, Draft, "produce", of_draft),
    "in what ends an activation": lambda patch: fails_over_bad(patch, Draft, "activated", of_draft),
}


@pytest.mark.parametrize("where", list(DECISIONS))
def test_a_defect_over_an_activation_blocks_its_run_and_heals(
    where: str, world: Contained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        DECISIONS[where](patch)
        assert world.answer(BAD, COUNTER) is not None
        assert world.answer(BAD, COUNT) == Accepted(world.promises.open[BAD]), "what came in is recorded all the same"
        world.goes_on()
        described = world.answer(BAD, DescribeWorkflow())
        assert isinstance(described, WorkflowDescribed)
        assert described.activation_failure is not None
        assert described.activation_failure.message == "a defect in the owner: LookupError: nobody has thought of this"
        assert "Traceback" in described.activation_failure.stack_trace
        assert any("nobody has thought of this" in str(record.exc_info) for record in caplog.records if record.exc_info)
        world.next_owner()
        world.goes_on()
    for number in (3, 4):
        world.ask(BAD, SignalWorkflow("count", input=plain(number)))
    world.run_until_done()
    assert world.kinds(BAD)[-1] == "WorkflowExecutionCompleted"
    world.check()


def test_a_record_that_cannot_be_encoded_is_found_before_anything_has_changed(world: Contained, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(border, "checked", lambda action: action)
        assert world.answer(BAD, StartWorkflow("HandsOver", "sim", plain("cancel reason, half a character"))) is not None
        world.goes_on()
        assert world.blocked()
        assert all("CodecError" in said for said in world.blocked())
    world.answer(BAD, TerminateWorkflow())
    world.run_until_done()
    world.check()


def test_a_record_that_no_log_takes_is_found_before_anything_has_changed(world: Contained, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(actions, "check_texts", lambda *_: None)
        assert world.answer(BAD, StartWorkflow("HandsOver", "sim", plain("cancel reason, ten million characters"))) is not None
        world.goes_on()
        assert "DecisionTooLarge" in world.blocked()[0]
    world.answer(BAD, TerminateWorkflow())
    world.run_until_done()
    world.check()


def test_a_command_that_cannot_be_decided_is_a_dead_letter_and_whoever_asked_is_refused(
    world: Contained, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.answer(BAD, COUNTER) is not None
    with monkeypatch.context() as patch:
        patch.setitem(HANDLERS, SignalWorkflow, _unsound(workflow.signal))
        first, bad, last = (world.ask(BAD, SignalWorkflow("count", input=plain(number))) for number in (2, 13, 3))
        world.steps()
        refusal = world.asked[bad].answer
        assert isinstance(refusal, Refused)
        assert refusal.code == RefusalCode.INVALID
        assert "nobody has thought of this" in refusal.message
        assert isinstance(world.asked[first].answer, Accepted)
        assert isinstance(world.asked[last].answer, Accepted)
        world.goes_on()
        (letter,) = world.letters()
        assert letter.reason == DEFECT
        assert codec.decode_command(letter.value).workflow_id == BAD
    world.next_owner()
    world.answer(BAD, SignalWorkflow("count", input=plain(4)))
    world.run_until_done()
    assert world.kinds(BAD).count("WorkflowExecutionSignaled") == 4
    assert len(world.letters()) == 1, "the next owner has set it aside once more"
    world.check()


def _unsound(sound: Callable[..., None]) -> Callable[..., None]:
    def signal(draft: Draft, command: SignalWorkflow, trace_parent: str) -> None:
        if command.input == plain(13):
            raise LookupError("nobody has thought of this")
        sound(draft, command, trace_parent)

    return signal


def test_what_is_due_and_cannot_be_decided_is_looked_at_again(world: Contained, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        fails_over_bad(patch, deadlines, "fire", of_draft)
        assert world.answer(BAD, COUNTER) is not None
        for number in (2, 3, 4):
            world.ask(BAD, SignalWorkflow("count", input=plain(number)))
        world.steps(100)
        world.goes_on()
        assert "TimerFired" not in world.kinds(BAD)
    world.run_until_done()
    assert world.kinds(BAD)[-1] == "WorkflowExecutionCompleted"
    world.check()


@pytest.mark.parametrize(
    ("stage", "body"), [("_describe", DescribeWorkflow()), ("_query", QueryWorkflow("deposits_seen")), ("_send", DescribeWorkflow())]
)
def test_a_read_that_fails_is_refused_to_its_asker(
    stage: str, body: CommandBody, world: Contained, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[object] = []

    def fails(*arguments: Any) -> Any:
        if stage == "_send" and (failed or isinstance(arguments[-1], Refused)):
            return sound(*arguments)
        failed.append(arguments)
        raise LookupError("nobody has thought of this")

    sound = getattr(Reader, stage)
    assert world.answer(BAD, COUNTER) is not None
    with monkeypatch.context() as patch:
        patch.setattr(Reader, stage, fails)
        answer = world.answer(BAD, body)
        assert isinstance(answer, Refused)
        assert "nobody has thought of this" in answer.message
        world.goes_on()


def test_spans_that_fail_are_no_trouble(world: Contained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(telemetry, "is_enabled", lambda: True)
    fails_over_bad(monkeypatch, spans, "_emit", lambda *_: True)
    world.goes_on()
    assert any("spans of the record" in record.getMessage() for record in caplog.records)


def test_a_defect_over_the_reading_of_a_command_makes_it_a_dead_letter(world: Contained, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        fails_over_bad(patch, Tokens, "objection", lambda _, __, command: command.workflow_id == BAD)
        world.send(commands.Command(BAD, SignalWorkflow("count", input=plain(1))))
        world.steps()
        world.goes_on()
    (letter,) = world.letters()
    assert letter.reason == DEFECT


@pytest.mark.parametrize("kind", ENDS_A_CLAIM)
def test_what_ends_a_claim_is_not_kept_from_doing_so(kind: type[Exception], world: Contained, monkeypatch: pytest.MonkeyPatch) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, "this owner cannot lead")
    error.expected = error.offset = 0  # type: ignore[attr-defined]  # a gap's
    raised: list[Exception] = []

    sound = actions.perform

    def ends(*arguments: Any) -> None:
        if not raised:
            raised.append(error)
            raise error
        sound(*arguments)

    monkeypatch.setattr(transition, "perform", ends)
    world.ask(BAD, COUNTER)
    for _ in range(60):
        world.step()
        if raised:
            break
    assert raised
    assert world.process.node.partitions[0].stage is not Stage.LEADING
    assert not world.blocked()
