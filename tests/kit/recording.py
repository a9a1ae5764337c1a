"""Histories of workflows that one Python wrote, to be replayed on another: `python -m kit.recording record|replay FILE`.

It needs nothing but the standard library, so any interpreter can run it on the sources.
"""

from __future__ import annotations

import logging
import pickle
import random
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.code import Code, completed, signal, value
from kit.version_flows import FLOWS, Generated
from perdure._replay import actions
from perdure._replay.host import Activation, ActivationError
from perdure_schemas import events
from perdure_schemas.events import Event
from perdure_schemas.failure import ApplicationFailureInfo, Failure, RetryState

GENERATED = 32
HANDWRITTEN = 6
"""Histories of the workflow that grows from its seed, and of each other one."""

STEPS_MAX = 12
"""Activations of a history."""


@dataclass(frozen=True)
class History:
    """What one run was given, and what it asked for."""

    flow: str
    seed: int
    flags: tuple[int, ...]
    steps: tuple[Any, ...]
    """As in Code.history."""
    asked: tuple[tuple[str, ...], ...]
    """What the activations asked for, as text."""


class World:
    """Fires timers and ends activities, as the seed will have it."""

    def __init__(self, code: Code, seed: int) -> None:
        self.code = code
        self.random = random.Random(seed)
        self.timers: dict[int, tuple[str, int]] = {}
        self.activities: list[int] = []
        self.cancel_at = self.random.choice([0, 0, 2, 3, 5])
        self.steps = 0

    def take(self, requested: list[Any]) -> bool:
        """What the code asked for; whether the run goes on."""
        _, _, first, _ = self.code.history[-1]
        for event_id, action in enumerate(requested, first):
            match action:
                case actions.StartTimer():
                    self.timers[event_id] = (action.timer_id, self.code.now_ms + action.delay_ms)
                case actions.CancelTimer():
                    self.timers.pop(action.started_event_id, None)
                case actions.ScheduleActivity():
                    self.activities.append(event_id)
                case actions.CompleteWorkflow() | actions.FailWorkflow() | actions.CancelWorkflowExecution():
                    return False
        return bool(self.timers or self.activities) and len(self.code.history) < STEPS_MAX

    def next(self) -> tuple[list[Event], int]:
        """What happens next, and after how many milliseconds."""
        self.steps += 1
        happens: list[Event] = []
        after_ms = 0
        if self.steps == self.cancel_at:
            happens.append(events.WorkflowExecutionCancelRequested("enough"))
        if self.random.random() < 0.1:
            happens.append(signal("poke"))
        for _ in range(self.random.randint(1, 3)):
            if self.timers and (not self.activities or self.random.random() < 0.4):
                event_id = min(self.timers, key=lambda one: (self.timers[one][1], one))
                timer_id, due_ms = self.timers.pop(event_id)
                after_ms = max(after_ms, due_ms - self.code.now_ms)
                happens.append(events.TimerFired(timer_id, event_id))
            elif self.activities:
                event_id = self.activities.pop(self.random.randrange(len(self.activities)))
                happens.append(completed(event_id) if self.random.random() < 0.8 else _failed(event_id))
        return happens, after_ms


def _failed(event_id: int) -> Event:
    failure = Failure("declined", info=ApplicationFailureInfo("Declined"))
    return events.ActivityTaskFailed(event_id, 0, failure, RetryState.NON_RETRYABLE_FAILURE)


def record(path: Path) -> None:
    """Write histories of all workflows."""
    histories = []
    for flow in FLOWS:
        for seed in range(GENERATED if flow is Generated else HANDWRITTEN):
            code = Code(flow, value(seed), deadlock_timeout_ms=0)
            world = World(code, seed)
            asked = [code.begin()]
            while world.take(asked[-1]):
                happens, after_ms = world.next()
                asked.append(code.happen(*happens, after_ms=after_ms))
            code.close()
            histories.append(History(flow.__name__, seed, code.flags, tuple(code.history), tuple(map(_texts, asked))))
    path.write_bytes(pickle.dumps(histories))


def replay(path: Path) -> int:
    """Replay each history as far as each of its steps, and go on live from there; the number of failures, which are printed."""
    flows = {flow.__name__: flow for flow in FLOWS}
    failures = 0
    for history in pickle.loads(path.read_bytes()):
        for length in range(len(history.steps) + 1):
            try:
                _replay(flows[history.flow], history, length)
            except (ActivationError, AssertionError) as error:
                failures += 1
                print(f"{history.flow}, seed {history.seed}, prefix of {length} steps: {error}")
                break
    return failures


def _replay(flow: type, history: History, length: int) -> None:
    code = Code(flow, value(history.seed), flags=history.flags, deadlock_timeout_ms=0)
    try:
        for at, (now_ms, inbound, first, recorded) in enumerate(history.steps):
            given = recorded if at < length else None
            activated = code.instance.activate(Activation(now_ms, inbound, first, given))
            asked = _texts(list(activated.actions))
            assert asked == history.asked[at], f"step {at} asks for {asked} and asked for {history.asked[at]}"
    finally:
        code.close()


def _texts(requested: list[Any]) -> tuple[str, ...]:
    """Stack traces differ between versions; the rest does not."""
    return tuple(
        f"FailWorkflow({action.failure.message!r})" if isinstance(action, actions.FailWorkflow) else repr(action) for action in requested
    )


def main(what: str, file: str) -> int:
    """The exit code."""
    warnings.simplefilter("ignore")  # a generated program may leave anything behind
    logging.disable()
    if what == "record":
        record(Path(file))
        return 0
    return 1 if replay(Path(file)) else 0


if __name__ == "__main__":
    from kit import recording  # pickles name this module

    sys.exit(recording.main(*sys.argv[1:]))
