"""The misreadings of the protocol that lose money, put into the real code one at a time: random schedules must catch each.

Flags of the model about trimming (carry_noop, trim_unreleased, late_reader_jumps, ckpt_no_reqs, ckpt_no_applied, carried_current,
claim_waits) belong to the work that brings trimming.
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
    if mutant.__module__ == mutants.__name__ and not name.startswith("_")
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_misreading_of_the_protocol_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    for seed in range(SEEDS_MAX):
        try:
            Schedule(seed).run()
        except (AssertionError, PerdureError):
            return
    pytest.fail(f"{name} kept every promise in {SEEDS_MAX} schedules")


def test_every_flag_of_the_model_but_those_of_trimming_has_a_mutant() -> None:
    assert len(MUTANTS) == 26
