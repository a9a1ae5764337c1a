"""The misreadings of the protocol that lose money, put into the real code one at a time: random schedules must catch each.

One (claim_waits) needs a moment that chance rarely gives; tests/unit/owner/test_trimming.py has it.
"""

import inspect

import pytest

from kit import mutants
from kit.schedule import Schedule
from perdure_schemas.errors import PerdureError

SEEDS_MAX = 1_000

MUTANTS = {
    name: mutant
    for name, mutant in inspect.getmembers(mutants, inspect.isfunction)
    if mutant.__module__ == mutants.__name__ and not name.startswith("_") and name != "claim_waits"
}
OF_TRIMMING = {"ckpt_no_applied", "delete_unconfirmed", "trim_unreleased"}

FLAGS = """
alarm any_result applied_off applied_per_run barrier_before_turn carried_current carry_noop ckpt_no_applied
ckpt_no_reqs claim_by_owner claim_first claim_latest claim_latest_reset claim_sets claim_trusting effects_gaps
effects_no_fifo late_reader_jumps marks_every marks_off no_barrier no_drain no_seq park_reissue
refusal_no_record refusal_unordered refusals_one_first refusals_one_last release_early released_on_send trim_unreleased wm_every
"""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_misreading_of_the_protocol_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    for seed in range(SEEDS_MAX):
        try:
            Schedule(seed, trims=name in OF_TRIMMING).run()
        except (AssertionError, PerdureError):
            return
    pytest.fail(f"{name} kept every promise in {SEEDS_MAX} schedules")


def test_every_flag_of_the_model_has_a_mutant() -> None:
    assert set(FLAGS.split()) <= MUTANTS.keys()
