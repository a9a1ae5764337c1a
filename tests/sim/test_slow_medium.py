"""The log of simulations is as bad as it is told to be, and no worse. That it is a log at all, tests/contract/log asks as of the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kit.slow_medium import Deletion, Fate, SlowMedium
from kit.world import Clock, ProcessLog
from perdure._log.errors import LogError, LogUnauthorized, LogUnavailable
from perdure._log.memory.medium import Append
from perdure._log.port import Delivery, Producer
from perdure_schemas.topics import TopicSpec

TOPIC = "topic"
PLACE = (TOPIC, 0)


class Bad:
    """A medium whose fates are told one after the other; what is late comes 100 ms later."""

    def __init__(self, *fates: Fate) -> None:
        self.clock = Clock()
        self.medium = SlowMedium(self.clock)
        self.log = ProcessLog(self.medium)
        self.log.create_topics([TopicSpec(TOPIC, 2, {})], 0)
        self._fates = list(fates)
        self.medium.fate = lambda append: self._fates.pop(0) if self._fates else Fate.LANDS
        self.medium.delay_ms = lambda what: 100

    def producer(self, *values: bytes, delivery: Delivery = Delivery.PIPELINED) -> Producer:
        producer = self.log.producer(delivery)
        self.append(producer, *values)
        return producer

    def append(self, producer: Producer, *values: bytes) -> None:
        for value in values:
            producer.append(TOPIC, 0, None, value, (), value)

    def pass_time(self) -> None:
        self.clock.ms += 100
        self.medium.pass_time()

    @property
    def values(self) -> list[bytes]:
        start, end = self.medium.bounds(*PLACE)
        return [record.value for record in self.medium.read(*PLACE, start, end - start)]


def told(producer: Producer) -> tuple[list[object], list[tuple[object, type[Exception]]]]:
    acknowledged, failed = producer.poll()
    return acknowledged, [(one.token, type(one.error)) for one in failed]


def test_what_is_late_lands_behind_what_came_after_it_and_is_acknowledged_then() -> None:
    bad = Bad(Fate.LATE)
    producer = bad.producer(b"1", b"2")
    assert bad.values == [b"2"]
    assert told(producer) == ([], [])
    bad.clock.ms += 99
    bad.medium.pass_time()
    assert bad.values == [b"2"]
    bad.clock.ms += 1
    bad.medium.pass_time()
    assert bad.values == [b"2", b"1"]
    assert told(producer) == ([b"1", b"2"], [])


@pytest.mark.parametrize(
    ("fate", "at_once", "later"),
    [(Fate.LOST, [], []), (Fate.UNTOLD, [b"1"], [b"1"]), (Fate.FAILED_LATE, [], [b"1"])],
)
def test_of_a_failed_append_only_the_log_tells_whether_it_landed(fate: Fate, at_once: list[bytes], later: list[bytes]) -> None:
    bad = Bad(fate)
    producer = bad.producer(b"1")
    assert told(producer) == ([], [(b"1", LogUnavailable)])
    assert bad.values == at_once
    bad.pass_time()
    assert bad.values == later
    assert told(producer) == ([], [])


def test_what_is_doubled_lands_at_once_and_again_later_as_a_copy() -> None:
    bad = Bad(Fate.TWICE)
    copies: list[bool] = []
    bad.medium.watch = lambda record: copies.append(bad.medium.is_copying)
    producer = bad.producer(b"1", b"2")
    assert told(producer) == ([b"1", b"2"], [])
    bad.pass_time()
    assert bad.values == [b"1", b"2", b"1"]
    assert copies == [False, False, True]
    assert told(producer) == ([], [])


def test_an_acknowledgement_may_come_long_after_the_record_is_seen() -> None:
    bad = Bad(Fate.TOLD_LATE)
    producer = bad.producer(b"1", b"2")
    assert bad.values == [b"1", b"2"]
    assert told(producer) == ([], [])
    assert producer.outstanding() == 1
    bad.pass_time()
    assert told(producer) == ([b"1", b"2"], [])


def test_an_append_that_is_not_allowed_fails_for_good() -> None:
    bad = Bad(Fate.REFUSED)
    assert told(bad.producer(b"1")) == ([], [(b"1", LogUnauthorized)])
    bad.pass_time()
    assert bad.values == []


def test_a_stalled_producer_keeps_its_order_and_others_overtake_it() -> None:
    bad = Bad(Fate.STALLED)
    stalled = bad.producer(b"1", b"2", b"3")
    bad.producer(b"other")
    assert bad.values == [b"other"]
    bad.pass_time()
    assert bad.values == [b"other", b"1", b"2", b"3"]
    assert told(stalled) == ([b"1", b"2", b"3"], [])
    bad.append(stalled, b"4")
    assert bad.values[-1] == b"4"


def test_the_queue_of_a_dropped_producer_lands_behind_what_its_successor_sent_in_its_order() -> None:
    bad = Bad(Fate.STALLED)
    dropped = bad.producer(b"1", b"2")
    dropped.drop()
    dropped.close()
    bad.producer(b"3")
    bad.pass_time()
    assert bad.values == [b"3", b"1", b"2"]
    assert told(dropped) == ([], [])


def test_what_a_dropped_producer_had_on_the_way_lands_all_the_same() -> None:
    bad = Bad(Fate.LATE)
    dropped = bad.producer(b"1")
    dropped.drop()
    bad.producer(b"2")
    bad.pass_time()
    assert bad.values == [b"2", b"1"]


@pytest.mark.parametrize("fate", [Fate.LATE, Fate.STALLED, Fate.FAILED_LATE])
def test_what_dies_with_its_process_never_lands(fate: Fate) -> None:
    bad = Bad(fate)
    bad.producer(b"1")
    [later] = bad.medium.on_the_way
    bad.medium.lose(later)
    bad.pass_time()
    assert bad.values == []


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.UNTOLD, Fate.FAILED_LATE, Fate.REFUSED])
def test_behind_a_failed_append_nothing_of_an_ordered_producer_lands(fate: Fate) -> None:
    bad = Bad(fate)
    producer = bad.producer(b"1", b"2", delivery=Delivery.ORDERED)
    bad.append(producer, b"3")
    bad.pass_time()
    assert not {b"2", b"3"} & set(bad.values)
    assert [token for token, _ in told(producer)[1]] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("fate", [Fate.LATE, Fate.TOLD_LATE, Fate.STALLED])
def test_an_ordered_producer_waits_for_what_is_late(fate: Fate) -> None:
    bad = Bad(fate)
    producer = bad.producer(b"1", b"2", delivery=Delivery.ORDERED)
    assert b"2" not in bad.values
    bad.pass_time()
    assert bad.values == [b"1", b"2"]
    assert told(producer) == ([b"1", b"2"], [])


def test_a_hidden_partition_lags_and_a_skipped_fetch_takes_what_nobody_sees() -> None:
    bad = Bad()
    bad.producer(b"1", b"2", b"3")
    consumer = bad.log.consumer()
    consumer.assign({PLACE: 0})
    bad.log.hidden.add(PLACE)
    assert not bad.log.has_news
    assert consumer.poll(10, 0) == []
    bad.log.hidden.clear()
    assert bad.log.has_news
    bad.log.skips = True
    assert consumer.poll(2, 0) == []
    assert [record.value for record in consumer.poll(10, 0)] == [b"3"]


@pytest.mark.parametrize(
    ("deletion", "fails", "at_once", "later"),
    [
        (Deletion.DONE, False, 2, 2),
        (Deletion.REFUSED, True, 0, 0),
        (Deletion.UNTOLD, True, 2, 2),
        (Deletion.LATE, True, 0, 2),
    ],
)
def test_a_delete_is_done_or_not_whatever_is_said(deletion: Deletion, fails: bool, at_once: int, later: int) -> None:
    bad = Bad()
    bad.producer(b"1", b"2", b"3")
    bad.medium.deletion = lambda place: deletion
    assert failed(lambda: bad.log.truncate_before(*PLACE, 2, 0)) == fails
    assert bad.medium.bounds(*PLACE)[0] == at_once
    bad.pass_time()
    assert bad.medium.bounds(*PLACE)[0] == later


def test_a_start_moves_back_over_what_was_deleted_last() -> None:
    bad = Bad()
    bad.producer(b"1", b"2", b"3", b"4")
    bad.log.truncate_before(*PLACE, 3, 0)
    bad.medium.move_start_back(*PLACE, 2)
    assert bad.medium.bounds(*PLACE) == (1, 4)
    assert bad.values == [b"2", b"3", b"4"]
    with bad.medium.nothing_deleted(*PLACE):
        assert bad.values == [b"1", b"2", b"3", b"4"]
    bad.medium.move_start_back(*PLACE, 9)
    assert bad.medium.bounds(*PLACE) == (0, 4)


def test_a_lost_tail_makes_room_for_other_records_under_the_same_offsets() -> None:
    bad = Bad()
    producer = bad.producer(b"1", b"2", b"3")
    bad.medium.lose_tail(*PLACE, 2)
    bad.append(producer, b"4")
    assert bad.values == [b"1", b"4"]


def failed(call: Callable[[], None]) -> bool:
    try:
        call()
    except LogError:
        return True
    return False


def test_fates_are_asked_for_each_append_that_is_sent() -> None:
    asked: list[bytes] = []

    def fate(append: Append) -> Fate:
        asked.append(append.value)
        return Fate.LANDS

    bad = Bad()
    bad.medium.fate = fate
    bad.producer(b"1", b"2")
    bad.producer(b"3", delivery=Delivery.ORDERED)
    assert asked == [b"1", b"2", b"3"]
