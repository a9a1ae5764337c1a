"""A timer fires once its time has come, and not a millisecond before (P5)."""

from kit.world import FIRST, STEP_MS, World
from perdure_schemas import events
from perdure_schemas.commands import StartWorkflow

DELAY_MS = 300


def test_a_timer_that_is_looked_at_every_millisecond_fires_in_the_one_in_which_it_is_due() -> None:
    world = World(partitions=1)
    world.ask("counter-0", StartWorkflow("SimCounter", "sim"))
    process = world.start()
    world.run_until_answered()
    started_ms = next(
        record.time_ms
        for _, _, record in world.live()
        for transition in record.transitions
        if any(isinstance(event, events.TimerStarted) for event in transition.produced)
    )
    while world.clock.ms < started_ms + DELAY_MS + STEP_MS:
        process.node.turn(0)
        world.clock.ms += 1
    fired_ms = [
        record.time_ms
        for _, _, record in world.live()
        for transition in record.transitions
        if any(isinstance(event, events.TimerFired) for event in transition.inbound)
    ]
    assert len(fired_ms) == 1
    assert started_ms + DELAY_MS <= fired_ms[0] <= started_ms + DELAY_MS + 2, f"{fired_ms[0] - started_ms} ms after it was started"
    assert world.processes[FIRST] is process
