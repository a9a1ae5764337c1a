"""What each live record asks of the world: derived here from the text of design.md 3.6 and 7, and looked for in the other topics."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from perdure_check.avro import KIND, Decoded
from perdure_check.facts import Entry, Run
from perdure_check.fold import CLOSES

Origin = tuple[int, int, int]
"""Source partition, offset of the record there, index among the commands of that record."""
Attempt = tuple[str, int, int]
"""Run id, scheduled event id, attempt."""


@dataclass(slots=True)
class ExpectedCommand:
    """A command that a live record sends to a run. `taken`: one with its origin was above its mark where it arrived."""

    workflow_id: str
    signature: int
    arrived: bool = False
    taken: bool = False


@dataclass(slots=True)
class ExpectedReply:
    """An answer that a live record sends."""

    partition: int
    offset: int
    to_partition: int
    signature: int
    arrived: bool = False


@dataclass(slots=True)
class Expected:
    """Every effect of the live records that were read, by what names it."""

    commands: dict[Origin, ExpectedCommand] = field(default_factory=dict)
    tasks: dict[Attempt, tuple[int, int, str]] = field(default_factory=dict)
    """Where an attempt was last dispatched: partition and offset of the record, and the queue."""
    task_contents: dict[tuple[str, int], int] = field(default_factory=dict)
    """Of each activity, by run and scheduled event, what a worker must be told."""
    tasks_arrived: set[Attempt] = field(default_factory=set)
    parked: set[Attempt] = field(default_factory=set)
    replies: dict[tuple[str, str, str], ExpectedReply] = field(default_factory=dict)
    """By client id, request id and kind; the last one of several."""
    dead_letters: dict[tuple[str, int, int], tuple[int, int]] = field(default_factory=dict)
    """By the place of what is set aside; partition and offset of the record that says so."""
    dead_letters_arrived: set[tuple[str, int, int]] = field(default_factory=set)
    with_effects: dict[int, int] = field(default_factory=dict)
    """Offset of the last record of a partition that has effects."""

    def derive(self, entry: Entry, transitions: list[tuple[Run | None, Decoded]]) -> None:
        """Take in the effects of a live commit record."""
        before = len(self.commands), len(self.tasks)
        commands: list[tuple[str, Decoded]] = []
        has_effects = bool(entry.body["replies"] or entry.body["dead_letters"])
        for run, transition in transitions:
            run_id = transition["run_id"]
            for event_id, event in enumerate((*transition["inbound"], *transition["produced"]), transition["first_event_id"]):
                if event[KIND] == "ActivityTaskScheduled":
                    self.tasks[run_id, event_id, 1] = (entry.partition, entry.offset, event["task_queue"])
                    self.task_contents[run_id, event_id] = task_content(event)
                elif (command := _command_of(transition, event_id, event)) is not None:
                    commands.append(command)
                elif event[KIND] in CLOSES and run is not None and not event.get("new_run_id"):
                    has_effects |= self._closing_reply(entry, run, event)
            for note in transition["notes"]:
                self._note(entry, run_id, note)
        commands += [(command["workflow_id"], command["body"]) for command in entry.body["commands"]]
        for index, (workflow_id, body) in enumerate(commands):
            self.commands[entry.partition, entry.offset, index] = ExpectedCommand(workflow_id, signature_of(body))
        for reply in entry.body["replies"]:
            self._reply(entry, reply["address"], reply["request_id"], reply["body"])
        for letter in entry.body["dead_letters"]:
            place = letter["source_topic"], letter["source_partition"], letter["source_offset"]
            self.dead_letters[place] = (entry.partition, entry.offset)
        if has_effects or before != (len(self.commands), len(self.tasks)):
            self.with_effects[entry.partition] = entry.offset

    def _note(self, entry: Entry, run_id: str, note: Decoded) -> None:
        if note[KIND] == "ActivityAttemptDispatched":
            attempt = run_id, note["scheduled_event_id"], note["attempt"]
            known = self.tasks.pop(attempt, None)
            queue = known[2] if known is not None else self.tasks.get((run_id, note["scheduled_event_id"], 1), (0, 0, ""))[2]
            self.tasks[attempt] = (entry.partition, entry.offset, queue)
        elif note[KIND] == "ActivityTaskParked":
            self.parked.add((run_id, note["scheduled_event_id"], note["attempt"]))

    def _closing_reply(self, entry: Entry, run: Run, event: Decoded) -> bool:
        waiter = run.started.get("waiter")
        if waiter is None:
            return False
        body = {KIND: "WorkflowClosed", "run_id": run.run_id, "status": _STATUS[event[KIND]]}
        self._reply(entry, waiter["address"], waiter["request_id"], body)
        return True

    def _reply(self, entry: Entry, address: Decoded, request_id: str, body: Decoded) -> None:
        self.replies[address["client_id"], request_id, body[KIND]] = ExpectedReply(
            entry.partition, entry.offset, address["partition"], signature_of(body)
        )


_STATUS = {
    "WorkflowExecutionCompleted": 2,
    "WorkflowExecutionFailed": 3,
    "WorkflowExecutionCanceled": 4,
    "WorkflowExecutionTerminated": 5,
    "WorkflowExecutionContinuedAsNew": 6,
    "WorkflowExecutionTimedOut": 7,
}
"""Temporal's numbers, as they stand in answers."""


def _command_of(transition: Decoded, event_id: int, event: Decoded) -> tuple[str, Decoded] | None:
    """The command that an event sends, and the workflow id that it goes to."""
    source = {
        KIND: "ExternalSource",
        "workflow_id": transition["workflow_id"],
        "run_id": transition["run_id"],
        "initiated_event_id": event_id,
    }
    match event[KIND]:
        case "SignalExternalWorkflowExecutionInitiated":
            named = {"name": event["signal_name"], "run_id": event["run_id"], "input": event["input"], "source": source}
            return event["workflow_id"], {KIND: "SignalWorkflow", **named}
        case "RequestCancelExternalWorkflowExecutionInitiated":
            named = {"run_id": event["run_id"], "reason": event["reason"], "source": source}
            return event["workflow_id"], {KIND: "CancelWorkflow", **named}
        case "WorkflowExecutionSignaled" if event["source"] is not None:
            return _answer("ResolveExternalSignal", event["source"])
        case "WorkflowExecutionCancelRequested" if event["source"] is not None:
            return _answer("ResolveExternalCancel", event["source"])
        case _:
            return None


def task_content(body: Decoded) -> int:
    """A number that an ActivityTaskScheduled and its tasks share."""
    return number_of([body[name] for name in ("activity_id", "activity_type", "task_queue", "input")])


def _answer(kind: str, source: Decoded) -> tuple[str, Decoded]:
    body = {KIND: kind, "run_id": source["run_id"], "initiated_event_id": source["initiated_event_id"], "failure": None}
    return source["workflow_id"], body


_SIGNED = ("name", "run_id", "input", "source", "reason", "initiated_event_id", "first_execution_run_id", "started", "code", "status")
"""Fields that make one effect different from another; the rest follows from them or is text."""


def signature_of(body: Decoded) -> int:
    """A number that two equal effects share."""
    said: list[Any] = [body[KIND], bool(body.get("failure")) if body[KIND].startswith("Resolve") else None]
    said += [(name, body[name]) for name in _SIGNED if body.get(name)]
    return number_of(said)


def number_of(value: object) -> int:
    """A number that equal values share, and hardly any others."""
    return int.from_bytes(hashlib.blake2b(repr(value).encode(), digest_size=8).digest(), "big")
