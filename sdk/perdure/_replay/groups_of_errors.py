"""What a group of exceptions does to a run: what its members would do.

A TaskGroup raises a group where activities in it fail or are cancelled, and so does a workflow that is cancelled while one waits. The
group is no error of the code, so it must not block the run (Temporal's SDK blocks it; see docs/differences.md):

- all members are cancellations: the group is a cancellation;
- all are cancellations or failures of the kind that fails a workflow: it fails the workflow, and tells of all;
- any other member blocks the activation, as it does by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from perdure._replay.pending import Evicted
from perdure._replay.watchdog import ActivationInterrupted
from perdure.exceptions import ApplicationError, is_cancelled_exception
from perdure.workflow._errors import ContinueAsNewError

FAILURE_TYPE = "ExceptionGroup"
"""Type of the ApplicationError with which a group fails a workflow."""

_CAUSES_MAX = 10


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The members that are no groups, in order; of another exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from leaves(member)
    else:
        yield error


def is_failure(group: BaseExceptionGroup[Any], fails: Callable[[BaseException], bool]) -> bool:
    """Whether the group fails a workflow. `fails` tells it of a member."""
    return all(fails(leaf) or is_cancelled_exception(leaf) for leaf in leaves(group))


def what_it_is(group: BaseExceptionGroup[Any], fails: Callable[[BaseException], bool]) -> BaseException:
    """The one exception that does to the run what the group does. `fails` tells whether a member fails a workflow."""
    members = list(leaves(group))
    others = [leaf for leaf in members if not fails(leaf) and not is_cancelled_exception(leaf)]
    if others:
        return min(others, key=_urgency)  # the first of the most urgent ones
    failures = [leaf for leaf in members if not is_cancelled_exception(leaf)]
    return _failure(group, failures[0], members) if failures else members[0]


def _urgency(error: BaseException) -> int:
    if isinstance(error, ActivationInterrupted | Evicted):
        return 0
    return 2 if isinstance(error, ContinueAsNewError) else 1


def _failure(group: BaseExceptionGroup[Any], first: BaseException, members: list[BaseException]) -> ApplicationError:
    """The first failure is the cause; what was cancelled was so because of it."""
    others = [_text(leaf) for leaf in members if leaf is not first]
    is_final = isinstance(first, ApplicationError) and first.non_retryable
    error = ApplicationError(f"{group.message}: {_text(first)}", *others, type=FAILURE_TYPE, non_retryable=is_final)
    error.__cause__ = first
    return error.with_traceback(group.__traceback__)


def _text(error: BaseException) -> str:
    """The error and its causes in a line that can be written in any encoding."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < _CAUSES_MAX:
        try:
            parts.append(f"{type(cause).__name__}: {getattr(cause, 'message', cause)}")
        except Exception:  # noqa: BLE001 - an exception whose text fails is still one
            parts.append(type(cause).__name__)
        cause = cause.__cause__
    return ", caused by ".join(parts).encode(errors="backslashreplace").decode()
