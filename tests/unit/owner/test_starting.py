from kit.core import Core, data, failing, produced, with_expiry
from perdure._replay.actions import CompleteWorkflow, ContinueAsNewWorkflow, FailWorkflow
from perdure_schemas import events
from perdure_schemas.commands import SignalWorkflow, StartWorkflow, TerminateWorkflow
from perdure_schemas.failure import Failure
from perdure_schemas.options import IdConflictPolicy, IdReusePolicy, RetryOptions, WorkflowStatus
from perdure_schemas.replies import Accepted, RefusalCode, Refused, WorkflowStarted


def test_a_start_is_one_record_with_what_the_code_asked_for() -> None:
    core = Core()
    decision = core.start(StartWorkflow("Transfer", "queue", data("1")))
    assert [type(event) for event in produced(decision)] == [events.WorkflowExecutionStarted, events.ActivityTaskScheduled]
    assert decision.applied_offset == 1
    (request,) = decision.requests
    assert request.outcome == WorkflowStarted(core.run.run_id, core.run.run_id)
    assert decision.replies[0].body == request.outcome


def test_a_retried_start_gets_the_same_answer_and_does_nothing() -> None:
    core = Core()
    first = core.start().requests[0].outcome
    again = core.start()
    assert not again.is_recorded
    assert again.answers[0].body == first


def test_the_same_request_twice_in_one_batch_acts_once() -> None:
    core = Core()
    decision = core.decide(core.arrived(StartWorkflow("T", "q"), "a"), core.arrived(StartWorkflow("T", "q"), "a"))
    assert sum(isinstance(event, events.WorkflowExecutionStarted) for event in produced(decision)) == 1
    assert len(decision.requests) == 1
    assert len(decision.answers) == 1


def test_a_second_start_is_refused_in_the_log() -> None:
    core = Core()
    core.start()
    decision = core.take(StartWorkflow("Transfer", "queue"), request_id="other")
    outcome = decision.requests[0].outcome
    assert isinstance(outcome, Refused)
    assert outcome.code == RefusalCode.ALREADY_STARTED
    assert outcome.run_id == core.run.run_id
    assert decision.is_recorded
    assert decision.applied_offset == 2
    assert not decision.runs


def test_an_expired_request_does_nothing_and_is_told_so() -> None:
    core = Core()
    decision = core.decide(with_expiry(core.arrived(StartWorkflow("T", "q"), "late"), core.now_ms - 1))
    assert not decision.is_recorded
    body = decision.answers[0].body
    assert isinstance(body, Refused)
    assert body.code == RefusalCode.EXPIRED


def test_use_existing_answers_with_the_open_run() -> None:
    core = Core()
    core.start()
    decision = core.take(StartWorkflow("T", "q", id_conflict_policy=IdConflictPolicy.USE_EXISTING), request_id="b")
    assert decision.requests[0].outcome == WorkflowStarted(core.run.run_id, core.run.run_id, started=False)


def test_terminate_existing_closes_and_starts_in_one_record() -> None:
    core = Core()
    core.start()
    old = core.run.run_id
    decision = core.take(StartWorkflow("T", "q", id_conflict_policy=IdConflictPolicy.TERMINATE_EXISTING), request_id="b")
    assert [run.state.status for run in decision.runs] == [WorkflowStatus.TERMINATED, WorkflowStatus.RUNNING]
    assert core.run.run_id != old


def test_reuse_of_a_closed_id_follows_the_policy() -> None:
    for policy, completed, allowed in (
        (IdReusePolicy.ALLOW_DUPLICATE, True, True),
        (IdReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY, True, False),
        (IdReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY, False, True),
        (IdReusePolicy.REJECT_DUPLICATE, False, False),
    ):
        core = Core(code=lambda run, activation: (CompleteWorkflow(()),))
        if completed:
            core.start()
        else:
            core.code = lambda run, activation: ()
            core.start()
            core.take(TerminateWorkflow(), request_id="t")
        decision = core.take(StartWorkflow("T", "q", id_reuse_policy=policy), request_id="again")
        assert isinstance(decision.requests[0].outcome, WorkflowStarted if allowed else Refused), (policy, completed)


def test_signal_with_start_is_seen_in_the_first_activation() -> None:
    core = Core()
    core.start(StartWorkflow("T", "q", signal=SignalWorkflow("go", input=data("1"))))
    kinds = [type(event) for _, event in core.activations[0].inbound]
    assert kinds == [events.WorkflowExecutionStarted, events.WorkflowExecutionSignaled]


def test_a_signal_to_nobody_is_refused_in_the_log() -> None:
    core = Core()
    decision = core.take(SignalWorkflow("go"), request_id="s")
    assert isinstance(decision.requests[0].outcome, Refused)
    assert decision.applied_offset == 1


def test_a_hundred_signals_are_one_activation() -> None:
    core = Core()
    core.start()
    core.decide(*(core.arrived(SignalWorkflow("go"), f"s{n}") for n in range(100)))
    assert len(core.activations) == 2
    assert len(core.activations[1].inbound) == 100


def test_a_start_delay_holds_the_code_back() -> None:
    core = Core()
    core.start(StartWorkflow("T", "q", start_delay_ms=5_000))
    assert not core.activations
    assert core.run.next_due_ms() == core.now_ms + 5_000
    core.pass_time(4_999)
    assert not core.activations
    core.pass_time(1)
    assert len(core.activations) == 1


def test_blocked_code_leaves_the_run_open_and_is_tried_again_with_back_off() -> None:
    core = Core(code=failing("KeyError: 'x'"))
    core.start()
    assert core.run.is_open
    assert core.run.activation_failure is not None
    assert core.run.activation_failure.attempt == 1
    assert core.run.next_due_ms() == core.now_ms + 1_000
    core.pass_time(1_000)
    assert core.run.activation_failure.attempt == 2
    assert core.run.next_due_ms() == core.now_ms + 2_000
    core.code = lambda run, activation: (CompleteWorkflow(()),)
    core.pass_time(2_000)
    assert core.run.status is WorkflowStatus.COMPLETED
    assert [type(event) for _, event in core.activations[-1].inbound] == [events.WorkflowExecutionStarted]


def test_inputs_of_a_failed_activation_are_recorded_all_the_same() -> None:
    core = Core()
    core.start()
    core.code = failing()
    decision = core.take(SignalWorkflow("go"), request_id="s")
    assert isinstance(decision.requests[0].outcome, Accepted)
    assert [type(event) for event in produced(decision)] == [events.WorkflowExecutionSignaled]
    assert not decision.runs[0].activated


def test_a_workflow_failure_is_retried_as_a_new_run() -> None:
    core = Core(code=lambda run, activation: (FailWorkflow(Failure("no")),))
    core.start(StartWorkflow("T", "q", data("1"), retry_options=RetryOptions(initial_interval_ms=500, maximum_attempts=2)))
    first = core.run.started.first_execution_run_id
    assert core.run.is_open
    assert core.run.run_id != first
    assert core.run.started.attempt == 2
    assert core.run.started.continued_failure == Failure("no")
    core.pass_time(499)
    assert core.run.is_open
    core.pass_time(1)
    assert core.run.status is WorkflowStatus.FAILED
    assert core.run.started.first_execution_run_id == first


def test_continue_as_new_is_two_runs_in_one_record() -> None:
    core = Core(code=lambda run, activation: (ContinueAsNewWorkflow(input=data("2")),))
    decision = core.start(StartWorkflow("T", "q", data("1"), await_result=True))
    old, new = (run.state for run in decision.runs)
    assert old.status is WorkflowStatus.CONTINUED_AS_NEW
    assert old.new_run_id == new.run_id
    assert new.started.input == data("2")
    assert new.started.waiter == old.started.waiter is not None
    assert not new.activations, "the new run's code runs in a record of its own"
    core.code = lambda run, activation: (CompleteWorkflow(data("3")),)
    assert core.pass_time(0).is_recorded
    assert core.run.status is WorkflowStatus.COMPLETED


def test_a_run_timeout_closes_without_asking_the_code() -> None:
    core = Core()
    core.start(StartWorkflow("T", "q", run_timeout_ms=1_000))
    activations = len(core.activations)
    core.pass_time(1_000)
    assert core.run.status is WorkflowStatus.TIMED_OUT
    assert len(core.activations) == activations


def test_the_same_inputs_at_the_same_offsets_make_the_same_run_ids() -> None:
    first, second = Core(), Core()
    first.start()
    second.start()
    assert first.run.run_id == second.run.run_id
    second.offset = 10
    second.workflow_id = "transfer-2"
    second.state = None
    second.start()
    assert first.run.run_id != second.run.run_id
