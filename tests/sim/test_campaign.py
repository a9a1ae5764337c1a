"""What a campaign does with a schedule that fails: its seed is told, and a small tape is kept that fails as well."""

from pathlib import Path

import pytest

from kit import campaign
from kit.chooser import Tape
from kit.mutants.registry import MUTANTS
from kit.schedule import SHORT
from kit.schedules import from_tape
from kit.shrink import failure_of


@pytest.mark.parametrize("is_real", [False, True])
def test_a_schedule_that_fails_is_told_by_its_seed_and_kept_as_a_tape(
    is_real: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    MUTANTS["wm_every"](monkeypatch)
    monkeypatch.setattr(campaign, "TAPES", tmp_path)
    outcome = campaign.run_seeds([3], SHORT, is_real)
    assert outcome.runs == 1
    (path,) = tmp_path.glob("*.tape")
    (failure,) = outcome.failures
    assert failure.startswith(f"scheduled(3, {SHORT}, is_real={is_real}).run()  # python -m kit.story {path}: AssertionError: I12")
    assert f"# seed 3, {SHORT} steps" in path.read_text("utf-8")
    tape = Tape.load(path)
    assert tape.is_real == is_real
    assert len(tape.choices) < 20
    assert failure_of(from_tape(tape)) is not None
