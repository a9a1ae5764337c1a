"""The border of an activation: what workflow code hands over is what the fields of its action say, or the call is refused (P9).

Code hands over whatever it likes: a UUID as an id, an exception where a name belongs, half a character. Behind this border stand the
owner's decision, the codec and the log, which serve other runs as well. What is checked are types, and whether it can be encoded; limits
are the owner's (`transition/actions.py`). Nothing that was ever recorded is refused here: the codec would not have taken it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

from perdure._replay import actions
from perdure._replay.actions import Action
from perdure.common import RetryPolicy
from perdure_schemas.conform import Misfit, conformed
from perdure_schemas.limits import DURATION_MS_MAX
from perdure_schemas.options import RetryOptions
from perdure_schemas.payload import Payloads
from perdure_schemas.text import described, text

ActionT = TypeVar("ActionT", bound=Action)

_CALLS: dict[type, str] = {
    actions.ScheduleActivity: "an activity",
    actions.RequestCancelActivity: "an activity's cancellation",
    actions.StartTimer: "a timer",
    actions.CancelTimer: "a timer's end",
    actions.RecordMarker: "patched()",
    actions.SignalExternalWorkflow: "a signal to another workflow",
    actions.CancelExternalWorkflow: "the cancellation of another workflow",
    actions.CompleteWorkflow: "the workflow's result",
    actions.FailWorkflow: "the workflow's failure",
    actions.CancelWorkflowExecution: "the workflow's cancellation",
    actions.ContinueAsNewWorkflow: "continue_as_new()",
}
"""What users call each action; a test compares this table with the union of all actions."""

_ARGUMENTS = {
    "retry_options": "retry_policy",
    "details['id']": "id",
    "activity_type": "name",
    "workflow_type": "workflow",
    "signal_name": "signal",
    "workflow_id": "workflow id",
    "run_id": "run_id",
    "input": "payload converter's output, args",
    "result": "payload converter's output",
}
"""What users call a field of an action, where they do not call it as it is called here."""


def checked(action: ActionT) -> ActionT:
    """The action as it may leave the activation, with plain values. Raises TypeError or ValueError that names call, argument and fix."""
    if type(action) not in _CALLS:
        raise TypeError(f"{described(action)} is nothing that a workflow can ask for; call the functions of perdure.workflow")
    try:
        return conformed(action)
    except Misfit as misfit:
        raise _refusal(_CALLS[type(action)], _argument(misfit.path), misfit) from None


def name(call: str, argument: str, value: Any) -> str:
    """A name that the code itself keeps. Raises TypeError or ValueError."""
    try:
        plain: str = conformed(value, str)
    except Misfit as misfit:
        raise _refusal(call, argument, misfit) from None
    return plain


def payloads(what: str, given: Any) -> Payloads:
    """What a converter has made. Raises TypeError for what are no payloads."""
    try:
        plain: Payloads = conformed(given, Payloads)
    except Misfit as misfit:
        raise TypeError(f"{what}: the payload converter made what is no payload: {misfit}") from None
    return plain


def duration_ms(argument: str, duration: timedelta | None) -> int:
    """Milliseconds of a timeout; 0 for none, and `timedelta.max` is as long as there is. Raises TypeError."""
    if duration is None:
        return 0
    try:
        return min(max(1, round(duration / timedelta(milliseconds=1))), DURATION_MS_MAX)
    except Exception:  # noqa: BLE001 - foreign code, where it is no timedelta
        raise TypeError(f"{argument} is {described(duration)}, and must be a timedelta: give timedelta(seconds=…)") from None


def retry_options(policy: RetryPolicy | None) -> RetryOptions | None:
    """A retry policy as it is recorded. Raises TypeError or ValueError."""
    if policy is None:
        return None
    if not callable(getattr(policy, "to_options", None)):
        raise TypeError(f"retry_policy is {described(policy)}, and must be a RetryPolicy")
    return policy.to_options()


def _argument(path: str) -> str:
    for field, argument in _ARGUMENTS.items():
        if path.startswith(field):
            return argument + path[len(field) :]
    return path


def _refusal(call: str, argument: str, misfit: Misfit) -> Exception:
    fix = ""
    if misfit.is_kind and misfit.wanted.startswith("text"):
        fix = f"; give the name {misfit.value.__name__!r}" if isinstance(misfit.value, type) else "; give str(…) of it"
    elif misfit.wanted.startswith("text"):
        fix = "; replace them, for example with .encode('utf-8', 'backslashreplace').decode()"
    message = f"{call}: {argument} is {described(misfit.value)}, and must be {misfit.wanted}{fix}"
    return (TypeError if misfit.is_kind else ValueError)(text(message))
