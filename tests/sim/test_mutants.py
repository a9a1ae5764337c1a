"""The misreadings of the protocol that lose money, put into the real code one at a time: each must be caught by a check.

Names are those of the flags of the protocol's executable model. A scenario passes on the code as it is, and fails with the mutant.
Flags about trimming (carry_noop, trim_unreleased, late_reader_jumps, ckpt_no_reqs, ckpt_no_applied, carried_current, claim_waits) belong to
the work that brings trimming.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kit.core import Core, data
from kit.world import NAMESPACE, World, plain, run_with_crash
from perdure_platform.partition import append, confirm, owner, rebuild, release
from perdure_platform.partition.apply import Applier
from perdure_platform.partition.barrier import Barrier, Question
from perdure_platform.partition.transition import activity
from perdure_platform.partition.transition.draft import Draft
from perdure_schemas import codec, live
from perdure_schemas.commands import CompleteActivity, SignalWorkflow, StartWorkflow
from perdure_schemas.errors import PerdureError
from perdure_schemas.history import Claim, CommitRecord, PositionRecord
from perdure_schemas.live import LiveState, Verdict, judge
from perdure_schemas.replies import Refused

Patch = Callable[[pytest.MonkeyPatch], None]


# -- scenarios


def crashes_of_a_transfer() -> None:
    """The owner dies at many port calls while accounts on two partitions are told of transfers."""
    for at in range(40, 400, 9):
        world = World()
        for account in ("account-0", "account-3"):
            world.ask(account, StartWorkflow("SimAccount", "sim", plain("0")))
        for number in range(3):
            values = (*plain('"account-0"'), *plain('"account-3"'), *plain(str(number + 1)))
            world.ask(f"transfer-{number}", StartWorkflow("SimTransfer", "sim", values))
        run_with_crash(world, at, before=at % 2 == 0, batches_lost=at % 3)


def half_appended_turns() -> None:
    """The owner dies between the records of one turn that tells several accounts of messages from one source."""

    def world_of_accounts() -> World:
        world = World(partitions=1)
        for account in range(4):
            world.ask(f"account-{account}", StartWorkflow("SimAccount", "sim", plain("0")))
        for number in range(2):
            values = (*plain(f'"account-{number}"'), *plain(f'"account-{number + 2}"'), *plain(str(number + 1)))
            world.ask(f"transfer-{number}", StartWorkflow("SimTransfer", "sim", values))
        return world

    undisturbed = world_of_accounts()
    calls = undisturbed.start().calls
    undisturbed.run_until_done()
    for at, name in enumerate(calls.names, 1):
        if name == "producer.append":
            run_with_crash(world_of_accounts(), at, before=False, batches_lost=0)


def position(state: LiveState, sequence: int, live_count: int) -> PositionRecord:
    return PositionRecord(state.claim_number, state.claim_id, sequence, 0, 0, 0, {}, live_count)


def claim(number: int, claim_id: str, previous: str, who: str = "o") -> Claim:
    return Claim(number, claim_id, previous, who, "h", 1, "b", 1, "c", "h", 1, 0)


def verdicts(log: list[Any]) -> list[Verdict]:
    state, found = LiveState(), []
    for record in log:
        verdict, state = live.judge(state, record)
        found.append(verdict)
    return found


def copies_holes_and_rivals() -> None:
    """A log with a lost record, a copy, a rival claim, a copied claim and a zombie's records: who is live is fixed."""
    a, b = LiveState(1, "a"), LiveState(2, "b")
    log = [
        claim(1, "a", ""),
        position(a, 1, 2),
        position(a, 1, 2),  # a copy
        position(a, 3, 4),  # behind a hole
        claim(2, "b", "a"),
        claim(2, "c", "a"),  # a rival that came second
        claim(1, "a", ""),  # the first claim again
        position(a, 2, 3),  # the zombie
        position(b, 1, 4),
        position(LiveState(2, "c"), 1, 4),  # the rival does not know that it lost
    ]
    alive = [Verdict.LIVE, Verdict.LIVE, None, None, Verdict.LIVE, None, None, None, Verdict.LIVE, None]
    assert [verdict if verdict is Verdict.LIVE else None for verdict in verdicts(log)] == alive


def a_zombie_of_the_same_process() -> None:
    """A process claims twice; what its first claim still had on the way is dead."""
    log = [claim(1, "a", "", "p"), claim(2, "b", "a", "p"), position(LiveState(1, "a"), 1, 2)]
    assert verdicts(log)[2] is Verdict.SUPERSEDED_CLAIM


def a_late_result() -> None:
    """The first attempt's result arrives after the second attempt began."""
    core = Core()
    core.start()
    first = core.attempt()
    from perdure_schemas.commands import FailActivity
    from perdure_schemas.failure import Failure

    core.take(FailActivity(first, Failure("busy")))
    core.pass_time(1_000)
    assert not core.take(CompleteActivity(first, data("late"))).is_recorded


def a_result_in_the_backlog() -> None:
    """An attempt's deadline has passed, but commands were not read that far."""
    core = Core(caught_up=True)
    core.start()
    from kit.core import WORKER
    from perdure_schemas.commands import ActivityStarted

    core.take(ActivityStarted(core.attempt(), "n", WORKER))
    core.caught_up = False
    assert not core.pass_time(120_000).is_recorded


def a_refused_request() -> None:
    """A refusal is a fact: recorded under its workflow id, with its offset."""
    core = Core()
    core.start()
    decision = core.take(StartWorkflow("Transfer", "queue"), request_id="again")
    assert decision.is_recorded
    assert decision.requests, "the refusal left no request id"
    assert isinstance(decision.requests[0].outcome, Refused)
    assert decision.applied_offset == core.offset


def an_early_read() -> None:
    """A read is answered only behind an end offset that was fetched after it was asked, and behind its own turn's records."""
    asked: list[str] = []

    class Ends:
        def result(self) -> None:
            return None

    ends: list[tuple[int, int]] = []
    barrier = Barrier(lambda: Ends(), lambda request: ends.pop() if ends else None)
    barrier.turn(1, 0, 0, 0)  # a request is out before the question comes
    barrier.ask(lambda: asked.append("answered"), 5)
    ends.append((10, 0))
    barrier.turn(2, 0, 10, 5)
    assert not asked, "answered behind an end that was fetched before the question"
    ends.append((12, 0))
    barrier.turn(3, 0, 11, 5)
    assert not asked, "answered before history was read that far"
    barrier.turn(4, 0, 12, 4)
    assert not asked, "answered before the turn's own records were confirmed"
    barrier.turn(5, 0, 12, 5)
    assert asked == ["answered"]


def a_turn_of_several_records() -> None:
    """Only the last record of a turn carries watermark and marks."""
    world = World(partitions=1)
    world.start()
    for _ in range(10):
        world.step()
    for number in range(5):
        world.ask(f"counter-{number}", StartWorkflow("SimCounter", "sim"))
    for _ in range(5):
        world.step()
    records = [record for _, _, record in world.live() if record.command_offsets]
    assert len(records) == 5
    assert [record.watermark is None for record in records] == [True] * 4 + [False]


def effects_wait_for_the_log() -> None:
    """Nothing leaves for a record that is appended and not read back; `released` stays below what is not acknowledged."""
    world = World(partitions=1)
    process = world.start()
    for _ in range(10):
        world.step()
    leader = process.node.partitions[0].owner
    assert leader is not None
    tasks = f"{NAMESPACE}.tasks.sim"
    values = (*plain('"account-0"'), *plain('"account-3"'), *plain("1"))
    world.ask("transfer-0", StartWorkflow("SimTransfer", "sim", values))
    world.step()
    process.node.turn(0)
    appended = [record for _, _, record in world.live() if record.transitions]
    if leader.confirmer.in_flight:
        assert appended
        assert not world.medium.names(tasks) or world.medium.bounds(tasks, 0)[1] == 0, "a task left before its record was read back"
    released = release.Releaser(NAMESPACE, 1, process.node._around.lanes, lambda queue: 1, 5)
    effects = leader_effects(appended)
    released.release(6, effects)
    assert released.released == 5, "released moved before the acknowledgement"
    released.close()


def leader_effects(records: list[CommitRecord]) -> list[Any]:
    from perdure_platform.partition.transition.effects import SendReply

    return [SendReply(reply) for record in records for reply in record.replies][:1]


def commands_of_a_failed_stream_go_again_in_order() -> None:
    """After a failed append of a command everything unacknowledged is sent again, in log order, under its old origin."""
    from perdure_platform.partition.transition.effects import SendCommand
    from perdure_schemas.commands import Command, Origin

    sent: list[tuple[int, int]] = []

    class Lanes:
        on_commands_failed: list[Any] = []  # noqa: RUF012

        def send_command(self, topic: str, partition: int, key: bytes, value: bytes, headers: Any, token: Any) -> None:
            sent.append((token.offset, token.index))

    lanes: Any = Lanes()
    releaser = release.Releaser(NAMESPACE, 1, lanes, lambda queue: 1, 0)
    for offset in (3, 4):
        releaser.release(offset, [SendCommand(Command("a", SignalWorkflow("go"), origin=Origin(0, offset, index)), "") for index in (0, 1)])
    releaser.acknowledged(3, 0)
    sent.clear()
    lanes.on_commands_failed[0](RuntimeError())
    assert sent == [(3, 1), (4, 0), (4, 1)]


def a_claim_is_read_back_before_anything_is_led() -> None:
    """A rival's claim lands first: the process that only sent its own does not lead."""
    world = World(partitions=1)
    submit, rivals = world.medium.submit, [_claim_over(world, "rival")]

    def rival_first(append: Any) -> None:
        if rivals and append.topic == f"{NAMESPACE}.history":
            world.medium.append(append.topic, 0, None, codec.encode_history(rivals.pop()))
        submit(append)

    world.medium.submit = rival_first  # type: ignore[method-assign]
    process = world.start()
    for _ in range(60):
        world.step()
        assigned = process.node.partitions[0]
        assert assigned.owner is None or assigned.owner.claim.claim_number == 2, "leads by a claim that never counted"
    assert assigned.owner is not None


def _claim_over(world: World, claim_id: str) -> Claim:
    count, commands_id, history_id = world.described
    return replace(claim(1, claim_id, ""), commands_topic_id=commands_id, history_topic_id=history_id, partition_count=count)


def a_claims_positions_are_not_its_successors() -> None:
    """Positions only rise."""
    from perdure_platform.partition.transition.positions import Positions, advance

    before = Positions(9, -1, LiveState(1, "a", 4, 5), watermark=7, released=6, time_ms=100)
    after = advance(before, position(LiveState(1, "a"), 5, 6), LiveState(1, "a", 5, 6), 9, -1, 50)
    assert (after.watermark, after.released, after.time_ms) == (7, 6, 100)


# -- mutants


def no_seq(patch: pytest.MonkeyPatch) -> None:
    def mutant(state: LiveState, record: Any) -> tuple[Verdict, LiveState]:
        if isinstance(record, Claim):
            return judge(state, record)
        if record.claim_id != state.claim_id:
            return Verdict.SUPERSEDED_CLAIM, state
        return Verdict.LIVE, replace(state, sequence=record.sequence, live_count=state.live_count + 1)

    patch.setattr(live, "judge", mutant)


def claim_latest(patch: pytest.MonkeyPatch) -> None:
    def mutant(state: LiveState, record: Any) -> tuple[Verdict, LiveState]:
        if isinstance(record, Claim):
            return Verdict.LIVE, LiveState(record.claim_number, record.claim_id, 0, state.live_count + 1)
        return judge(state, record)

    patch.setattr(live, "judge", mutant)


def claim_by_owner(patch: pytest.MonkeyPatch) -> None:
    owners: dict[str, str] = {}

    def mutant(state: LiveState, record: Any) -> tuple[Verdict, LiveState]:
        if isinstance(record, Claim):
            owners[record.claim_id] = record.owner
            return judge(state, record)
        if owners.get(record.claim_id) == owners.get(state.claim_id):
            record = replace(record, claim_id=state.claim_id)
        return judge(state, record)

    patch.setattr(live, "judge", mutant)


def alarm(patch: pytest.MonkeyPatch) -> None:
    def mutant(state: LiveState, record: Any) -> tuple[Verdict, LiveState]:
        verdict, after = judge(state, record)
        if verdict is Verdict.SUPERSEDED_CLAIM:
            raise AssertionError("alarm for a claim that is not in force")
        return verdict, after

    patch.setattr(live, "judge", mutant)


def wm_every(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: Any, record: Any, workflow_id: str, runs: Any) -> None:
        self._append(replace(record, watermark=max(record.command_offsets, default=self.watermark)), workflow_id, runs)
        self._held = None

    patch.setattr(append.Appender, "_hold", mutant)


def applied_off(patch: pytest.MonkeyPatch) -> None:
    original = Applier.__init__

    class Nothing(dict[str, int]):
        def get(self, key: str, default: Any = None) -> Any:
            return default

    def mutant(self: Any, tables: Any) -> None:
        original(self, tables)
        self.applied = Nothing(self.applied)

    patch.setattr(Applier, "__init__", mutant)


def marks_off(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(owner, "is_origin_new", lambda command, marks: True)


def released_on_send(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(release.Releaser, "released", property(lambda self: self._last_offset))


def release_early(patch: pytest.MonkeyPatch) -> None:
    """Effects leave when their record is appended; a crash before it landed then leaves effects of nothing."""
    patch.setattr(release.Releaser, "released", property(lambda self: 1 << 40))


def no_barrier(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Barrier, "ask", lambda self, answer, sequence: answer())


def barrier_before_turn(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: Any, answer: Any, sequence: int) -> None:
        self._questions.append(Question(answer, 0, self._numbers_made + 1))

    patch.setattr(Barrier, "ask", mutant)


def any_result(patch: pytest.MonkeyPatch) -> None:
    def mutant(draft: Draft, reference: Any) -> Any:
        run = draft.open_run
        return None if run is None else run.activities.get(reference.scheduled_event_id)

    patch.setattr(activity, "find", mutant)


def no_drain(patch: pytest.MonkeyPatch) -> None:
    from perdure_platform.partition.transition import deadlines

    def mutant(draft: Draft) -> None:
        draft.context = replace(draft.context, caught_up_ms=draft.context.now_ms)
        original(draft)

    original = deadlines.fire
    patch.setattr(deadlines, "fire", mutant)


def refusal_no_record(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: Draft, outcome: Any) -> None:
        if isinstance(outcome, Refused):
            self.answer_request(outcome)
        else:
            original(self, outcome)

    original = Draft.settle
    patch.setattr(Draft, "settle", mutant)


def refusal_unordered(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: Draft, outcome: Any) -> None:
        offset = self._applied_offset
        original(self, outcome)
        if isinstance(outcome, Refused):
            self._applied_offset = offset

    original = Draft.settle
    patch.setattr(Draft, "settle", mutant)


def effects_gaps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(release.Releaser, "_resend_commands", lambda self, error: None)


def claim_trusting(patch: pytest.MonkeyPatch) -> None:
    from perdure_platform.node import assignment

    def mutant(self: Any) -> None:
        original(self)
        if self._claiming is not None:
            self._lead(self._applier.positions.next_offset)

    original = assignment.AssignedPartition._claim_at_end
    patch.setattr(assignment.AssignedPartition, "_claim_at_end", mutant)


def claim_sets(patch: pytest.MonkeyPatch) -> None:
    from perdure_platform.partition.transition import positions

    original = positions.advance

    def mutant(before: Any, record: Any, *rest: Any) -> Any:
        return replace(original(before, record, *rest), watermark=record.watermark, released=record.released)

    patch.setattr(positions, "advance", mutant)


MUTANTS: dict[str, tuple[Patch, Callable[[], None]]] = {
    "no_seq": (no_seq, copies_holes_and_rivals),
    "claim_latest": (claim_latest, copies_holes_and_rivals),
    "claim_by_owner": (claim_by_owner, a_zombie_of_the_same_process),
    "alarm": (alarm, copies_holes_and_rivals),
    "wm_every": (wm_every, a_turn_of_several_records),
    "applied_off": (applied_off, half_appended_turns),
    "marks_off": (marks_off, crashes_of_a_transfer),
    "released_on_send": (released_on_send, effects_wait_for_the_log),
    "release_early": (release_early, effects_wait_for_the_log),
    "no_barrier": (no_barrier, an_early_read),
    "barrier_before_turn": (barrier_before_turn, an_early_read),
    "any_result": (any_result, a_late_result),
    "no_drain": (no_drain, a_result_in_the_backlog),
    "refusal_no_record": (refusal_no_record, a_refused_request),
    "refusal_unordered": (refusal_unordered, a_refused_request),
    "effects_gaps": (effects_gaps, commands_of_a_failed_stream_go_again_in_order),
    "claim_trusting": (claim_trusting, a_claim_is_read_back_before_anything_is_led),
    "claim_sets": (claim_sets, a_claims_positions_are_not_its_successors),
}


@pytest.mark.parametrize("scenario", dict.fromkeys(scenario for _, scenario in MUTANTS.values()), ids=lambda scenario: scenario.__name__)
def test_the_code_as_it_is_passes(scenario: Callable[[], None]) -> None:
    scenario()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_misreading_of_the_protocol_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, scenario = MUTANTS[name]
    mutate(monkeypatch)
    for module in (confirm, rebuild):
        monkeypatch.setattr(module, "judge", live.judge)
    with pytest.raises((AssertionError, PerdureError)):
        scenario()
