"""Random schedules of several owners, clients and workers over a bad network keep every promise; each is known by its seed."""

from collections import Counter

import pytest

from kit.schedule import Schedule

SMOKE_SEEDS = range(200)
CAMPAIGN_SEEDS = range(1_000, 11_000)

SOMETIMES = {
    "behind_a_hole record",
    "copy claim",
    "copy record",
    "superseded_claim claim",
    "superseded_claim record",
    "stopped in a turn",
    "process lost",
    "store lost",
    "history append lost",
    "history append untold",
    "history append late",
    "history append twice",
    "commands append lost",
    "tasks append lost",
    "replies append lost",
    "request refused",
    "message refused",
    "query answered",
    "activity timed out",
}
"""What must have happened in some of the schedules; otherwise they look in the wrong places."""


def run(seeds: range) -> Counter[str]:
    """Run each; how many schedules have seen what."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        try:
            world = Schedule(seed).run()
        except Exception as error:
            raise AssertionError(f"Schedule({seed}): {error}") from error
        seen.update(world.promises.seen.keys())
    return seen


def test_schedules_keep_every_promise() -> None:
    seen = run(SMOKE_SEEDS)
    assert seen.keys() >= SOMETIMES, f"never seen: {sorted(SOMETIMES - seen.keys())}"


@pytest.mark.campaign
@pytest.mark.slow
@pytest.mark.timeout(7_200)
def test_many_schedules_keep_every_promise() -> None:
    run(CAMPAIGN_SEEDS)
