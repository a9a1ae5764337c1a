"""decide(state, inputs) -> Decision: handlers for each input in order, then one activation of the run's code. Pure.

No I/O, clock, randomness or logging; the code of the workflow runs through `Context.activate`, which the owner gives.
"""

from __future__ import annotations

from perdure._replay.host import Activation, ActivationError
from perdure_platform.partition.transition import activity, deadlines, parking
from perdure_platform.partition.transition.actions import perform, refusal
from perdure_platform.partition.transition.draft import Arrived, Context, Decision, Draft, Due, Input, Park, TakenOver, TaskUndeliverable
from perdure_platform.partition.transition.handlers import HANDLERS
from perdure_platform.partition.transition.sizes import shortened
from perdure_platform.partition.transition.state import RunState
from perdure_schemas import notes
from perdure_schemas.failure import Failure
from perdure_schemas.limits import COMMIT_RECORD_BYTES_MAX
from perdure_schemas.replies import RefusalCode, Refused

ACTIVATION_RETRY_FIRST_MS = 1_000
ACTIVATION_RETRY_MAX_MS = 10_000
ACTIVATION_RETRY_IDLE_MS = 60_000
ACTIVATION_ATTEMPTS_BUSY = 10
"""Blocked code is tried again after 1, 2, 4, 8, 10 … s, ten times, and then once a minute; a fixed build heals it within that."""


class ActivationDeferred(Exception):
    """The code cannot run in this turn (its run has records in flight, design.md 3.3, or the turn has no time left); its inputs are
    recorded and wait."""


def decide(state: RunState | None, workflow_id: str, inputs: tuple[Input, ...], context: Context) -> Decision:
    """What `inputs`, all for one workflow id, come to on top of `state`, its current run if it ever had one."""
    draft = _received(state, workflow_id, inputs, context)
    run = draft.open_run
    if run is not None and run.pending and _may_activate(draft, run):
        try:
            _activate(draft, run)
        except ActivationError as error:
            context.discard(workflow_id)
            draft = _received(state, workflow_id, inputs, context)  # what came in is recorded all the same (design.md 3.5)
            _note_failure(draft, error.failure)
        except ActivationDeferred:
            pass
    return draft.decided()


def blocked(state: RunState | None, workflow_id: str, inputs: tuple[Input, ...], context: Context, failure: Failure) -> Decision:
    """What `inputs` come to where `decide` has failed: they are recorded, and the code is tried again later."""
    draft = _received(state, workflow_id, inputs, context)
    if draft.open_run is not None:
        _note_failure(draft, failure)
    return draft.decided()


def refused(state: RunState | None, workflow_id: str, arrived: Arrived, context: Context, message: str) -> Decision:
    """What a command comes to that cannot be decided: nothing, which is recorded and told to whoever asked."""
    draft = Draft(workflow_id, state, context)
    draft.take(arrived)
    if not draft.already_settled(arrived.command):
        draft.settle(Refused(RefusalCode.INVALID, message, workflow_id))
    return draft.decided()


def nothing(workflow_id: str, arrived: Arrived) -> Decision:
    """The least that a command can come to: that it is settled."""
    return Decision(workflow_id, (), arrived.offset, (arrived.offset,), (), (), (), (), ())


def _received(state: RunState | None, workflow_id: str, inputs: tuple[Input, ...], context: Context) -> Draft:
    draft = Draft(workflow_id, state, context)
    for at, item in enumerate(inputs):
        if at and not draft.has_room_for(item):
            draft.left = inputs[at:]
            break
        match item:
            case Arrived():
                _handle(draft, item)
            case Due():
                if not deadlines.fire(draft):
                    draft.left = inputs[at:]
                    break
            case TaskUndeliverable():
                activity.park(draft, item)
            case TakenOver():
                draft.retry_now = True
            case Park():
                parking.park(draft, item)
    return draft


def _handle(draft: Draft, arrived: Arrived) -> None:
    command = arrived.command
    draft.take(arrived)
    if draft.already_settled(command):
        return
    if command.request is not None and command.request.expires_at_ms < draft.now_ms:
        draft.answer_request(
            Refused(
                RefusalCode.EXPIRED,
                f"the request for workflow {draft.workflow_id!r} reached its owner after its deadline; "
                "it did nothing, unless an earlier copy of it did",
                draft.workflow_id,
            )
        )
        return
    if arrived.objection:
        draft.settle(Refused(RefusalCode.INVALID, arrived.objection, draft.workflow_id))
        return
    HANDLERS[type(command.body)](draft, command.body, arrived.trace_parent)


def _may_activate(draft: Draft, run: RunState) -> bool:
    """New inputs activate at once; what failed before, or is held back, waits until it is due; what is parked waits for an operator."""
    if run.parked is not None:
        return False
    if run.activations == 0 and run.first_activation_ms() > draft.now_ms:
        return False
    return run.activation_failure is None or run.activation_failure.retry_at_ms <= draft.now_ms or draft.brought_news


def _activate(draft: Draft, run: RunState) -> None:
    requested, flags = draft.context.activate(
        run, Activation(draft.now_ms, run.pending, run.next_event_id, history_size_bytes=run.history_bytes)
    )
    draft.activated(flags)
    perform(draft, requested)
    size_bytes = draft.size_bytes()
    if size_bytes > COMMIT_RECORD_BYTES_MAX:
        raise refusal(
            draft,
            f"one activation made {size_bytes} bytes of history, and a record takes {COMMIT_RECORD_BYTES_MAX}; "
            "start fewer or smaller activities at a time",
        )


def _note_failure(draft: Draft, failure: Failure) -> None:
    run = draft.run.state
    attempt = 1 if run.activation_failure is None or draft.brought_news else run.activation_failure.attempt + 1
    if attempt <= ACTIVATION_ATTEMPTS_BUSY:
        delay_ms = min(ACTIVATION_RETRY_FIRST_MS << (attempt - 1), ACTIVATION_RETRY_MAX_MS)
    else:
        delay_ms = ACTIVATION_RETRY_IDLE_MS
    draft.note(notes.ActivationFailed(attempt, shortened(failure), draft.now_ms + delay_ms))
