"""What the Log promises to those who append."""

from __future__ import annotations

import signal
import time

import pytest

from kit.media import Medium, append, error_of, failures, read, read_from, settle, until, values
from perdure._log.errors import LogBusy, LogClosed, LogError, RecordTooLarge, TopicNotFound
from perdure._log.port import Delivery, Log
from perdure_schemas.topics import RECORD_BYTES_MAX

BOTH = pytest.mark.parametrize("delivery", list(Delivery))


@BOTH
def test_records_are_read_in_the_order_in_which_they_were_appended(medium: Medium, log: Log, delivery: Delivery) -> None:
    topic = medium.topic(log, 2)
    producer = log.producer(delivery)
    for number in range(2000):
        producer.append(topic, number % 2, None, b"%d" % number)
    settle(producer)
    for partition in (0, 1):
        records = read_from(log, {(topic, partition): 0}, 1000)
        assert values(records) == [b"%d" % number for number in range(partition, 2000, 2)]
        assert [record.offset for record in records] == list(range(1000))


def test_records_keep_their_key_value_and_headers(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    producer = log.producer(Delivery.PIPELINED)
    written = [
        (None, b"no key", ()),
        (b"", b"empty key", ()),
        (b"\x00key\xff", b"", ()),
        (b"k", bytes(range(256)) * 100, (("one", b"1"), ("twice", b"a"), ("twice", b""), ("Größe", b"\xff"))),
    ]
    for key, value, headers in written:
        producer.append(topic, 0, key, value, headers)
    settle(producer)
    records = read_from(log, {(topic, 0): 0}, len(written))
    assert [(record.key, record.value, record.headers) for record in records] == written
    assert {(record.topic, record.partition) for record in records} == {(topic, 0)}


@BOTH
def test_a_token_comes_back_once_and_in_the_order_of_its_partition(medium: Medium, log: Log, delivery: Delivery) -> None:
    topic = medium.topic(log, 2)
    producer = log.producer(delivery)
    for number in range(500):
        producer.append(topic, number % 2, None, b"x", (), number if number % 5 == 0 else None)
    tokens = settle(producer)
    assert sorted(map(int, map(str, tokens))) == list(range(0, 500, 5))
    for partition in (0, 1):
        assert [token for token in tokens if int(str(token)) % 2 == partition] == [n for n in range(0, 500, 5) if n % 2 == partition]
    assert producer.poll() == ([], [])


def test_a_token_speaks_for_all_that_was_appended_before_it(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    producer = log.producer(Delivery.PIPELINED)
    for number in range(300):
        producer.append(topic, 0, None, b"%d" % number)
    producer.append(topic, 0, None, b"last", (), "token")
    until(lambda: producer.poll(1000)[0] == ["token"], "the acknowledgement")
    assert log.end_offsets([(topic, 0)], 5000) == {(topic, 0): 301}
    assert producer.outstanding() == 0


def test_polling_waits_for_an_acknowledgement_and_not_longer(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    producer = log.producer(Delivery.PIPELINED)
    assert producer.poll(0) == ([], [])
    append(log, topic, [b"warm"])
    producer.append(topic, 0, None, b"x", (), "token")
    assert producer.poll(20_000) == (["token"], [])
    started = time.monotonic()
    producer.poll(50)  # nothing is in flight
    assert time.monotonic() - started < 5


def test_acknowledged_records_are_there_for_the_next_connection(medium: Medium) -> None:
    first = medium.open()
    topic = medium.topic(first)
    append(first, topic, [b"a", b"b"])
    first.close()
    second = medium.open()
    append(second, topic, [b"c"])
    assert [(record.offset, record.value) for record in read_from(second, {(topic, 0): 0}, 3)] == [(0, b"a"), (1, b"b"), (2, b"c")]


def test_acknowledged_records_survive_the_death_of_their_writer(shared_medium: Medium) -> None:
    log = shared_medium.open()
    topic = shared_medium.topic(log)
    writer = shared_medium.process("append", topic, "v", "20000")
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(500)]
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
    assert acknowledged == [f"v{number}" for number in range(len(acknowledged))]
    append(log, topic, [b"next"])  # the log goes on, and what had left the writer may land before this or after
    consumer = log.consumer()
    consumer.assign({(topic, 0): 0})
    found: list[bytes] = []
    while b"next" not in found:
        found += values(read(consumer, 1))
    written = [value for value in found if value != b"next"]
    assert written == [b"v%d" % number for number in range(len(written))]
    assert len(written) >= len(acknowledged)


def test_an_append_to_a_topic_that_is_not_there_fails(medium: Medium, log: Log) -> None:
    there, missing = medium.topic(log), medium.name()
    producer = log.producer(Delivery.PIPELINED)
    producer.append(missing, 0, None, b"x", (), "lost")
    producer.append(there, 0, None, b"kept", (), "kept")
    [(token, error)] = failures(producer, 1)
    assert token == "lost"
    assert isinstance(error, TopicNotFound)
    assert missing in str(error)
    producer.flush(5000)
    assert producer.outstanding() == 0
    assert values(read_from(log, {(there, 0): 0}, 1)) == [b"kept"]


@pytest.mark.parametrize("partition", [7, -1, -5, 2**31, 2**40, 2**63 - 1])
def test_an_append_to_a_partition_that_is_not_there_fails(medium: Medium, log: Log, partition: int) -> None:
    """Any number that a command can name as the place of its answer."""
    topic = medium.topic(log, 1)
    producer = log.producer(Delivery.PIPELINED)
    producer.append(topic, partition, None, b"x", (), "lost")
    [(token, error)] = failures(producer, 1)
    assert token == "lost"
    assert isinstance(error, TopicNotFound)


def test_after_a_failed_append_an_ordered_producer_sends_nothing_more(medium: Medium, log: Log) -> None:
    topic, missing = medium.topic(log), medium.name()
    producer = log.producer(Delivery.ORDERED)
    producer.append(topic, 0, None, b"before", (), "before")
    assert settle(producer) == ["before"]
    producer.append(missing, 0, None, b"x", (), 0)
    found = failures(producer, 1)
    for number in range(1, 4):
        producer.append(topic, 0, None, b"after", (), number)
    found += failures(producer, 3)
    assert [token for token, _ in found] == [0, 1, 2, 3]
    assert all(isinstance(error, LogError) for _, error in found)
    assert producer.outstanding() == 0
    producer.close()
    fresh = log.producer(Delivery.ORDERED)
    fresh.append(topic, 0, None, b"fresh")
    settle(fresh)
    assert values(read_from(log, {(topic, 0): 0}, 2)) == [b"before", b"fresh"]


def test_a_record_of_the_largest_size_is_taken_and_a_larger_one_refused(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    producer = log.producer(Delivery.PIPELINED)
    with pytest.raises(RecordTooLarge, match=topic):
        producer.append(topic, 0, None, bytes(RECORD_BYTES_MAX))
    with pytest.raises(RecordTooLarge):
        producer.append(topic, 0, None, bytes(RECORD_BYTES_MAX - 2000), (("h", bytes(2000)),))
    largest = bytes(RECORD_BYTES_MAX - 512)
    producer.append(topic, 0, None, largest, (), "largest")
    assert settle(producer) == ["largest"]
    assert values(read_from(log, {(topic, 0): 0}, 1)) == [largest]


def test_a_full_queue_is_busy_and_takes_more_once_it_was_polled(medium: Medium) -> None:
    log = medium.open(queue_records_max=50)
    topic = medium.topic(log)
    producer = log.producer(Delivery.PIPELINED)
    refused = sent = 0
    while sent < 3000:
        try:
            producer.append(topic, 0, None, b"%d" % sent)
        except LogBusy:
            refused += 1
            producer.poll(100)
        else:
            sent += 1
    settle(producer)
    assert refused or medium.kind == "memory"  # which acknowledges at once
    assert values(read_from(log, {(topic, 0): 0}, 3000)) == [b"%d" % number for number in range(3000)]


def test_a_dropped_producer_reports_nothing_and_can_be_used_again(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    producer = log.producer(Delivery.PIPELINED)
    for number in range(100):
        producer.append(topic, 0, None, b"old", (), number)
    producer.drop()
    assert producer.outstanding() == 0
    assert producer.poll(0) == ([], [])
    producer.append(topic, 0, None, b"new", (), "new")
    assert settle(producer) == ["new"]
    end = log.end_offsets([(topic, 0)], 5000)[topic, 0]
    assert 1 <= end <= 101
    found = values(read_from(log, {(topic, 0): 0}, end))
    assert found.count(b"new") == 1
    assert set(found) <= {b"old", b"new"}


def test_a_closed_producer_is_refused(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    producer = log.producer(Delivery.ORDERED)
    producer.close()
    with pytest.raises(LogClosed):
        producer.append(topic, 0, None, b"x")


def test_timestamps_never_go_back_and_are_near_now(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    before = log.now_ms()
    producer = log.producer(Delivery.PIPELINED)
    for number in range(20):
        producer.append(topic, 0, None, b"%d" % number)
        settle(producer)
    after = log.now_ms()
    stamps = [record.timestamp_ms for record in read_from(log, {(topic, 0): 0}, 20)]
    assert stamps == sorted(stamps)
    assert before - 1000 <= stamps[0]
    assert stamps[-1] <= after + 1000


def test_several_processes_append_to_one_partition_and_each_keeps_its_order(shared_medium: Medium) -> None:
    log = shared_medium.open()
    topic = shared_medium.topic(log)
    prefixes = ("a", "b", "c")
    writers = [shared_medium.process("append", topic, prefix, "1500") for prefix in prefixes]
    records = read_from(log, {(topic, 0): 0}, 4500)
    assert [record.offset for record in records] == list(range(4500))
    for prefix in prefixes:
        mine = [value.decode() for value in values(records) if value.startswith(prefix.encode())]
        assert mine == [f"{prefix}{number}" for number in range(1500)]
    assert all(writer.poll() is None for writer in writers)


def test_a_closed_log_is_refused(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    log.close()
    for ask in (
        log.consumer,
        lambda: log.producer(Delivery.PIPELINED),
        lambda: log.end_offsets([(topic, 0)], 100),
        lambda: log.describe_topics([topic], 100),
        lambda: log.membership("g", topic, 5000),
    ):
        assert isinstance(error_of(ask, 1), LogClosed)
