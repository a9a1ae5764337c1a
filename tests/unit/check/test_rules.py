"""Every rule accepts a good log, and rejects one that is bad in its own way. Good logs are those of the product, in simulation."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kit.forged import COMMANDS, DEAD_LETTERS, HISTORY, REPLIES, TASKS, Forged
from kit.scenarios import SCENARIOS
from kit.world import World, plain
from perdure_check.rules import RULES
from perdure_check.verdict import State
from perdure_schemas import codec, events, notes
from perdure_schemas.commands import (
    Command,
    CompleteActivity,
    DescribeWorkflow,
    FailActivity,
    Origin,
    ReplyAddress,
    Request,
    StartWorkflow,
)
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.failure import ApplicationFailureInfo, Failure, RetryState, TimeoutFailureInfo, TimeoutType
from perdure_schemas.history import Carried, Checkpoint, Claim, CommitRecord, Forget, PositionRecord, Transition
from perdure_schemas.payload import Payload
from perdure_schemas.replies import Accepted, ActivityStartAcknowledged, QueryAnswered, Reply, WorkflowClosed

OUTSIDE = {"I7", "I14"}
"""Not in the log; the checker says so."""


def done(scenario: str) -> World:
    world = SCENARIOS[scenario]()
    world.start()
    world.run_until_done()
    return world


def with_events(record: Any, change: Callable[[Any], Any]) -> Any:
    """The record with `change` made to each of its events."""
    if not isinstance(record, CommitRecord):
        return record
    changed = tuple(
        replace(one, inbound=tuple(map(change, one.inbound)), produced=tuple(map(change, one.produced))) for one in record.transitions
    )
    return replace(record, transitions=changed)


def with_transitions(record: Any, change: Callable[[Transition], Transition]) -> Any:
    return replace(record, transitions=tuple(map(change, record.transitions))) if isinstance(record, CommitRecord) else record


Deed = Callable[[Forged], object]
BAD: dict[str, tuple[str, str, Deed]] = {}
"""What is done to a log: the invariant that it breaks, a workload, the deed."""


def breaks(invariant: str, workload: str) -> Callable[[Deed], Deed]:
    def remember(deed: Deed) -> Deed:
        BAD[f"{invariant} {deed.__name__}"] = invariant, workload, deed
        return deed

    return remember


@breaks("I1", "transfers")
def an_acknowledgement_without_a_record(log: Forged) -> object:
    return log.change(HISTORY, lambda r: replace(r, requests=()) if isinstance(r, CommitRecord) else r)


@breaks("I1", "transfers")
def a_reply_that_says_something_else(log: Forged) -> object:
    return log.change(REPLIES, lambda r: replace(r, body=Accepted("elsewhere")))


@breaks("I1", "signals_and_timers")
def a_result_of_a_run_that_is_open(log: Forged) -> object:
    return log.change(
        REPLIES, lambda r: Reply(r.request_id, replace(r.body, run_id="another")) if hasattr(r.body, "run_id") else r, last=True
    )


@breaks("I1", "deposits_and_queries")
def a_signal_that_was_accepted_and_is_in_no_history(log: Forged) -> object:
    def without(one: Transition) -> Transition:
        return replace(one, inbound=tuple(event for event in one.inbound if not isinstance(event, events.WorkflowExecutionSignaled)))

    return log.change(HISTORY, lambda r: with_transitions(r, without))


@breaks("I1", "transfers")
def a_run_that_was_promised_and_never_began(log: Forged) -> object:
    return log.change(HISTORY, lambda r: replace(r, transitions=()) if isinstance(r, CommitRecord) and r.requests else r)


@breaks("I2", "transfers")
def a_claim_without_a_position_record(log: Forged) -> object:
    def first(r: Any) -> Any:
        if isinstance(r, PositionRecord) and r.sequence == 1:
            return CommitRecord(r.claim_number, r.claim_id, r.sequence, r.time_ms, r.released, r.watermark, r.marks)
        return r

    return log.change(HISTORY, first)


@breaks("I2", "transfers")
def a_live_count_that_is_wrong(log: Forged) -> object:
    return log.change(HISTORY, lambda r: replace(r, live_count=r.live_count + 1) if isinstance(r, PositionRecord) else r, last=True)


@breaks("I2", "transfers")
def a_history_record_of_random_bytes(log: Forged) -> object:
    return log.add((HISTORY, 0), b"random")


@breaks("I3", "transfers")
def an_event_number_is_left_out(log: Forged) -> object:
    return log.change(
        HISTORY,
        lambda r: with_transitions(r, lambda one: replace(one, first_event_id=one.first_event_id + (one.first_event_id > 1))),
    )


@breaks("I3", "chain")
def a_run_that_is_followed_by_none(log: Forged) -> object:
    return log.change(HISTORY, lambda r: replace(r, transitions=r.transitions[:1]) if isinstance(r, CommitRecord) else r)


@breaks("I3", "transfers")
def a_workflow_on_the_wrong_partition(log: Forged) -> object:
    return log.change(
        HISTORY, lambda r: with_transitions(r, lambda one: replace(one, workflow_id=f"{one.workflow_id}-elsewhere")), count=99
    )


@breaks("I3", "transfers")
def an_event_behind_the_close(log: Forged) -> object:
    def closing(r: Any) -> Any:
        def behind(one: Transition) -> Transition:
            is_last = bool(one.produced) and isinstance(one.produced[-1], events.WorkflowExecutionCompleted)
            return replace(one, produced=(*one.produced, events.MarkerRecorded("late"))) if is_last else one

        return with_transitions(r, behind)

    return log.change(HISTORY, closing)


@breaks("I4", "transfers")
def a_command_is_applied_twice(log: Forged) -> object:
    seen: list[int] = []

    def again(r: Any) -> Any:
        if isinstance(r, CommitRecord) and r.command_offsets:
            seen.extend(r.command_offsets)
            if seen[0] not in r.command_offsets:
                return replace(r, command_offsets=(seen[0], *r.command_offsets))
        return r

    return log.change(HISTORY, again)


@breaks("I4", "transfers")
def a_report_below_the_watermark_left_no_trace(log: Forged) -> object:
    def without(r: Any) -> Any:
        return replace(r, command_offsets=(), transitions=()) if isinstance(r, CommitRecord) and not r.requests and not r.commands else r

    return log.change(HISTORY, without, last=True)


@breaks("I4", "transfers")
def a_signal_between_workflows_arrives_twice(log: Forged) -> object:
    def doubled(r: Any) -> Any:
        def twice(one: Transition) -> Transition:
            sent = [event for event in one.inbound if isinstance(event, events.WorkflowExecutionSignaled)]
            return replace(one, inbound=(*one.inbound, *sent))

        return with_transitions(r, twice)

    return log.change(HISTORY, doubled)


@breaks("I4", "messages_to_whoever_is_there")
def a_refused_message_that_nobody_answers(log: Forged) -> object:
    def unanswered(r: Any) -> Any:
        return replace(r, commands=()) if isinstance(r, CommitRecord) and r.commands else r

    return log.change(HISTORY, unanswered)


@breaks("I5", "transfers")
def the_outcome_of_an_attempt_that_is_not_out(log: Forged) -> object:
    def other(event: Any) -> Any:
        return replace(event, attempt=event.attempt + 1) if isinstance(event, events.ActivityTaskStarted) else event

    return log.change(HISTORY, lambda r: with_events(r, other))


@breaks("I5", "fan_out")
def two_outcomes_of_one_activity(log: Forged) -> object:
    def doubled(r: Any) -> Any:
        def twice(one: Transition) -> Transition:
            ends = [event for event in one.inbound if isinstance(event, events.ActivityTaskCompleted)]
            return replace(one, inbound=(*one.inbound, *ends))

        return with_transitions(r, twice)

    return log.change(HISTORY, doubled)


@breaks("I5", "fan_out")
def a_task_that_is_parked_while_a_worker_has_it(log: Forged) -> object:
    def parked(one: Transition) -> Transition:
        for event_id, event in enumerate((*one.inbound, *one.produced), one.first_event_id):
            if isinstance(event, events.ActivityTaskScheduled):
                started = notes.ActivityAttemptStarted(event_id, 1, "nonce", ReplyAddress("worker", 0))
                return replace(one, notes=(started, notes.ActivityTaskParked(event_id, 1, "why", 1)))
        return one

    return log.change(HISTORY, lambda r: with_transitions(r, parked))


@breaks("I5", "fan_out")
def an_attempt_that_is_granted_to_two_deliveries(log: Forged) -> object:
    granted: list[tuple[str, int]] = []

    def announced(one: Transition) -> Transition:
        for event_id, event in enumerate((*one.inbound, *one.produced), one.first_event_id):
            if isinstance(event, events.ActivityTaskScheduled) and not granted:
                granted.append((one.run_id, event_id))
                note = notes.ActivityAttemptStarted(event_id, 1, "the first", ReplyAddress("worker", 0), granted=True)
                return replace(one, notes=(note,))
        return one

    log.change(HISTORY, lambda r: with_transitions(r, announced))
    ((run_id, event_id),) = granted
    return log.add((REPLIES, 0), Reply("another", ActivityStartAcknowledged("fan-0", run_id, event_id, 1, "another", True)))


@breaks("I6", "trimmed")
def a_run_is_carried_with_another_time(log: Forged) -> object:
    def later(r: Any) -> Any:
        if isinstance(r, Carried):
            return replace(r, transitions=tuple(replace(one, time_ms=one.time_ms + 1) for one in r.transitions))
        return r

    return log.change(HISTORY, later)


@breaks("I6", "trimmed")
def a_checkpoint_without_requests(log: Forged) -> object:
    return log.change(HISTORY, lambda r: replace(r, requests=()) if isinstance(r, Checkpoint) else r)


@breaks("I6", "trimmed")
def a_beginning_of_which_a_part_is_missing(log: Forged) -> object:
    place = next(place for place in log.records if place[0] == HISTORY)
    decoded = [codec.decode_history(record.value) for record in log.records[place]]
    start = max(record.start for record in decoded if isinstance(record, Checkpoint))
    log.bounds[place] = replace(log.bounds[place], start=start)
    log.records[place] = [record for record in log.records[place] if record.offset >= start]
    return log.change(HISTORY, lambda r: replace(r, parts=r.parts + 1) if isinstance(r, Checkpoint) else r)


@breaks("I6", "trimmed")
def a_run_of_which_not_every_part_was_carried(log: Forged) -> object:
    return log.change(HISTORY, lambda r: replace(r, parts=r.parts + 1) if isinstance(r, Carried) else r, count=99)


@breaks("I8", "signals_and_timers")
def a_run_whose_code_has_not_seen_its_input(log: Forged) -> object:
    def asleep(one: Transition) -> Transition:
        return replace(one, activated=False, produced=())

    return log.change(HISTORY, lambda r: with_transitions(r, asleep), last=True)


@breaks("I9", "transfers")
def a_command_of_a_record_that_is_not_live(log: Forged) -> object:
    return log.change(COMMANDS, lambda r: replace(r, origin=Origin(0, 0, 0)) if r.origin is not None else r)


@breaks("I9", "transfers")
def a_task_that_nobody_scheduled(log: Forged) -> object:
    return log.change(TASKS, lambda r: replace(r, scheduled_event_id=99))


@breaks("I9", "deposits_and_queries")
def an_answer_that_is_stale(log: Forged) -> object:
    def stale(r: Reply) -> Reply:
        none = (Payload({"encoding": b"json/plain"}, b"0"),)
        return replace(r, body=replace(r.body, result=none)) if isinstance(r.body, QueryAnswered) else r

    return log.change(REPLIES, stale)


@breaks("I10", "transfers")
def a_task_that_never_left(log: Forged) -> object:
    place = next(place for place, records in log.records.items() if place[0] == TASKS and records)
    return log.records[place].pop()


@breaks("I10", "transfers")
def a_reply_that_never_left(log: Forged) -> object:
    place = next(place for place, records in log.records.items() if place[0] == REPLIES and records)
    return log.records[place].pop()


@breaks("I11", "signals_and_timers")
def a_timer_that_fires_early(log: Forged) -> object:
    def longer(event: Any) -> Any:
        return replace(event, delay_ms=event.delay_ms + 60) if isinstance(event, events.TimerStarted) else event

    return log.change(HISTORY, lambda r: with_events(r, longer))


@breaks("I11", "signals_and_timers")
def a_timer_that_fires_twice(log: Forged) -> object:
    def doubled(r: Any) -> Any:
        def twice(one: Transition) -> Transition:
            return replace(one, inbound=(*one.inbound, *(event for event in one.inbound if isinstance(event, events.TimerFired))))

        return with_transitions(r, twice)

    return log.change(HISTORY, doubled)


@breaks("I11", "impatient")
def a_timeout_although_the_report_was_there(log: Forged) -> object:
    """The outcome of a report becomes a timeout that was due when it was recorded, a millisecond after the report had come."""
    scheduled_ms = 0

    def timed_out(r: Any) -> Any:
        nonlocal scheduled_ms
        if not isinstance(r, CommitRecord):
            return r

        def other(event: Any) -> Any:
            nonlocal scheduled_ms
            if isinstance(event, events.ActivityTaskScheduled):
                scheduled_ms = r.time_ms
            elif isinstance(event, events.ActivityTaskCompleted):
                late = Failure("late", source="perdure", info=TimeoutFailureInfo(TimeoutType.SCHEDULE_TO_CLOSE))
                return events.ActivityTaskTimedOut(event.scheduled_event_id, event.started_event_id, late, RetryState.TIMEOUT)
            return event

        changed = with_events(r, other)
        waited_ms.append(r.time_ms + 1 - scheduled_ms)
        return r if changed == r else replace(changed, time_ms=r.time_ms + 1)

    waited_ms: list[int] = []
    log.change(HISTORY, timed_out)

    def just_then(event: Any) -> Any:
        scheduled = isinstance(event, events.ActivityTaskScheduled)
        return replace(event, schedule_to_close_timeout_ms=waited_ms[-1]) if scheduled else event

    return log.change(HISTORY, lambda r: with_events(r, just_then), count=9)


@breaks("I12", "transfers")
def time_that_goes_back(log: Forged) -> object:
    return log.change(HISTORY, lambda r: replace(r, time_ms=r.time_ms - 1_000) if isinstance(r, CommitRecord) else r, last=True)


@breaks("I12", "messages_to_whoever_is_there")
def a_signal_that_overtakes_another(log: Forged) -> object:
    def earlier(event: Any) -> Any:
        if isinstance(event, events.WorkflowExecutionSignaled) and event.source is not None:
            return replace(event, source=replace(event.source, run_id="one", initiated_event_id=100 - event.source.initiated_event_id))
        return event

    log.change(HISTORY, lambda r: with_events(r, earlier))
    return log.change(
        HISTORY, lambda r: with_transitions(r, lambda one: replace(one, inbound=(*one.inbound, *one.inbound[-1:]))), last=True
    )


@breaks("I13", "transfers")
def poison_that_is_no_dead_letter(log: Forged) -> object:
    def garbled(r: Command) -> object:
        return b"poison" if r.origin is None and r.request is None else r

    log.change(HISTORY, lambda r: replace(r, command_offsets=()) if isinstance(r, CommitRecord) and not r.requests else r, count=99)
    return log.change(COMMANDS, garbled)


def _not_believed(log: Forged, arrived: Callable[[Command], bool]) -> object:
    """Let a live record say that an owner would not believe this command."""
    place, record = next(
        (place, record)
        for place, records in log.records.items()
        if place[0] == COMMANDS
        for record in records
        if arrived(codec.decode_command(record.value))
    )
    letter = DeadLetter(*place, record.offset, "forged", "made up", b"", record.value, 0)

    def telling(r: Any) -> Any:
        return replace(r, dead_letters=(letter,)) if isinstance(r, CommitRecord) and r.watermark is not None else r

    log.add((DEAD_LETTERS, 0), letter)
    return log.change(HISTORY, telling)


@breaks("I13", "transfers")
def a_start_that_is_called_forged(log: Forged) -> object:
    return _not_believed(log, lambda command: isinstance(command.body, StartWorkflow))


@breaks("I10", "transfers")
def a_message_of_a_live_record_that_is_called_forged(log: Forged) -> object:
    return _not_believed(log, lambda command: command.origin is not None)


@breaks("I15", "transfers")
def a_watermark_that_goes_down(log: Forged) -> object:
    return log.change(HISTORY, lambda r: replace(r, watermark=0) if isinstance(r, PositionRecord) else r, last=True)


@breaks("I15", "transfers")
def a_released_that_goes_down(log: Forged) -> object:
    return log.change(HISTORY, lambda r: replace(r, released=-1) if isinstance(r, PositionRecord) else r, last=True)


@breaks("I15", "transfers")
def commands_that_nobody_takes(log: Forged) -> object:
    return log.add((COMMANDS, 0), log.last((COMMANDS, 0)))


@breaks("I16", "transfers")
def claims_that_alternate(log: Forged) -> object:
    claim = next(r for r in (log.last((HISTORY, 0)),) if r is not None)
    number, claim_id = claim.claim_number, claim.claim_id
    for turn in range(4):
        log.add((HISTORY, 0), Claim(number + 1, f"new-{turn}", claim_id, f"owner-{turn % 2}", "h", 1, "b", 1, "c", "h", 2, claim.time_ms))
        number, claim_id = number + 1, f"new-{turn}"
    return claim_id


@breaks("I17", "transfers")
def records_behind_a_missing_part(log: Forged) -> object:
    return log.change(HISTORY, lambda r: replace(r, live_count=r.live_count + 5) if isinstance(r, PositionRecord) else r)


@breaks("I18", "transfers")
def an_amount_that_changes_on_its_way(log: Forged) -> object:
    def more(event: Any) -> Any:
        if isinstance(event, events.WorkflowExecutionSignaled):
            return replace(event, input=(Payload({"encoding": b"json/plain"}, b"1000"),))
        return event

    return log.change(HISTORY, lambda r: with_events(r, more))


def with_commands(log: Forged, change: Callable[[Command], Any]) -> object:
    """`change` gives the command's new body, or None."""

    def changed(command: Any) -> Any:
        body = change(command)
        return command if body is None else replace(command, body=body)

    return log.change(COMMANDS, changed, count=999)


ALTERED = (Payload({"encoding": b"json/plain"}, b'"altered"'),)


def with_altered(log: Forged, kind: type[Any], **fields: object) -> object:
    """The first events of a kind say something else."""
    return log.change(HISTORY, lambda r: with_events(r, lambda event: replace(event, **fields) if isinstance(event, kind) else event))


@breaks("I1", "transfers")
def a_start_with_another_input(log: Forged) -> object:
    return with_altered(log, events.WorkflowExecutionStarted, input=ALTERED)


@breaks("I1", "transfers")
def a_start_of_another_type(log: Forged) -> object:
    return with_altered(log, events.WorkflowExecutionStarted, workflow_type="Else")


@breaks("I5", "transfers")
def a_result_that_no_worker_has_reported(log: Forged) -> object:
    return with_altered(log, events.ActivityTaskCompleted, result=ALTERED)


@breaks("I5", "transfers")
def a_completion_that_no_command_reported(log: Forged) -> object:
    return with_commands(log, lambda c: DescribeWorkflow() if isinstance(c.body, CompleteActivity) else None)


@breaks("I5", "transfers")
def a_report_of_a_stale_attempt_that_counts(log: Forged) -> object:
    def staler(command: Command) -> Any:
        body = command.body
        if isinstance(body, CompleteActivity) and body.activity.attempt > 1:
            return replace(body, activity=replace(body.activity, attempt=body.activity.attempt - 1))
        return None

    return with_commands(log, staler)


@breaks("I5", "transfers")
def a_failure_that_is_recorded_as_a_success(log: Forged) -> object:
    failure = Failure("no", info=ApplicationFailureInfo("No"))
    return with_commands(log, lambda c: FailActivity(c.body.activity, failure) if isinstance(c.body, CompleteActivity) else None)


@breaks("I9", "transfers")
def a_task_with_another_input(log: Forged) -> object:
    return log.change(TASKS, lambda task: replace(task, input=ALTERED))


@breaks("I9", "transfers")
def a_task_of_another_type(log: Forged) -> object:
    return log.change(TASKS, lambda task: replace(task, activity_type="else"))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_log_is_rejected_by_the_rule_that_is_there_for_it(name: str) -> None:
    invariant, workload, deed = BAD[name]
    log = Forged(done(workload))
    deed(log)
    verdict = log.check().of(invariant)
    assert verdict.state is State.BROKEN, verdict
    assert verdict.witnesses


@pytest.mark.parametrize("workload", SCENARIOS)
def test_a_good_log_is_accepted_by_every_rule(workload: str) -> None:
    report = Forged(done(workload)).check()
    assert [str(witness) for verdict in report.verdicts for witness in verdict.witnesses] == []
    assert {verdict.invariant for verdict in report.verdicts if verdict.state is State.NOT_CHECKED} == OUTSIDE


def test_a_client_that_waited_must_be_told_the_result_that_is_recorded() -> None:
    world = World(partitions=1)
    request = Request("asked", world.clock.ms + 60_000, ReplyAddress("somebody", 0))
    world.send(Command("chain", StartWorkflow("SimChain", "sim", plain(0, 0), await_result=True), request))
    world.start()
    world.run_until_done()
    assert Forged(world).check().of("I1").state is State.HOLDS
    log = Forged(world)
    log.change(REPLIES, lambda r: replace(r, body=replace(r.body, result=ALTERED)) if isinstance(r.body, WorkflowClosed) else r)
    assert log.check().of("I1").state is State.BROKEN


def test_a_summary_may_tell_of_a_run_that_was_forgotten_since_but_not_of_one_that_never_was() -> None:
    log = Forged(done("trimmed"))  # whole, as if its deletes had never arrived
    records = [codec.decode_history(record.value) for place, there in log.records.items() if place[0] == HISTORY for record in there]
    forgotten = [run for record in records if isinstance(record, Forget) for run in record.runs]
    assert forgotten
    row = {"status": "completed", "start_time_ms": 1, "close_time_ms": 2, "history_length": 3}
    told = [{"workflow_id": run.workflow_id, "run_id": run.run_id, **row} for run in forgotten]
    never = {"workflow_id": "nobody", "run_id": "r", **row}
    witnesses = log.check((*told, never)).of("I6").witnesses
    assert [one.workflow_id for one in witnesses if "in no history" in one.sentence] == ["nobody"]


def test_every_rule_has_a_log_that_it_must_reject() -> None:
    assert {rule.invariant for rule in RULES} == {invariant for invariant, *_ in BAD.values()} | OUTSIDE
