"""Tapes of schedules that have failed: on the code as it is, each keeps every promise.

`python -m kit.story FILE` tells what happens in one. Those that begin with `mutant-` are of misreadings of the protocol: put into the
code, a misreading must fail on its tape. Where other changes have moved what a tape is about, `python -m kit.shrink --mutant NAME` makes it
anew.
"""

from pathlib import Path

import pytest

from kit.chooser import Tape
from kit.mutants.registry import MUTANTS
from kit.schedules import from_tape
from kit.shrink import failure_of

TAPES = sorted((Path(__file__).parent / "tapes").glob("*.tape"))
OF_MUTANTS = [path for path in TAPES if path.name.startswith("mutant-")]


@pytest.mark.parametrize("path", TAPES, ids=lambda path: path.stem)
def test_a_schedule_that_once_failed_keeps_every_promise(path: Path) -> None:
    from_tape(Tape.load(path)).run()


@pytest.mark.parametrize("path", OF_MUTANTS, ids=lambda path: path.stem)
def test_the_tape_of_a_mutant_still_catches_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[path.stem.removeprefix("mutant-")](monkeypatch)
    assert failure_of(from_tape(Tape.load(path))) is not None
