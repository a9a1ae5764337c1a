"""Random schedules of several owners, clients and workers over a bad network keep every promise; each is known by its seed."""

import pytest

from kit.campaign import Outcome, run_seeds
from kit.decoding import changed_since_decoded
from kit.schedule import LONG, SHORT
from kit.sometimes import EVERYWHERE

SMOKE_SEEDS = {SHORT: range(120), LONG: range(12)}


@pytest.mark.timeout(900)
def test_schedules_keep_every_promise() -> None:
    outcome = Outcome()
    for steps, seeds in SMOKE_SEEDS.items():
        outcome.add(run_seeds(seeds, steps))
    assert not outcome.failures
    assert not changed_since_decoded(), "somebody changes records that others have decoded too"
    assert outcome.seen.keys() >= EVERYWHERE, f"never seen: {sorted(EVERYWHERE - outcome.seen.keys())}"
