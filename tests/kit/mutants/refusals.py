"""Misreadings of how a refusal is kept (R10)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perdure_platform.partition.append import Appender
from perdure_platform.partition.transition.draft import Decision, Draft
from perdure_schemas.commands import ResolveExternalSignal
from perdure_schemas.history import AppliedOffset, OutboundCommand
from perdure_schemas.replies import Refused


def refusal_no_record(patch: pytest.MonkeyPatch) -> None:
    """A refusal is told, and not recorded."""
    original = Draft.settle

    def mutant(self: Draft, outcome: Any) -> None:
        if isinstance(outcome, Refused):
            self.answer_request(outcome)
        else:
            original(self, outcome)

    patch.setattr(Draft, "settle", mutant)


def refusal_unordered(patch: pytest.MonkeyPatch) -> None:
    """A refusal is recorded without its place in the order of its workflow id."""
    original_settle, original_send = Draft.settle, Draft.send

    def unplaced(original: Any) -> Any:
        def mutant(self: Draft, *arguments: Any) -> None:
            offset = self._applied_offset
            original(self, *arguments)
            if isinstance(arguments[-1], Refused | ResolveExternalSignal):
                self._applied_offset = offset

        return mutant

    patch.setattr(Draft, "settle", unplaced(original_settle))
    patch.setattr(Draft, "send", unplaced(original_send))


def _refusals_in_one_record(patch: pytest.MonkeyPatch, *, first: bool) -> None:
    original_add, original_end = Appender.add, Appender.end_turn

    def add(self: Any, decision: Decision, now_ms: int, released: int, extra: Any = (), _letters: Any = ()) -> None:
        if not hasattr(self, "decisions"):
            self.decisions = []
        self.decisions.append((decision, now_ms, released, extra))

    def without_refusals(decision: Decision) -> Decision:
        refused = {request.request_id for request in decision.requests if isinstance(request.outcome, Refused)}
        return replace(
            decision,
            requests=tuple(request for request in decision.requests if request.request_id not in refused),
            replies=tuple(reply for reply in decision.replies if reply.request_id not in refused),
            commands=tuple(command for command in decision.commands if not _is_refusal(command)),
        )

    def add_refusals(self: Any, decisions: list[Any]) -> None:
        refusing = [decision for decision, *_ in decisions if without_refusals(decision) != decision]
        if not refusing:
            return
        _, now_ms, released, _ = decisions[0]
        together = Decision(
            "",
            (),
            None,
            (),
            tuple(request for decision in refusing for request in decision.requests if isinstance(request.outcome, Refused)),
            tuple(r for decision in refusing for r in decision.replies if r not in without_refusals(decision).replies),
            tuple(command for decision in refusing for command in decision.commands if _is_refusal(command)),
            (),
            (),
        )
        original_add(self, together, now_ms, released)
        record, workflow_id, runs = self._held
        applied = tuple(AppliedOffset(decision.workflow_id, decision.applied_offset) for decision in refusing)
        self._held = (replace(record, applied=applied), workflow_id, runs)

    def end_turn(self: Any, *arguments: Any) -> bool:
        decisions, self.decisions = getattr(self, "decisions", []), []
        if decisions and first:
            add_refusals(self, decisions)
        for decision, *rest in decisions:
            original_add(self, without_refusals(decision), *rest)
        if decisions and not first:
            add_refusals(self, decisions)
        return original_end(self, *arguments)

    patch.setattr(Appender, "add", add)
    patch.setattr(Appender, "end_turn", end_turn)


def _is_refusal(command: OutboundCommand) -> bool:
    return isinstance(command.body, ResolveExternalSignal) and command.body.failure is not None


def refusals_one_last(patch: pytest.MonkeyPatch) -> None:
    """All refusals of a turn in one record behind those of its runs."""
    _refusals_in_one_record(patch, first=False)


def refusals_one_first(patch: pytest.MonkeyPatch) -> None:
    """All refusals of a turn in one record before those of its runs."""
    _refusals_in_one_record(patch, first=True)
