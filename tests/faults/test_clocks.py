"""Wall clocks that are wrong, leap and come back, and hours that pass while no owner runs (rows T1 T2)."""

import signal
import time
from pathlib import Path

import pytest

from kit.broker import Broker
from kit.namespace import Namespace, Namespaces, kill
from kit.row import Row
from kit.workloads import beats
from kit.wrong_clock import WrongClock

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

HOUR_MS = 3_600_000
ITEMS = 30


def test_an_owner_whose_clock_leaps_fires_no_timer_early_and_goes_on(namespaces: Namespaces, row: Row) -> None:
    row.injects("T1", "the wall clock of the owner and of the worker leaps by hours and days, back and forth")
    timers = namespaces("timers")
    items = 150
    clock = WrongClock(timers.directory / "clock")
    owner = timers.owner(more=clock.environment)
    timers.worker(more=clock.environment)
    load = timers.load(items, 10)
    timers.until_done(5)
    for offset_ms in (2 * HOUR_MS, -HOUR_MS, 24 * HOUR_MS, 0, 500, -500, 30_000):
        clock.set(offset_ms)
        row.injected()
        before = timers.done()
        timers.until_done(min(before + 10, items), 40)
    timers.finish(load, items)
    assert owner.poll() is None


def test_a_broker_whose_clock_leaps_fires_no_timer_early_and_freezes_none(tmp_path: Path, row: Row) -> None:
    row.injects("T1", "the wall clock of the broker leaps by seconds and an hour, back and forth, and owners are killed once it is right")
    items, clock = 150, WrongClock(tmp_path / "clock")
    broker = Broker(environment=clock.environment).start()
    timers = Namespace(broker.bootstrap, "timers", tmp_path / "timers", "timers")
    try:
        timers.directory.mkdir()
        timers.session_ms = 3_000
        owner, load = timers.create(2).owner(), timers.load(items, 10)
        timers.until_done(5)
        for offset_ms in (20_000, 0, -HOUR_MS, 0, 25_000, -25_000, 0):
            clock.set(offset_ms)
            row.injected()
            before = timers.done()
            timers.until_done(min(before + 15, items), 60)
            if not offset_ms:
                kill(owner)
                owner = timers.owner()
                timers.until_leading(owner, 2)
        timers.finish(load, items)
        clock.set(HOUR_MS)  # in the time of the partitions, no request made by a right clock is alive any more
        signal_ = ("workflow", "signal", "timers-0", "nothing")
        timers.until(lambda: "does the clock of this machine agree with the log's?" in timers.typed(*signal_).stderr, "a reason")
        assert owner.poll() is None
    finally:
        timers.stop()
        broker.close()


@pytest.mark.parametrize("offset_ms", [HOUR_MS, -HOUR_MS])
def test_an_owner_with_a_wrong_clock_does_not_lead_and_one_with_a_right_clock_does(
    namespaces: Namespaces, row: Row, offset_ms: int
) -> None:
    row.injects("T1", f"an owner whose clock is {offset_ms} ms off, another takes over")
    timers = namespaces("timers")
    clock = WrongClock(timers.directory / "clock")
    clock.set(offset_ms)
    wrong = timers.owner("wrong", more=clock.environment)
    timers.until(lambda: "set the clock" in timers.said(wrong), "the alarm")
    row.injected()
    assert "leading with claim" not in timers.said(wrong)
    timers.owner("right")
    load = timers.load(20, 20)
    kill(wrong)
    timers.finish(load, 20)


def test_a_take_over_by_an_owner_whose_clock_is_behind_keeps_partition_time(namespaces: Namespaces, row: Row) -> None:
    row.injects("T1", "take-overs between owners half a minute apart, within the bound")
    timers = namespaces("timers")
    items = 200
    ahead, behind = WrongClock(timers.directory / "ahead"), WrongClock(timers.directory / "behind")
    ahead.set(25_000)
    behind.set(-25_000)
    load = timers.load(items, 10)
    for clock in (ahead, behind, ahead, behind):
        owner = timers.owner(more=clock.environment)
        timers.until_leading(owner, 4)
        before = timers.done()
        timers.until_done(min(before + 15, items), 40)
        owner.terminate()
        owner.wait(30)
        row.injected()
    timers.owner()
    timers.finish(load, items)


def test_timers_that_fell_due_while_the_owner_stood_still_fire_once_and_in_order(namespaces: Namespaces, row: Row) -> None:
    row.injects("T1", "an owner stands still for 15 s while timers fall due")
    timers = namespaces("timers")
    items = 100
    owner = timers.owner()
    load = timers.load(items, 20)
    timers.until_done(10)
    owner.send_signal(signal.SIGSTOP)
    row.injected()
    time.sleep(15)
    owner.send_signal(signal.SIGCONT)
    timers.finish(load, items)


@pytest.mark.parametrize("hours", [2, 48])
def test_hours_without_an_owner_time_out_nothing_that_has_reported(tmp_path: Path, row: Row, hours: int) -> None:
    row.injects("T2", f"owner killed under {ITEMS} attempts and {ITEMS} timers; {hours} hours later, by every clock, another one starts")
    clock = WrongClock(tmp_path / "clock")
    broker = Broker(environment=clock.environment).start()
    beating, timing = (
        Namespace(broker.bootstrap, name, tmp_path / name, name, environment=clock.environment) for name in ("beats", "timers")
    )
    try:
        for namespace in (beating, timing):
            namespace.directory.mkdir()
            namespace.create(1)
        owners = [namespace.owner() for namespace in (beating, timing)]
        beating.worker()
        loads = [namespace.load(ITEMS, ITEMS) for namespace in (beating, timing)]
        beating.until(lambda: len(beats.executions(beating.directory)) == ITEMS, "all items at work")
        time.sleep(1.5)  # their starts are recorded, and their timeouts run; so is that they were dispatched
        for owner in owners:
            kill(owner)
        time.sleep(beats.SECONDS + 2)  # all have reported, and nobody has heard them
        clock.set(hours * HOUR_MS)
        row.injected()
        for namespace in (beating, timing):
            namespace.owner()
        for namespace, load in zip((beating, timing), loads, strict=True):
            namespace.until(lambda load=load: load.poll() is not None, "the load's end")  # type: ignore[misc]
            assert namespace.done() == ITEMS, namespace.outputs()
            namespace.verify()
            namespace.check_independently()
        attempts = [execution.attempt for execution in beats.executions(beating.directory)]
        assert attempts == [1] * ITEMS, f"an attempt timed out that had reported: {attempts}"
    finally:
        for namespace in (beating, timing):
            namespace.stop()
        broker.close()
