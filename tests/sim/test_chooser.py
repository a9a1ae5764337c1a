"""Every choice of a schedule is on its tape, a tape says the same again, and what it does not say is plain."""

from pathlib import Path

import pytest

from kit.chooser import Chooser, Place, Tape
from kit.mutants.registry import MUTANTS
from kit.schedule import LONG, SHORT, Schedule
from kit.schedules import AnySchedule, from_tape, scheduled
from kit.shrink import failure_of, kind_of, shrink
from kit.story import Story


def told(schedule: AnySchedule) -> list[str]:
    lines: list[str] = []
    Story(schedule, lines.append)
    schedule.run()
    return lines


@pytest.mark.parametrize("is_real", [False, True])
def test_the_tape_of_a_seed_is_the_schedule_of_that_seed(is_real: bool) -> None:
    first = scheduled(17, SHORT, is_real=is_real)
    lines = told(first)
    second = from_tape(first.written)
    assert told(second) == lines
    assert second.written == first.written


def test_a_tape_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    schedule = Schedule(3, 5, trims=True)
    schedule.run()
    schedule.written.save(tmp_path / "some.tape", ["what it is about"])
    assert Tape.load(tmp_path / "some.tape") == schedule.written


def test_a_tape_that_does_not_say_of_what_kind_it_is_has_scripted_clients(tmp_path: Path) -> None:
    (tmp_path / "old.tape").write_text("# from before there were others\nsteps 2\ntrims 0\n1\twish\t0\t1\n", "utf-8")
    tape = Tape.load(tmp_path / "old.tape")
    assert tape == Tape(2, choices={Place("1", "wish", 0): 1})
    assert isinstance(from_tape(tape), Schedule)


@pytest.mark.parametrize("is_real", [False, True])
def test_an_empty_tape_is_the_plainest_schedule(is_real: bool) -> None:
    schedule = from_tape(Tape(10, is_real=is_real))
    schedule.run()
    assert schedule.written.choices == {}
    assert not any(count for name, count in schedule.world.promises.seen.items() if "append" in name or "dead" in name)


def test_what_is_out_of_range_or_not_asked_for_is_plain() -> None:
    written = Tape(1)
    chooser = Chooser(Tape(1, choices={Place("1", "fruit", 0): 7, Place("1", "colour", 0): 1}), written)
    with chooser.part():
        assert chooser.among("fruit", ("apple", "pear")) == "apple"
    assert written.choices == {}


def test_what_is_cut_out_of_a_step_does_not_move_what_follows() -> None:
    places = Place("1", "fruit", 1), Place("2.1", "fruit", 0), Place("3", "fruit", 0)
    written = Tape(3)
    chooser = Chooser(Tape(3, choices=dict.fromkeys(places, 1)), written)
    found = []
    with chooser.part():
        found += [chooser.number("fruit", 2), chooser.number("fruit", 2)]
    with chooser.part():
        with chooser.part():
            found.append(chooser.number("fruit", 2))
        found.append(chooser.number("fruit", 2))
    with chooser.part():
        found.append(chooser.number("fruit", 2))
    assert found == [0, 1, 1, 0, 1]
    assert written.choices == dict.fromkeys(places, 1)


@pytest.mark.parametrize(("mutant", "seed", "is_real", "rest"), [("no_seq", 0, False, 0.5), ("reply_early", 2, True, 0.9)])
def test_a_failing_seed_shrinks_to_a_tape_that_fails_alike(
    mutant: str, seed: int, is_real: bool, rest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    MUTANTS[mutant](monkeypatch)
    schedule = scheduled(seed, LONG, is_real=is_real)
    error = failure_of(schedule)
    assert error is not None
    tape = shrink(scheduled(seed, LONG, is_real=is_real), runs_max=60)
    again = failure_of(from_tape(tape))
    assert again is not None
    assert kind_of(again) == kind_of(error)
    assert len(tape.choices) < rest * len(schedule.written.choices)
    assert tape.steps < schedule.steps
    monkeypatch.undo()
    assert failure_of(from_tape(tape)) is None


def test_what_keeps_every_promise_does_not_shrink() -> None:
    with pytest.raises(ValueError, match="keeps every promise"):
        shrink(Schedule(Tape(2)))
