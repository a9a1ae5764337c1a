"""Values and errors that are none, or hardly: what code may raise, return and hand over, by name. None of it may hurt a neighbour (P9).

Each is made anew where it is asked for. Most were found in programs that meant no harm: `os.fsdecode` gives half characters, and an
exception stands where its message should.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from perdure import exceptions
from perdure.exceptions import ActivityError, ApplicationError, CancelledError, FailureError, TimeoutType

HALF = "name \udcff.txt"
"""What os.fsdecode() gives for a file name that is no UTF-8."""


class Odd:
    """Has no JSON."""


class Unspeakable(Exception):
    """Has no text either."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Leaves(Exception):
    """Its text ends the process that asks for it."""

    def __str__(self) -> str:
        raise SystemExit(3)


class SaysNothing(ApplicationError):
    """Its message cannot be asked for."""

    @property
    def message(self) -> str:
        raise LookupError("no message")


def _cyclic() -> BaseException:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def _long_chain() -> BaseException:
    error: BaseException = ValueError("the root")
    for number in range(100_000):
        after = ValueError(str(number))
        after.__cause__ = error
        error = after
    return error


def _noted() -> BaseException:
    error = ValueError("noted")
    error.__notes__ = [5, HALF]  # type: ignore[list-item]
    return error


def _odd(error: BaseException, **fields: Any) -> BaseException:
    for name, value in fields.items():
        setattr(error, name, value)
    return error


ERRORS: dict[str, Callable[[], BaseException]] = {
    "half a character": lambda: ValueError(HALF),
    "half a character in an application error": lambda: ApplicationError(HALF, HALF, type=HALF),
    "an exception as the message": lambda: ApplicationError(ValueError("x")),  # type: ignore[arg-type]
    "no message": lambda: ApplicationError(None),  # type: ignore[arg-type]
    "a dict as the message": lambda: ApplicationError({"a": 1}),  # type: ignore[arg-type]
    "a class as the type": lambda: ApplicationError("x", type=ValueError),  # type: ignore[arg-type]
    "a member as the type": lambda: ApplicationError("x", type=TimeoutType.HEARTBEAT),  # type: ignore[arg-type]
    "odd details": lambda: ApplicationError("x", 1, Odd(), type="Kept"),
    "odd details of a cancellation": lambda: CancelledError("x", Odd()),
    "the longest delay": lambda: ApplicationError("x", next_retry_delay=timedelta.max),
    "a negative delay": lambda: ApplicationError("x", next_retry_delay=timedelta.min),
    "a number as the delay": lambda: ApplicationError("x", next_retry_delay=5),  # type: ignore[arg-type]
    "an odd category": lambda: ApplicationError("x", category="loud"),  # type: ignore[arg-type]
    "an odd flag": lambda: ApplicationError("x", non_retryable=[1]),  # type: ignore[arg-type]
    "no text": Unspeakable,
    "a text that leaves": Leaves,
    "a message that fails": lambda: SaysNothing("x"),
    "an odd cause": lambda: _odd(ValueError("x"), __cause__=Unspeakable()),
    "a cycle of causes": _cyclic,
    "100,000 causes": _long_chain,
    "a group": lambda: ExceptionGroup("several", [ValueError(HALF), Unspeakable()]),
    "odd notes": _noted,
    "odd arguments": lambda: ValueError(Odd(), HALF, b"\xff"),
    "ten million characters": lambda: ApplicationError("x" * 10_000_000, type="y" * 10_000_000),
    "a timeout of no type": lambda: exceptions.TimeoutError("x", type="soon", last_heartbeat_details=[Odd()]),  # type: ignore[arg-type]
    "an activity of no number": lambda: _odd(
        ActivityError("x", scheduled_event_id=1, started_event_id=1, identity="", activity_type="", activity_id="", retry_state=None),
        scheduled_event_id="one",
        started_event_id=10**30,
        identity=None,
        activity_id=HALF,
        retry_state="no",
    ),
    "a failure that is none": lambda: FailureError("x", failure="none"),  # type: ignore[arg-type]
    "an exit": lambda: SystemExit(Odd()),
    "an interrupt": lambda: KeyboardInterrupt(HALF),
    "a generator's exit": lambda: GeneratorExit(HALF),
    "any base exception": lambda: BaseException(HALF),
}
