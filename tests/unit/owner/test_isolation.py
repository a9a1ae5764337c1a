"""Suspects are announced before they are touched, alone or in groups; everything else flows."""

import pytest

from perdure._log.port import Record
from perdure_platform.config import OwnerLimits
from perdure_platform.partition.isolation import (
    ALONE_MAX,
    GROUP_MAX,
    PATIENCE_MS,
    Admitted,
    Isolation,
    ProcessIsolation,
    Suspects,
)
from perdure_platform.partition.transition.caution import GROUP
from perdure_platform.partition.transition.draft import Due, Input, TaskUndeliverable
from perdure_schemas.history import Caution

DIED_MS = 1_000
BEFORE_MS, AFTER_MS = DIED_MS - 1, DIED_MS + 1


class Process:
    """What the partitions of a process share, and its clock."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.isolation = ProcessIsolation(lambda: self.now_ms)


class Owner:
    """What an owner does with it: strikes get sequences, and are confirmed when the test says so."""

    def __init__(
        self,
        process: Process | None = None,
        partition: int = 0,
        suspects: Suspects | None = None,
        strikes: dict[str, int] | None = None,
        limits: OwnerLimits | None = None,
    ) -> None:
        self.struck: list[tuple[str, int]] = []
        self.process = process or Process()
        self.known = Caution({"dead": DIED_MS}, strikes or {})
        self.due_ms: dict[str, int] = {}
        self.isolation = Isolation(
            self.process.isolation,
            partition,
            suspects or Suspects(DIED_MS),
            limits or OwnerLimits(),
            self._strike,
            lambda workflow_id: self.due_ms.get(workflow_id, 0),
        )

    def _strike(self, workflow_id: str, offset: int) -> int:
        self.struck.append((workflow_id, offset))
        return len(self.struck)

    def admit(
        self,
        *commands: Record,
        due: dict[str, list[Input]] | None = None,
        confirmed: int = 0,
        is_quiet: bool = True,
        caught_up_ms: int = AFTER_MS,
    ) -> Admitted:
        return self.isolation.admit(
            commands, due or {}, self.known, is_quiet=is_quiet, confirmed_sequence=confirmed, caught_up_ms=caught_up_ms
        )

    def tries(self) -> Admitted:
        """What is let through once the last strike is confirmed; its records are confirmed as well."""
        admitted = self.admit(confirmed=len(self.struck))
        self.isolation.wants_record(len(self.struck))
        return admitted


def command(offset: int, workflow_id: str, time_ms: int = BEFORE_MS) -> Record:
    return Record("ns.commands", 0, offset, time_ms, workflow_id.encode(), b"")


def offsets(admitted: Admitted) -> list[int]:
    return [record.offset for record in admitted.commands]


def test_a_suspect_is_let_through_once_its_announcement_is_confirmed_and_the_next_one_after_that() -> None:
    owner = Owner()
    assert owner.admit(command(5, "first"), command(6, "second")) == Admitted()
    assert owner.struck == [("first", 5)]
    assert owner.admit() == Admitted()
    assert offsets(owner.admit(confirmed=1)) == [5]
    assert owner.admit(confirmed=1) == Admitted(), "whether it has survived is not recorded yet"
    assert owner.isolation.wants_record(1)
    assert owner.admit(confirmed=1, is_quiet=False) == Admitted()
    assert owner.struck[1:] == []
    assert owner.admit(confirmed=2) == Admitted()
    assert owner.struck[1:] == [("second", 6)]


def test_what_came_after_the_death_was_found_flows_once_the_suspects_before_it_are_tried() -> None:
    owner = Owner()
    owner.admit(command(5, "first"), command(6, "second", AFTER_MS), command(7, "third", AFTER_MS))
    assert offsets(owner.tries()) == [5]
    assert offsets(owner.admit(due={"late": [Due()]})) == [6, 7]
    assert offsets(owner.admit(command(8, "fourth"))) == [8], "nobody who died can have read past what came later"
    assert owner.struck == [("first", 5)]
    assert not owner.isolation.is_on


def test_a_death_that_leaves_no_suspects_costs_nothing() -> None:
    owner = Owner()
    due: dict[str, list[Input]] = {"run": [Due()]}
    admitted = owner.admit(command(5, "first", AFTER_MS), due=due)
    assert (offsets(admitted), admitted.due, owner.struck) == ([5], due, [])


def test_without_a_death_nothing_is_a_suspect() -> None:
    owner = Owner(suspects=Suspects())
    assert offsets(owner.admit(command(5, "first"), command(6, "second"))) == [5, 6]
    assert owner.struck == []


def test_of_the_runs_that_are_due_only_those_that_were_due_before_the_death_are_suspects() -> None:
    owner = Owner(suspects=Suspects(DIED_MS, frozenset({"old"})))
    assert owner.admit(due={"new": [Due()], "old": [Due()]}) == Admitted()
    assert owner.struck == [("old", -1)]
    assert owner.tries().due == {"old": [Due()]}
    assert owner.admit().due == {"new": [Due()]}
    assert owner.admit(due={"old": [Due()]}).due == {"old": [Due()]}, "it has survived"


def test_a_run_is_tried_once_no_older_command_is_unread_so_that_its_timeouts_fire_under_the_strike() -> None:
    owner = Owner(suspects=Suspects(DIED_MS, frozenset({"old"})))
    due: dict[str, list[Input]] = {"old": [Due()], "new": [Due()]}
    admitted = owner.admit(command(5, "first", AFTER_MS), due=due, caught_up_ms=BEFORE_MS)
    assert (offsets(admitted), list(admitted.due)) == ([5], ["new"])
    assert owner.struck == []
    owner.admit()
    assert owner.struck == [("old", -1)]


def test_a_run_that_is_due_still_after_it_was_tried_is_tried_again() -> None:
    owner = Owner(suspects=Suspects(DIED_MS, frozenset({"old"})))
    owner.due_ms["old"] = BEFORE_MS
    owner.admit(due={"old": [Due()]})
    owner.tries()
    assert owner.admit() == Admitted()
    owner.due_ms["old"] = AFTER_MS
    assert owner.admit(due={"old": [Due()]}) == Admitted()
    assert owner.struck == [("old", -1), ("old", -1)]
    owner.tries()
    owner.admit()
    assert owner.admit(due={"old": [Due()]}).due == {"old": [Due()]}


def test_no_more_than_a_bound_of_commands_are_suspects() -> None:
    owner = Owner(limits=OwnerLimits(suspects_max=1))
    owner.admit(command(5, "first"), command(6, "second"), command(7, "third"))
    owner.tries()
    assert offsets(owner.admit()) == [6, 7]


def test_where_many_suspects_wait_a_strike_announces_a_group_that_a_record_of_its_own_clears() -> None:
    owner = Owner()
    count = GROUP_MAX + ALONE_MAX
    owner.admit(*(command(offset, f"w{offset}") for offset in range(count)))
    assert owner.struck == [(GROUP, GROUP_MAX - 1)]
    admitted = owner.admit(confirmed=1)
    assert offsets(admitted) == list(range(GROUP_MAX))
    assert admitted.strikes == 0
    assert owner.isolation.wants_record(7), "its first record says nothing about the last of it"
    assert owner.admit(confirmed=8) == Admitted()
    assert owner.struck[1:] == [(f"w{GROUP_MAX}", GROUP_MAX)], "few are tried alone"


def test_a_group_that_has_ended_its_owner_is_tried_one_by_one() -> None:
    owner = Owner(strikes={GROUP: 1})
    owner.admit(*(command(offset, f"w{offset}") for offset in range(2 * ALONE_MAX)))
    assert owner.struck == [("w0", 0)]


def test_what_has_a_strike_is_tried_alone_and_no_group_takes_it_in() -> None:
    owner = Owner(strikes={"w3": 2})
    owner.admit(*(command(offset, f"w{offset}") for offset in range(2 * ALONE_MAX)))
    assert owner.struck == [(GROUP, 2)]
    owner.tries()
    owner.admit()
    admitted = owner.tries()
    assert (offsets(admitted), admitted.strikes, admitted.workflow_id) == ([3], 2, "w3")


def test_what_has_a_strike_is_a_suspect_whenever_it_comes() -> None:
    owner = Owner(suspects=Suspects(), strikes={"second": 1})
    assert offsets(owner.admit(command(5, "first"), command(6, "second"), command(7, "third"))) == [5]
    owner.admit()
    assert owner.struck == [("second", 6)]


def test_a_process_tries_one_suspect_at_a_time_over_all_its_partitions_and_each_has_its_turn() -> None:
    """Two at once, and an innocent one would be blamed for the end of its owner (R14)."""
    one = Owner()
    other = Owner(one.process, 1)
    one.admit(command(5, "first"), command(6, "second"))
    other.admit(command(7, "third"))
    assert (one.struck, other.struck) == ([("first", 5)], [])
    one.tries()
    assert other.admit() == Admitted(), "what is tried is not yet cleared"
    assert not other.struck
    one.admit(confirmed=2)
    assert len(one.struck) == 1, "the other one has waited"
    other.admit()
    assert other.struck == [("third", 7)]


def test_inputs_of_other_partitions_wait_while_a_suspect_is_tried_unless_the_log_is_silent() -> None:
    one = Owner()
    other = Owner(one.process, 1, suspects=Suspects())
    one.admit(command(5, "first"))
    assert other.admit(command(7, "second")) == Admitted()
    other.process.now_ms += PATIENCE_MS
    assert offsets(other.admit()) == [7], "a partition that cannot be reached holds up no other for long"


@pytest.mark.parametrize("kind", ["command", "due"])
def test_who_is_told_to_leave_forgets_what_is_announced_and_not_tried(kind: str) -> None:
    owner = Owner(suspects=Suspects(DIED_MS, frozenset({"first"})))
    if kind == "command":
        owner.admit(command(5, "first"))
    else:
        owner.admit(due={"first": [Due()]})
    assert owner.isolation.is_trying
    owner.isolation.drop()
    assert not owner.isolation.is_trying
    assert owner.admit(confirmed=1) == Admitted()
    assert owner.process.isolation.take(1), "another partition of the process may try its suspect"


def test_who_is_told_to_leave_while_a_suspect_is_tried_waits_for_what_it_comes_to() -> None:
    owner = Owner()
    owner.admit(command(5, "first"))
    owner.tries()
    owner.isolation.drop()
    assert owner.isolation.is_trying
    assert owner.admit(confirmed=2) == Admitted()
    assert not owner.isolation.is_trying


def test_a_run_whose_command_was_tried_and_whose_code_had_no_time_is_tried_again() -> None:
    """A turn of a large group runs out of time; the code of the rest is activated as what is due, and may be what ended the owner."""
    owner = Owner()
    owner.admit(command(5, "first"))
    owner.tries()
    owner.due_ms["first"] = 1
    assert owner.admit(due={"first": [Due()]}, confirmed=2) == Admitted()
    assert owner.struck == [("first", 5), ("first", -1)]
    owner.due_ms["first"] = AFTER_MS
    assert owner.tries().due == {"first": [Due()]}
    owner.admit()
    assert owner.admit(due={"first": [Due()]}).due == {"first": [Due()]}, "it has survived"


def test_nobody_waits_for_the_turn_of_a_partition_that_is_told_to_leave() -> None:
    one = Owner()
    other = Owner(one.process, 1)
    one.admit(command(5, "first"), command(6, "second"))
    other.admit(command(7, "third"))
    other.isolation.drop()
    one.tries()
    one.admit(confirmed=2)
    assert one.struck == [("first", 5), ("second", 6)]


def test_a_task_that_cannot_be_delivered_is_noted_by_who_is_told_to_leave() -> None:
    """Before it is noted nothing is settled, and who leaves unsettled leaves as if it had died."""
    one = Owner()
    other = Owner(one.process, 1, suspects=Suspects())
    task = TaskUndeliverable("run", 5, 1, "no topic", 9)
    one.admit(command(5, "first"))
    other.admit(due={"run": [Due(), task]})
    other.isolation.drop()
    one.tries()
    one.admit(confirmed=2)
    assert other.admit().due == {"run": [task]}
