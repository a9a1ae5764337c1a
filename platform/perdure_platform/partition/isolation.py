"""Isolation: inputs that may have ended an owner are tried one by one (design.md 5, faults.md R14).

An input that ends its owner (code that calls `os._exit`, that crashes the interpreter, that exhausts memory) would end every owner
after it as well. Where an owner has died, the inputs that it may have been handling are **suspects**: commands above the watermark that
were appended, runs that were due, and blocked runs that a takeover tries again, all before the death was found. Everything else is no
suspect and flows. A death that leaves no suspects costs nothing, and isolation ends with the last suspect.

An owner announces a suspect by a strike in the log, waits until the strike is confirmed, and only then decodes the input and runs code.
The next record of the claim clears the strike. Where many suspects wait, a strike announces a group of them; a group that ends its owner
is tried one by one by the next owner. A run with `strikes_max` strikes is parked; a command becomes a dead letter.

One strike is outstanding per process, over all of its partitions, and while it is, no other partition of the process runs code: an
innocent input would be blamed. A strike that the log does not confirm for a while (the leader of that partition is away) no longer
holds up the other partitions: they matter more than the small chance that a suspect is blamed for their death.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile

from perdure._log.port import Record
from perdure._telemetry import metrics
from perdure_platform.config import OwnerLimits
from perdure_platform.partition.transition.caution import GROUP, last_death_ms
from perdure_platform.partition.transition.draft import Input, TaskUndeliverable
from perdure_platform.store.tables import Tables
from perdure_schemas.history import Caution

logger = logging.getLogger("perdure.owner")

WAITING_MAX = 1_000
"""Maximum number of commands that wait in memory; above it no more are taken."""

ALONE_MAX = 32
"""Number of waiting suspects up to which each is tried alone: at two round trips each, a tenth of a second."""

GROUP_MAX = 250
"""Maximum size of a group that one strike announces."""

PATIENCE_MS = 2_000
"""Time for which an outstanding strike holds up the other partitions of its process, in milliseconds."""


class ProcessIsolation:
    """Shared by the partitions of a process: which of them has a strike outstanding."""

    def __init__(self, monotonic_ms: Callable[[], float]) -> None:
        self._monotonic_ms = monotonic_ms
        self._trying: int | None = None
        self._until_ms = 0.0
        self._held_up: set[int] = set()

    @property
    def is_on(self) -> bool:
        """Whether a suspect is announced, or tried and not yet cleared."""
        return self._trying is not None

    def holds_up(self, partition: int) -> bool:
        """Whether the partition, which has inputs, has to wait with them, because another one tries a suspect."""
        is_held_up = self._is_held_up(partition)
        (self._held_up.add if is_held_up else self._held_up.discard)(partition)
        return is_held_up

    def take(self, partition: int) -> bool:
        """Whether the partition may announce a suspect now. Those that were held up have a turn first."""
        if self._held_up - {partition} or self._is_held_up(partition):
            return False
        self._trying = partition
        self._until_ms = self._monotonic_ms() + PATIENCE_MS
        return True

    def give_back(self, partition: int) -> None:
        """The partition's suspect is cleared, or the partition is given up."""
        if self._trying == partition:
            self._trying = None

    def forgo(self, partition: int) -> None:
        """Nobody has to wait until the partition has had its turn."""
        self._held_up.discard(partition)

    def leave(self, partition: int) -> None:
        """The partition is given up, or is about to be."""
        self.forgo(partition)
        self.give_back(partition)

    def _is_held_up(self, partition: int) -> bool:
        return self._trying not in (None, partition) and self._monotonic_ms() < self._until_ms


@dataclass(frozen=True, slots=True)
class Suspects:
    """What the last owner may have been handling when it died. `died_ms` is the recorded time at which that was found; 0 for no death.

    `runs` are workflow ids that were due by then, or blocked and tried again by a takeover; commands are known by their append time.
    """

    died_ms: int = 0
    runs: frozenset[str] = frozenset()


def suspects_of(caution: Caution, tables: Tables, blocked: Iterable[str], limits: OwnerLimits) -> Suspects:
    """The suspects among what is not settled yet. `blocked` are the runs that the claim in force tries again because of a death."""
    died_ms = last_death_ms(caution)
    if not died_ms or not limits.suspects_max:
        return Suspects()
    due = takewhile(lambda row: row[0] <= died_ms, islice(tables.due(), limits.suspects_max))
    return Suspects(died_ms, frozenset(blocked).union(workflow_id for _, workflow_id, _ in due))


@dataclass(frozen=True, slots=True)
class Admitted:
    """What an owner may touch in this turn.

    `strikes`: how often the one suspect that is tried has ended its owner, and `workflow_id` is its workflow; 0 otherwise.
    """

    commands: Sequence[Record] = ()
    due: Mapping[str, Sequence[Input]] = field(default_factory=dict)
    strikes: int = 0
    workflow_id: str = ""


@dataclass(frozen=True, slots=True)
class _Announced:
    """Suspects under one strike: commands or runs."""

    commands: tuple[Record, ...] = ()
    runs: tuple[str, ...] = ()

    @property
    def is_group(self) -> bool:
        return len(self.commands) + len(self.runs) > 1

    @property
    def workflow_id(self) -> str:
        if self.is_group:
            return GROUP
        return name_of(self.commands[0]) if self.commands else self.runs[0]

    @property
    def offset(self) -> int:
        return self.commands[-1].offset if self.commands else -1


class Isolation:
    """One partition's part of it.

    `strike` appends a strike for a workflow id and a command offset and returns its sequence. `next_due_ms` says when a run is due
    next, 0 for never: a run that was tried and is due still is tried again.
    """

    def __init__(
        self,
        process: ProcessIsolation,
        partition: int,
        suspects: Suspects,
        limits: OwnerLimits,
        strike: Callable[[str, int], int],
        next_due_ms: Callable[[str], int],
    ) -> None:
        self._process = process
        self._partition = partition
        self._suspects = suspects
        self._runs = set(suspects.runs)
        self._commands_left = limits.suspects_max if suspects.died_ms else 0
        """How many commands may still be suspects."""
        self._is_enabled = limits.suspects_max > 0
        self._strikes_max = limits.strikes_max
        self._strike = strike
        self._next_due_ms = next_due_ms
        self._commands: deque[Record] = deque()
        self.queued_to = -1
        """The offset of the last command that was taken to wait."""
        self._due: dict[str, list[Input]] = {}
        self._due_first = False
        self._announced: _Announced | None = None
        self._is_tried = False
        self._awaits_record = False
        self._sequence = 0
        self._careful_left = 2 * GROUP_MAX
        """How many suspects may still be those of a group that has ended its owner: as many commands, and as many runs."""
        self._tried = 0

    @property
    def is_on(self) -> bool:
        """Whether a suspect is being tried, or inputs wait behind one."""
        return self.is_trying or self.has_more

    @property
    def is_trying(self) -> bool:
        """Whether a suspect is announced, or tried and not yet confirmed."""
        return self._announced is not None

    @property
    def has_room(self) -> bool:
        """Whether commands may be taken."""
        return len(self._commands) < WAITING_MAX

    @property
    def has_more(self) -> bool:
        """Whether inputs wait for their turn."""
        return bool(self._commands or self._due)

    def wants_record(self, sequence: int) -> bool:
        """Whether a position record has to clear the strike: behind a group always, else where nothing was recorded since.

        `sequence` is that of the last record. Called once no code of what was tried is left to run.
        """
        if not self._awaits_record:
            return False
        self._awaits_record = False
        assert self._announced is not None
        return self._announced.is_group or sequence == self._sequence

    def admit(
        self,
        commands: Sequence[Record],
        due: dict[str, list[Input]],
        known: Caution,
        *,
        is_quiet: bool,
        confirmed_sequence: int,
        caught_up_ms: int,
    ) -> Admitted:
        """Everything up to the next suspect; or the suspects whose strike is confirmed.

        `is_quiet`: nothing is in flight, or about to be. `caught_up_ms`: no command from before that time is unread. Runs that are
        suspects wait for this: a timeout that fires only later would not fire under the strike.
        """
        if not self._is_enabled:
            return Admitted(commands, due)
        if self._is_over(known) and not ((commands or due) and self._process.holds_up(self._partition)):
            return Admitted(commands, due)
        self._queue(commands, due)
        if self._announced is not None and not self._is_tried:
            return self._try(self._announced, known) if confirmed_sequence >= self._sequence else Admitted()
        if self._announced is not None:
            if not is_quiet or self._awaits_record:
                return Admitted()
            self._clear(self._announced)
        if not self.has_more or self._process.holds_up(self._partition):
            return Admitted()
        runs = [name for name in self._due if name in self._runs or name in known.strikes]
        held = runs if caught_up_ms < self._suspects.died_ms else []
        runs = [] if held else runs
        is_command = bool(self._commands) and self._is_suspect(self._commands[0], known)
        if not runs and not is_command:
            return self._flow(known, held)
        if is_quiet and self._process.take(self._partition):
            self._announce(runs, is_command, known)
        return Admitted()

    def drop(self) -> None:
        """What waits is not this owner's any more, and what is only announced is not tried. Nobody waits for this partition's turn.

        Tasks that cannot be delivered stay: nothing is settled before they are noted.
        """
        self._commands.clear()
        for name, inputs in list(self._due.items()):
            inputs[:] = [one for one in inputs if isinstance(one, TaskUndeliverable)]
            if not inputs:
                del self._due[name]
        if self._is_tried:
            self._process.forgo(self._partition)
        else:
            self._announced = None
            self._process.leave(self._partition)

    def close(self) -> None:
        """The partition is given up."""
        self._process.leave(self._partition)

    def _is_over(self, known: Caution) -> bool:
        """Whether no input can be a suspect any more, and none waits."""
        return not (self._announced or self._commands or self._due or self._runs or self._commands_left or known.strikes)

    def _queue(self, commands: Sequence[Record], due: dict[str, list[Input]]) -> None:
        for record in commands:
            if record.offset > self.queued_to:  # a new assignment delivers again what waits here
                self._commands.append(record)
                self.queued_to = record.offset
        for workflow_id, inputs in due.items():
            self._due.setdefault(workflow_id, []).extend(inputs)

    def _is_suspect(self, record: Record, known: Caution) -> bool:
        if self._commands_left and record.timestamp_ms > self._suspects.died_ms:
            self._commands_left = 0  # nobody who died can have read it, nor what comes behind it
        return bool(self._commands_left) or name_of(record) in known.strikes

    def _flow(self, known: Caution, held: Sequence[str]) -> Admitted:
        """Everything up to the next command that is a suspect, without the runs that are held back."""
        if not held:
            self._say_over()
        due, self._due = self._due, {name: self._due.pop(name) for name in held}
        commands: list[Record] = []
        while self._commands and not self._is_suspect(self._commands[0], known):
            commands.append(self._commands.popleft())
        return Admitted(commands, due)

    def _announce(self, runs: list[str], is_command: bool, known: Caution) -> None:
        takes_runs = bool(runs) and (self._due_first or not is_command)
        self._due_first = not takes_runs  # neither may keep the other waiting
        if takes_runs:
            announced = _Announced(runs=tuple(runs[: self._together(runs, known)]))
        else:
            suspects = list(takewhile(lambda record: record.timestamp_ms <= self._suspects.died_ms, self._commands))
            suspects = suspects[: self._commands_left] or [self._commands[0]]
            announced = _Announced(tuple(suspects[: self._together([name_of(record) for record in suspects], known)]))
        self._say(announced, len(runs) + len(self._commands), known)
        self._announced = announced
        self._sequence = self._strike(announced.workflow_id, announced.offset)
        metrics.STRIKES.add(1, {"partition": self._partition})

    def _together(self, names: Sequence[str], known: Caution) -> int:
        """How many of the suspects for `names` one strike announces: one, or the first of many, up to one that has a strike already."""
        is_careful = GROUP in known.strikes and self._careful_left > 0
        if is_careful or len(names) <= ALONE_MAX:
            return 1
        return max(1, next((at for at, name in enumerate(names[:GROUP_MAX]) if name in known.strikes), GROUP_MAX))

    def _try(self, announced: _Announced, known: Caution) -> Admitted:
        self._is_tried = self._awaits_record = True
        self._tried += len(announced.commands) + len(announced.runs)
        for _ in announced.commands:
            self._commands.popleft()
        self._commands_left = max(0, self._commands_left - len(announced.commands))
        due = {name: self._due.pop(name, []) for name in announced.runs}
        if announced.is_group:
            return Admitted(announced.commands, due)
        name = announced.workflow_id
        strikes = known.strikes.get(name, 0)
        self._careful_left = 0 if strikes else self._careful_left - 1  # what has struck is what ended the group
        return Admitted(announced.commands, due, strikes, name)

    def _clear(self, announced: _Announced) -> None:
        self._announced, self._is_tried = None, False
        self._process.give_back(self._partition)
        died_ms = self._suspects.died_ms
        for name in {*announced.runs, *map(name_of, announced.commands)}:
            is_due = 0 < self._next_due_ms(name) <= died_ms
            (self._runs.add if is_due else self._runs.discard)(name)

    def _say(self, announced: _Announced, waiting: int, known: Caution) -> None:
        strikes = 0 if announced.is_group else known.strikes.get(announced.workflow_id, 0)
        if strikes:
            logger.warning(
                "partition %d: an input of workflow %r has ended %d owners; it is tried alone%s",
                self._partition,
                announced.workflow_id,
                strikes,
                ", and its run is parked" if strikes >= self._strikes_max else "",
            )
        elif not self._tried:
            logger.warning(
                "partition %d: its last owner died; what it may have been handling is tried first, in small groups or alone "
                "(%d inputs wait), and what ends its owner %d times is set aside",
                self._partition,
                waiting,
                self._strikes_max,
            )

    def _say_over(self) -> None:
        if self._tried:
            logger.info("partition %d: %d inputs that were suspects have been tried; isolation is over", self._partition, self._tried)
            self._tried = 0


def name_of(record: Record) -> str:
    """The workflow id that a command was sent for, without decoding it."""
    return (record.key or b"").decode("utf-8", "replace")[:4096]
