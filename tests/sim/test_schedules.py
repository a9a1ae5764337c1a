"""Random schedules of several owners, clients and workers over a bad network keep every promise; each is known by its seed."""

from kit.campaign import Outcome, run_seeds
from kit.schedule import LONG, SHORT
from kit.sometimes import EVERYWHERE

SMOKE_SEEDS = {SHORT: range(150), LONG: range(20)}


def test_schedules_keep_every_promise() -> None:
    outcome = Outcome()
    for steps, seeds in SMOKE_SEEDS.items():
        outcome.add(run_seeds(seeds, steps))
    assert not outcome.failures
    assert outcome.seen.keys() >= EVERYWHERE, f"never seen: {sorted(EVERYWHERE - outcome.seen.keys())}"
