"""Schedules that have shown a defect once, kept as they were found."""

import pytest

from kit.schedule import Schedule


@pytest.mark.parametrize(
    ("seed", "steps", "what"),
    [
        (93, 125, "a run is resumed and its code goes on in one record, which perdure-check took for code of a parked run"),
    ],
)
def test_a_schedule_that_once_failed_keeps_every_promise(seed: int, steps: int, what: str) -> None:
    Schedule(seed, steps=steps).run()
