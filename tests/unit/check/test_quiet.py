"""`--quiescent` tells what is only on its way from what is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import pytest

from kit.checking import dump
from kit.scenarios import SCENARIOS
from kit.world import NAMESPACE
from perdure_check.avro import KIND
from perdure_check.checker import check
from perdure_check.context import Options
from perdure_check.dump import Dump
from perdure_check.live import POSITION
from perdure_check.log import Bounds, Place, Record
from perdure_check.quiet import NotQuiet, check_quiet
from perdure_check.schemas import HISTORY, decoder

QUIESCENT = Options(quiescent=True)


@cache
def finished() -> Dump:
    """The log of a namespace in which all is done, and recorded as done."""
    world = SCENARIOS["transfers"]()
    world.start()
    world.run_until_done()
    return dump(world.medium, NAMESPACE)


@dataclass
class Moving:
    """A log to which `later` is appended, one by one, as time goes by."""

    records: list[Record]
    later: list[Record]
    now_s: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        if self.later:
            self.records.append(self.later.pop(0))

    def topics(self, prefix: str) -> dict[str, int]:
        return finished().topics(prefix)

    def bounds(self, topic: str, partition: int) -> Bounds:
        return Dump(self.records, finished().topics("")).bounds(topic, partition)

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        return Dump(self.records).read(topic, partition, start, end)

    def close(self) -> None: ...


def all_records() -> list[Record]:
    whole = finished()
    return [
        record
        for topic, count in whole.topics("").items()
        for partition in range(count)
        for record in whole.read(topic, partition, whole.bounds(topic, partition).start, whole.bounds(topic, partition).end)
    ]


def last_positions() -> list[Record]:
    """The position records with which the histories end: owners write them when nothing has happened for a second."""
    found: dict[Place, Record] = {}
    for record in all_records():
        if record.topic == f"{NAMESPACE}.history":
            found[record.topic, record.partition] = record
    return [record for record in found.values() if decoder(HISTORY).decode(record.value)[KIND] == POSITION]


def questions(count: int) -> list[Record]:
    """As many commands more: copies of one that is settled."""
    last = [record for record in all_records() if record.topic == f"{NAMESPACE}.commands"][-1]
    return [replace(last, offset=last.offset + 1 + number) for number in range(count)]


def judge(log: Moving, *, still_s: float = 5, within_s: float = 30) -> Callable[[], bool]:
    def judged() -> bool:
        report = check_quiet(log, NAMESPACE, QUIESCENT, still_s=still_s, within_s=within_s, monotonic=lambda: log.now_s, sleep=log.sleep)
        return report.is_broken

    return judged


def test_what_its_owner_has_not_recorded_yet_is_waited_for() -> None:
    late = last_positions()
    assert late
    log = Moving([record for record in all_records() if record not in late], list(late))
    assert check(log, NAMESPACE, QUIESCENT).is_broken, "this is what it looks like in the meantime"
    assert not judge(log)()


def test_what_does_not_move_is_broken() -> None:
    log = Moving([record for record in all_records() if record not in last_positions()], [])
    assert judge(log)()
    assert log.now_s >= 5


def test_a_namespace_that_does_not_come_to_rest_is_told_so() -> None:
    log = Moving(all_records(), questions(1_000))
    log.sleep(0)
    with pytest.raises(NotQuiet, match=r"is not quiet: records are still appended after 3 s \(1 to .*commands"):
        judge(log, within_s=3)()


def test_what_is_broken_in_any_case_is_told_even_then() -> None:
    records = all_records()
    victim = next(record for record in records if record.topic == f"{NAMESPACE}.history" and record.offset == 3)
    log = Moving([record for record in records if record is not victim], questions(1_000))
    log.sleep(0)
    assert judge(log, within_s=3)()


def test_a_quiet_namespace_is_checked_once() -> None:
    log = Moving(all_records(), [])
    assert not judge(log)()
    assert log.now_s == 0
