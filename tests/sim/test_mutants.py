"""The tempting misreadings of faults.md section 4, put into the real code one at a time: a test must fail for each.

What did, and how soon, is in .cache/mutants.jsonl; `make mutants` looks for it without knowing, and prints the table.
"""

import os

import pytest

from kit.mutants.killing import KILLERS, One, kill
from kit.mutants.registry import MISREADINGS, MUTANTS, OF_OURS, OF_THE_MODEL

FLAGS = """
alarm any_result applied_off applied_per_run barrier_before_turn carried_current carry_noop ckpt_no_applied
ckpt_no_reqs claim_by_owner claim_first claim_latest claim_latest_reset claim_sets claim_trusting claim_waits effects_gaps
effects_no_fifo late_reader_jumps marks_every marks_off no_barrier no_drain no_seq park_reissue
refusal_no_record refusal_unordered refusals_one_first refusals_one_last release_early released_on_send trim_unreleased wm_every
"""
SEARCH = bool(os.environ.get("PERDURE_MUTANTS_SEARCH"))


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_misreading_of_the_protocol_is_caught(name: str) -> None:
    killed = kill(name, search=SEARCH)
    assert killed is not None, f"{name} kept every promise in all that is there to kill it"
    killed.write()


def test_what_is_known_to_kill_a_mutant_passes_without_one() -> None:
    """Tests by name are run by whoever runs the suite."""
    known = {test: run for name, killer in KILLERS.items() if not isinstance(killer, One) for test, run in killer.known(name)}
    assert len(known) > 15
    for run in known.values():
        run()


def test_every_misreading_has_a_mutant_and_every_mutant_a_test_that_kills_it() -> None:
    assert list(MISREADINGS) == [f"M{number}" for number in range(1, 44)]
    named = [name for names in MISREADINGS.values() for name in names] + [*OF_THE_MODEL, *OF_OURS]
    assert sorted(named) == sorted(MUTANTS)
    assert KILLERS.keys() == MUTANTS.keys()


def test_every_flag_of_the_model_has_a_mutant() -> None:
    assert set(FLAGS.split()) <= MUTANTS.keys()
