"""Random schedules of several owners, clients and workers over a bad network keep every promise; each is known by its seed."""

from kit.campaign import run_seeds

SMOKE_SEEDS = range(200)

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
    "live Strike",
    "live Forget",
    "live Carried",
    "live Checkpoint",
    "start moved back",
}
"""What must have happened in some of the schedules; otherwise they look in the wrong places."""


def test_schedules_keep_every_promise() -> None:
    outcome = run_seeds(SMOKE_SEEDS)
    assert not outcome.failures
    assert outcome.seen.keys() >= SOMETIMES, f"never seen: {sorted(SOMETIMES - outcome.seen.keys())}"
