"""What the Log promises to those who read."""

from __future__ import annotations

import threading
import time

import pytest

from kit.media import Medium, append, error_of, read, read_from, values
from perdure._log.errors import LogClosed, OffsetOutOfRange, TopicNotFound
from perdure._log.port import Delivery, Log


def numbered(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last)]


def test_reading_begins_at_the_offset_asked_for(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    append(log, topic, numbered(0, 100))
    for offset in (0, 1, 57, 99):
        records = read_from(log, {(topic, 0): offset}, 100 - offset)
        assert [record.offset for record in records] == list(range(offset, 100))
        assert values(records) == numbered(offset, 100)


def test_a_poll_returns_at_most_what_was_asked_for_and_nothing_is_lost_between_polls(medium: Medium, log: Log) -> None:
    topic = medium.topic(log, 2)
    for partition in (0, 1):
        append(log, topic, numbered(0, 150), partition)
    consumer = log.consumer()
    consumer.assign({(topic, 0): 0, (topic, 1): 0})
    found: dict[int, list[bytes]] = {0: [], 1: []}
    deadline = time.monotonic() + 30
    while sum(map(len, found.values())) < 300 and time.monotonic() < deadline:
        records = consumer.poll(7, 100)
        assert len(records) <= 7
        for record in records:
            found[record.partition].append(record.value)
    assert found == {0: numbered(0, 150), 1: numbered(0, 150)}
    assert consumer.poll(7, 0) == []


def test_a_poll_returns_what_is_there_and_does_not_wait_to_fill_up(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    append(log, topic, [b"only"])
    consumer = log.consumer()
    consumer.assign({(topic, 0): 0})
    started = time.monotonic()
    assert values(consumer.poll(1000, 20_000)) == [b"only"]
    assert time.monotonic() - started < 10


def test_a_poll_of_an_empty_partition_ends_after_its_time(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    consumer = log.consumer()
    consumer.assign({(topic, 0): 0})
    started = time.monotonic()
    assert consumer.poll(10, 200) == []
    assert 0.15 < time.monotonic() - started < 5


def test_a_waiting_poll_ends_with_the_first_record(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    consumer = log.consumer()
    consumer.assign({(topic, 0): 0})
    consumer.poll(1, 0)
    writer = threading.Timer(0.1, append, (log, topic, [b"late"]))
    writer.start()
    started = time.monotonic()
    assert values(consumer.poll(10, 25_000)) == [b"late"]
    assert time.monotonic() - started < 10
    writer.join()


def test_assigning_replaces_what_was_assigned(medium: Medium, log: Log) -> None:
    topic = medium.topic(log, 2)
    append(log, topic, numbered(0, 500), 0)
    append(log, topic, numbered(1000, 1500), 1)
    consumer = log.consumer()
    consumer.assign({(topic, 0): 0})
    assert values(read(consumer, 3)) == numbered(0, 3)
    consumer.assign({(topic, 1): 100})
    assert values(read(consumer, 400)) == numbered(1100, 1500)
    assert consumer.poll(10, 100) == []
    consumer.assign({(topic, 0): 1})  # back, and to a lower offset than was read
    assert values(read(consumer, 499)) == numbered(1, 500)
    consumer.assign({})
    assert consumer.poll(10, 50) == []


def test_a_paused_partition_is_silent_and_goes_on_where_it_was(medium: Medium, log: Log) -> None:
    topic = medium.topic(log, 2)
    for partition in (0, 1):
        append(log, topic, numbered(0, 200), partition)
    consumer = log.consumer()
    consumer.assign({(topic, 0): 0, (topic, 1): 0})
    found: dict[int, list[bytes]] = {0: [], 1: []}
    for _ in range(8):
        consumer.pause([(topic, 0)])
        for record in consumer.poll(10, 20):
            assert record.partition == 1
            found[1].append(record.value)
        consumer.resume([(topic, 0)])
        for record in consumer.poll(10, 200):
            found[record.partition].append(record.value)
    for record in read(consumer, 400 - len(found[0]) - len(found[1])):
        found[record.partition].append(record.value)
    assert found == {0: numbered(0, 200), 1: numbered(0, 200)}


def test_pausing_and_resuming_twice_is_the_same_as_once(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    append(log, topic, numbered(0, 10))
    consumer = log.consumer()
    consumer.assign({(topic, 0): 4})
    consumer.pause([(topic, 0)])
    consumer.pause([(topic, 0)])
    assert consumer.poll(10, 100) == []
    consumer.resume([(topic, 0)])
    consumer.resume([(topic, 0)])
    assert values(read(consumer, 6)) == numbered(4, 10)


def test_a_busy_partition_does_not_starve_another(medium: Medium, log: Log) -> None:
    topic = medium.topic(log, 2)
    append(log, topic, [bytes(1000)] * 20_000, 0)
    append(log, topic, [b"quiet"], 1)
    consumer = log.consumer()
    consumer.assign({(topic, 0): 0, (topic, 1): 0})
    seen = 0
    while b"quiet" not in (got := values(consumer.poll(100, 1000))):
        seen += len(got)
        assert seen < 20_000, "all of the busy partition came first"


def test_two_readers_see_the_same(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    other = medium.open()
    producer = log.producer(Delivery.PIPELINED)
    for number in range(500):
        producer.append(topic, 0, None, b"%d" % number)
    assert read_from(log, {(topic, 0): 0}, 500) == read_from(other, {(topic, 0): 0}, 500)


@pytest.mark.parametrize("offset", [2, 11])
def test_a_position_that_the_partition_does_not_have_is_an_error(medium: Medium, log: Log, offset: int) -> None:
    topic = medium.topic(log, 2)
    append(log, topic, numbered(0, 10), 1)
    log.truncate_before(topic, 1, 4, 10_000)
    consumer = log.consumer()
    consumer.assign({(topic, 0): 0, (topic, 1): offset})
    error = error_of(lambda: consumer.poll(10, 100))
    assert isinstance(error, OffsetOutOfRange)
    assert (error.topic, error.partition) == (topic, 1)
    assert isinstance(error_of(lambda: consumer.poll(10, 100)), OffsetOutOfRange)  # until it is assigned anew
    consumer.assign({(topic, 1): 4})
    assert values(read(consumer, 6)) == numbered(4, 10)


def test_the_end_is_no_error_and_waits_for_the_next_record(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    append(log, topic, numbered(0, 3))
    consumer = log.consumer()
    consumer.assign({(topic, 0): 3})
    assert consumer.poll(10, 300) == []
    append(log, topic, [b"next"])
    assert values(read(consumer, 1)) == [b"next"]


def test_reading_a_topic_that_is_not_there_is_an_error(medium: Medium, log: Log) -> None:
    missing = medium.name()
    consumer = log.consumer()
    consumer.assign({(missing, 0): 0})
    error = error_of(lambda: consumer.poll(10, 100))
    assert isinstance(error, TopicNotFound)
    assert missing in str(error)


def test_a_closed_consumer_is_refused(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    consumer = log.consumer()
    consumer.assign({(topic, 0): 0})
    consumer.close()
    consumer.close()
    with pytest.raises(LogClosed):
        consumer.poll(1, 0)


def test_what_another_process_appends_is_read(shared_medium: Medium) -> None:
    log = shared_medium.open()
    there, back = shared_medium.topic(log), shared_medium.topic(log)
    echo = shared_medium.process("echo", there, back)
    assert echo.stdout is not None
    assert echo.stdout.readline() == "ready\n"
    producer, consumer = log.producer(Delivery.PIPELINED), log.consumer()
    consumer.assign({(back, 0): 0})
    for number in range(50):
        producer.append(there, 0, None, b"%d" % number)
        assert values(read(consumer, 1)) == [b"%d" % number]
