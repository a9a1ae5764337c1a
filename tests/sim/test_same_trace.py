"""Everything that a schedule does follows from its seed: neither time nor the order of sets, nor what ran before it, has a say."""

from pathlib import Path

import pytest

from kit.chooser import Tape
from kit.fingerprint import fingerprint, fingerprints_elsewhere
from kit.schedule import LONG, SHORT
from kit.schedules import scheduled


@pytest.mark.parametrize(
    ("is_real", "steps", "seeds"), [(False, SHORT, (11, 12, 13, 14)), (False, LONG, (15,)), (True, SHORT, (11, 12)), (True, LONG, (3,))]
)
def test_a_seed_leaves_the_same_log_twice_and_in_a_process_with_other_hashes(is_real: bool, steps: int, seeds: tuple[int, ...]) -> None:
    here = [fingerprint(seed, steps, is_real=is_real) for seed in seeds]
    assert len(set(here)) == len(seeds)
    assert [fingerprint(seed, steps, is_real=is_real) for seed in seeds] == here
    assert fingerprints_elsewhere(seeds, steps, hash_seed=1, is_real=is_real) == here
    assert fingerprints_elsewhere(seeds, steps, hash_seed=77, is_real=is_real) == here


@pytest.mark.parametrize(("is_real", "seed"), [(False, 15), (True, 3)])
def test_what_a_seed_has_chosen_leaves_the_same_log_when_it_comes_from_a_tape(is_real: bool, seed: int, tmp_path: Path) -> None:
    schedule = scheduled(seed, SHORT, is_real=is_real)
    schedule.run()
    schedule.written.save(tmp_path / "tape", ["about it"])
    tape = Tape.load(tmp_path / "tape")
    assert tape == schedule.written
    assert fingerprint(tape, SHORT) == fingerprint(seed, SHORT, is_real=is_real)
