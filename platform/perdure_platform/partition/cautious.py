"""Cautious mode: one input at a time, each announced in the log before it is touched (design.md 5, faults.md R14).

An input that ends its owner (code that calls `os._exit`, that crashes the interpreter, that exhausts memory) would end every owner after
it as well. Where several owners of a partition died in a short time, the next one appends a strike that names the input, waits until it is
confirmed, and only then decodes it and runs code; the next record of the claim clears the strike. What has struck out is parked,
or becomes a dead letter. One input is under way per process, over all of its partitions: two at once, and an innocent one would be blamed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from perdure._log.port import Record
from perdure._telemetry import metrics
from perdure_platform.config import OwnerLimits
from perdure_platform.partition.transition.caution import is_cautious
from perdure_platform.partition.transition.draft import Input
from perdure_schemas.history import Caution

logger = logging.getLogger("perdure.owner")

WAITING_MAX = 1_000
"""Commands that wait in memory for their turn; above it no more are taken."""


class ProcessCaution:
    """Shared by the partitions of a process: whether any of them has reason to be cautious, and which of them tries an input now."""

    def __init__(self) -> None:
        self._cautious: set[int] = set()
        self._trying: int | None = None

    @property
    def is_on(self) -> bool:
        """Whether inputs are tried one by one."""
        return bool(self._cautious)

    def wants(self, partition: int, is_cautious: bool) -> bool:
        """A partition has, or no longer has, reason to be cautious; returns whether that is news."""
        if is_cautious == (partition in self._cautious):
            return False
        (self._cautious.add if is_cautious else self._cautious.discard)(partition)
        return True

    def take(self, partition: int) -> bool:
        """Whether the partition may try an input now; no other may until it gives back."""
        if self._trying is None:
            self._trying = partition
        return self._trying == partition

    def give_back(self, partition: int) -> None:
        """The partition's input has been tried, or the partition is given up."""
        if self._trying == partition:
            self._trying = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """What an owner may touch in this turn.

    `strikes`: how often the one input that is tried has ended its owner; -1 where all are let through, or none.
    """

    commands: Sequence[Record] = ()
    due: Mapping[str, Sequence[Input]] = field(default_factory=dict)
    strikes: int = -1
    workflow_id: str = ""


class Cautious:
    """One partition's part of it. `strike` appends a strike for a workflow id and a command offset and returns its sequence."""

    def __init__(self, process: ProcessCaution, partition: int, limits: OwnerLimits, strike: Callable[[str, int], int]) -> None:
        self._process = process
        self._partition = partition
        self._limits = limits
        self._strike = strike
        self._commands: deque[Record] = deque()
        self.queued_to = -1
        """The offset of the last command that was taken to wait."""
        self._due: dict[str, list[Input]] = {}
        self._due_first = False
        self._struck: Record | str | None = None
        self._tried = False
        self.sequence = 0
        """Of the last strike."""

    @property
    def is_on(self) -> bool:
        """Whether inputs are tried one by one, or some still wait from when they were."""
        return self._process.is_on or self.is_trying or bool(self._commands or self._due)

    @property
    def is_trying(self) -> bool:
        """Whether an input is announced, or tried and not yet confirmed."""
        return self._struck is not None

    @property
    def has_room(self) -> bool:
        """Whether commands may be taken."""
        return len(self._commands) < WAITING_MAX

    @property
    def has_more(self) -> bool:
        """Whether inputs wait for their turn."""
        return bool(self._commands or self._due)

    def admit(
        self,
        commands: Sequence[Record],
        due: dict[str, list[Input]],
        known: Caution,
        now_ms: int,
        *,
        is_quiet: bool,
        confirmed_sequence: int,
    ) -> Admitted:
        """Everything, or in cautious mode at most one input, whose strike is confirmed.

        `is_quiet`: nothing is in flight, or about to be.
        """
        wants = is_cautious(known, now_ms, self._limits.cautious_deaths, self._limits.cautious_window_ms)
        if self._process.wants(self._partition, wants):
            self._say(known, wants)
        if not self.is_on:
            return Admitted(commands, due)
        self._queue(commands, due)
        if self._struck is not None:
            return self._go_on(known, is_quiet, confirmed_sequence)
        if not self._process.is_on:
            return self._all()
        if self.has_more and is_quiet and self._process.take(self._partition):
            self._announce()
        return Admitted()

    def drop(self) -> None:
        """What waits is not this owner's any more, and what is only announced is not tried."""
        self._commands.clear()
        self._due.clear()
        if not self._tried:
            self._struck = None
            self._process.give_back(self._partition)

    def close(self) -> None:
        """The partition is given up."""
        self._process.wants(self._partition, False)
        self._process.give_back(self._partition)

    def _queue(self, commands: Sequence[Record], due: dict[str, list[Input]]) -> None:
        for record in commands:
            if record.offset > self.queued_to:  # a new assignment delivers again what waits here
                self._commands.append(record)
                self.queued_to = record.offset
        for workflow_id, inputs in due.items():
            self._due.setdefault(workflow_id, []).extend(inputs)

    def _all(self) -> Admitted:
        commands, due = tuple(self._commands), self._due
        self._commands.clear()
        self._due = {}
        return Admitted(commands, due)

    def _announce(self) -> None:
        self._due_first = bool(self._due) and (self._due_first or not self._commands)
        if self._due_first:
            workflow_id, offset = next(iter(self._due)), -1
            self._struck = workflow_id
        else:
            record = self._commands[0]
            self._struck, workflow_id, offset = record, name_of(record), record.offset
        self._due_first = not self._due_first  # neither may keep the other waiting
        self.sequence = self._strike(workflow_id, offset)
        metrics.STRIKES.add(1, {"partition": self._partition})

    def _go_on(self, known: Caution, is_quiet: bool, confirmed_sequence: int) -> Admitted:
        struck = self._struck
        if self._tried:
            if is_quiet:
                self._struck, self._tried = None, False
                self._process.give_back(self._partition)
            return Admitted()
        if confirmed_sequence < self.sequence:
            return Admitted()
        self._tried = True
        if isinstance(struck, str):
            return Admitted((), {struck: self._due.pop(struck, [])}, known.strikes.get(struck, 0), struck)
        record = self._commands.popleft()
        workflow_id = name_of(record)
        return Admitted((record,), {}, known.strikes.get(workflow_id, 0), workflow_id)

    def _say(self, known: Caution, wants: bool) -> None:
        if wants:
            logger.warning(
                "partition %d: its last %d owners died in a short time; until that is %d minutes past, inputs are tried one by one, "
                "and what ends its owner %d times is set aside",
                self._partition,
                len(known.deaths),
                self._limits.cautious_window_ms // 60_000,
                self._limits.strikes_max,
            )
        else:
            logger.info("partition %d: no longer cautious", self._partition)


def name_of(record: Record) -> str:
    """The workflow id that a command was sent for, without decoding it."""
    return (record.key or b"").decode("utf-8", "replace")[:4096]
