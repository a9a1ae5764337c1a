"""One input at a time, announced before it is touched; and what becomes of an announcement whose owner is told to leave."""

import pytest

from perdure._log.port import Record
from perdure_platform.config import OwnerLimits
from perdure_platform.partition.cautious import Admitted, Cautious, ProcessCaution
from perdure_platform.partition.transition.draft import Due, Input
from perdure_schemas.history import Caution

MANY_DEATHS = Caution(dict.fromkeys("abc", 1_000))


class Owner:
    """What an owner does with it: strikes get sequences, and are confirmed when the test says so."""

    def __init__(self, process: ProcessCaution | None = None, partition: int = 0) -> None:
        self.struck: list[tuple[str, int]] = []
        self.process = process or ProcessCaution()
        self.cautious = Cautious(self.process, partition, OwnerLimits(), self._strike)

    def _strike(self, workflow_id: str, offset: int) -> int:
        self.struck.append((workflow_id, offset))
        return len(self.struck)

    def admit(self, *commands: Record, due: dict[str, list[Input]] | None = None, confirmed: int = 0) -> Admitted:
        return self.cautious.admit(commands, due or {}, MANY_DEATHS, 2_000, is_quiet=True, confirmed_sequence=confirmed)


def command(offset: int, workflow_id: str) -> Record:
    return Record("ns.commands", 0, offset, 0, workflow_id.encode(), b"")


def test_an_input_is_let_through_once_its_announcement_is_confirmed_and_the_next_one_after_that() -> None:
    owner = Owner()
    assert owner.admit(command(5, "first"), command(6, "second")) == Admitted()
    assert owner.struck == [("first", 5)]
    assert owner.admit() == Admitted()
    assert [one.offset for one in owner.admit(confirmed=1).commands] == [5]
    assert owner.admit(confirmed=1) == Admitted(), "it has survived"
    assert owner.admit(confirmed=1) == Admitted()
    assert owner.struck[1:] == [("second", 6)]


def test_a_process_tries_one_input_at_a_time_over_all_its_partitions() -> None:
    """Two at once, and an innocent one would be blamed for the end of its owner (R14)."""
    one = Owner()
    other = Owner(one.process, 1)
    one.admit(command(5, "first"))
    other.admit(command(7, "second"))
    assert (one.struck, other.struck) == ([("first", 5)], [])
    one.admit(confirmed=1)
    other.admit()
    assert not other.struck, "what is tried is not yet confirmed"
    one.admit(confirmed=1)
    other.admit()
    assert other.struck == [("second", 7)]


@pytest.mark.parametrize("kind", ["command", "due"])
def test_who_is_told_to_leave_forgets_what_is_announced_and_not_tried(kind: str) -> None:
    owner = Owner()
    if kind == "command":
        owner.admit(command(5, "first"))
    else:
        owner.admit(due={"first": [Due()]})
    assert owner.cautious.is_trying
    owner.cautious.drop()
    assert not owner.cautious.is_trying
    assert owner.admit(confirmed=1) == Admitted()
    assert owner.process.take(1), "another partition of the process may try its input"


def test_who_is_told_to_leave_while_an_input_is_tried_waits_for_what_it_comes_to() -> None:
    owner = Owner()
    owner.admit(command(5, "first"))
    owner.admit(confirmed=1)
    owner.cautious.drop()
    assert owner.cautious.is_trying
    assert owner.admit(confirmed=1) == Admitted()
    assert not owner.cautious.is_trying
