"""The Kafka log while its broker dies, hangs or refuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import KafkaError

from kit.broker import Broker
from kit.media import PATIENCE_S, append, error_of, failures, read, read_from, settle, until, values
from perdure._log.address import open_log
from perdure._log.errors import LogError, LogUnauthorized, LogUnavailable, RecordTooLarge
from perdure._log.kafka.producer import KafkaProducer
from perdure._log.port import Delivery, Log
from perdure_schemas.topics import RECORD_BYTES_MAX, TopicSpec

pytestmark = pytest.mark.kafka

LARGE = {"max.message.bytes": str(RECORD_BYTES_MAX)}


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """One of our own, to be maltreated."""
    broker = Broker()
    try:
        yield broker.start()
    finally:
        broker.close()


@pytest.fixture
def log(broker: Broker) -> Iterator[Log]:
    log, _ = open_log(f"kafka://{broker.bootstrap}")
    yield log
    log.close()


@pytest.fixture
def topic(log: Log, request: pytest.FixtureRequest) -> str:
    name = f"{request.node.name[:60]}-{time.time_ns()}".replace("[", "-").replace("]", "")
    log.create_topics([TopicSpec(name, 2, LARGE)], 60_000)
    return name


@pytest.fixture
def hanging(broker: Broker) -> Iterator[Callable[[], None]]:
    """Makes the broker hang until the test ends."""
    yield broker.suspend
    broker.resume()


def within(seconds: float, act: Callable[[], object]) -> object:
    started = time.monotonic()
    result = act()
    taken = time.monotonic() - started
    assert taken < seconds, f"took {taken:.1f} s"
    return result


def test_what_was_acknowledged_survives_the_broker_s_death_and_work_goes_on(broker: Broker, log: Log, topic: str) -> None:
    producer, consumer = log.producer(Delivery.PIPELINED), log.consumer()
    consumer.assign({(topic, 0): 0})
    for number in range(2000):
        producer.append(topic, 0, None, b"%d" % number, (), number)
    acknowledged: list[object] = []
    until(lambda: acknowledged.extend(producer.poll(100)[0]) or acknowledged, "a first acknowledgement")  # type: ignore[func-returns-value]
    broker.kill()
    broker.start()
    for number in range(2000, 2500):
        producer.append(topic, 0, None, b"%d" % number, (), number)
    acknowledged += settle(producer)
    assert acknowledged == list(range(2500))
    assert values(read(consumer, 2500)) == [b"%d" % number for number in range(2500)]
    assert log.end_offsets([(topic, 0)], 10_000) == {(topic, 0): 2500}


def test_an_ordered_producer_keeps_its_order_over_the_broker_s_death(broker: Broker, log: Log, topic: str) -> None:
    producer = log.producer(Delivery.ORDERED)
    for number in range(1000):
        producer.append(topic, number % 2, None, b"%d" % number)
    producer.poll(50)
    broker.kill()
    broker.start()
    settle(producer)
    for partition in (0, 1):
        assert values(read_from(log, {(topic, partition): 0}, 500)) == [b"%d" % number for number in range(partition, 1000, 2)]


def test_nothing_blocks_while_the_broker_hangs_and_everything_goes_on_after(
    broker: Broker, log: Log, topic: str, hanging: Callable[[], None]
) -> None:
    producer, consumer = log.producer(Delivery.PIPELINED), log.consumer()
    member = log.membership(f"{topic}-group", topic, 10_000)
    sharing = log.group_consumer(f"{topic}-workers", topic, 10_000)
    consumer.assign({(topic, 0): 0})
    append(log, topic, [b"before"])
    assert values(read(consumer, 1)) == [b"before"]
    until(member.poll, "partitions to lead")
    until(lambda: sharing.poll(10, 100), "the record")
    hanging()
    producer.append(topic, 0, None, b"meanwhile", (), "token")
    assert within(2, lambda: producer.poll(200)) == ([], [])
    assert within(2, lambda: producer.flush(200)) is False
    assert within(2, lambda: consumer.poll(10, 200)) == []
    assert within(2, lambda: sharing.poll(10, 200)) == []
    within(2, member.poll)
    within(2, lambda: sharing.commit({0: 1}))
    assert within(20, lambda: sharing.commit_now({0: 1})) is False
    request = log.request_end_offsets([(topic, 0)])
    assert within(2, request.result) is None
    for ask in (
        lambda: log.end_offsets([(topic, 0)], 500),
        lambda: log.describe_topics([topic], 500),
        lambda: log.list_topics("x", 500),
        lambda: log.create_topics([TopicSpec(f"{topic}-new", 1)], 500),
        lambda: log.truncate_before(topic, 0, 0, 500),
    ):
        assert isinstance(within(5, lambda ask=ask: error_of(ask, 5)), LogUnavailable)  # type: ignore[misc]
    doomed = log.producer(Delivery.PIPELINED)
    for _ in range(100):
        doomed.append(topic, 1, None, b"doomed")
    within(2, doomed.drop)
    within(2, doomed.close)
    reader = log.consumer()
    reader.assign({(topic, 0): 0})
    within(5, reader.close)
    broker.resume()
    assert settle(producer) == ["token"]
    assert values(read(consumer, 1)) == [b"meanwhile"]
    within(10, member.leave)
    within(10, sharing.close)


def test_leaving_waits_only_so_long_for_a_broker_that_hangs(log: Log, topic: str, hanging: Callable[[], None]) -> None:
    member = log.membership(f"{topic}-group", topic, 10_000)
    sharing = log.group_consumer(f"{topic}-workers", topic, 10_000)
    until(member.poll, "partitions to lead")
    sharing.poll(1, 500)
    hanging()
    within(8, member.leave)
    within(8, sharing.close)


def test_no_batch_overtakes_one_that_failed(broker: Broker, log: Log) -> None:
    """The broker refuses a record for its size while the next batches are queued behind it, and nobody polls meanwhile (R8)."""
    name = f"small-{time.time_ns()}"
    log.create_topics([TopicSpec(name, 1, {"max.message.bytes": "10000"})], 60_000)
    small_batches, _ = open_log(f"kafka://{broker.bootstrap}?librdkafka.batch.num.messages=10")
    producer = small_batches.producer(Delivery.ORDERED)
    producer.append(name, 0, None, b"first")
    settle(producer)
    for number in range(200):
        producer.append(name, 0, None, b"before", (), ("before", number))
    producer.append(name, 0, None, bytes(50_000), (), "large")
    for number in range(200):
        producer.append(name, 0, None, b"after", (), ("after", number))
    read_from(log, {(name, 0): 0}, 190)
    other = log.producer(Delivery.PIPELINED)
    for _ in range(50):  # time for what must not come
        other.append(name, 0, None, b"other")
        settle(other)
    tokens: list[object] = []
    failed: list[tuple[object, Exception]] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(tokens) + len(failed) < 401:
        assert time.monotonic() < deadline
        acknowledged, lost = producer.poll(100)
        tokens += acknowledged
        failed += [(each.token, each.error) for each in lost]
    assert producer.outstanding() == 0
    assert {token for token, _ in failed} >= {"large", *(("after", number) for number in range(200))}
    end = log.end_offsets([(name, 0)], 5000)[name, 0]
    found = [value for value in values(read_from(log, {(name, 0): 0}, end)) if value != b"other"]
    assert set(found) == {b"first", b"before"}
    assert len(found) == 1 + len(tokens)


def test_a_producer_without_order_goes_on_after_an_error_that_the_library_calls_fatal(log: Log, topic: str) -> None:
    """A broker that has lost the producer's sequence, for one. The library's client is good for nothing then; tasks and replies go on."""
    producer = log.producer(Delivery.PIPELINED)
    assert isinstance(producer, KafkaProducer)
    producer.append(topic, 0, None, b"before", (), "before")
    assert settle(producer) == ["before"]
    producer.append(topic, 0, None, b"fatal", (), "fatal")
    (number,) = producer._waiting
    producer._report(number, KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "the sequence is lost", True), None)  # type: ignore[arg-type]
    assert [token for token, _ in failures(producer, 1)] == ["fatal"]

    def goes_on() -> bool:
        producer.append(topic, 0, None, b"after", (), "after")
        return settle(producer) == ["after"]

    until(goes_on, "a later append is acknowledged")
    assert values(read_from(log, {(topic, 0): 0}, 2))[0] == b"before"


def test_a_record_that_the_topic_refuses_for_its_size_fails_alone(log: Log) -> None:
    name = f"small-{time.time_ns()}"
    log.create_topics([TopicSpec(name, 1, {"max.message.bytes": "10000"})], 60_000)
    producer = log.producer(Delivery.PIPELINED)
    producer.append(name, 0, None, bytes(50_000), (), "large")
    [(token, error)] = failures(producer, 1)
    assert token == "large"
    assert isinstance(error, RecordTooLarge)
    producer.append(name, 0, None, b"next", (), "next")
    assert settle(producer) == ["next"]


def test_a_refused_password_is_told_by_every_part() -> None:
    guarded = Broker()
    port = guarded.port
    guarded.settings |= {
        "listeners": f"SASL_PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{guarded.controller_port}",
        "advertised.listeners": f"SASL_PLAINTEXT://127.0.0.1:{port}",
        "inter.broker.listener.name": "SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            'username="admin" password="right-s3cret" user_admin="right-s3cret" user_perdure="right-s3cret";'
        ),
    }
    try:
        guarded.start()
        options = "librdkafka.security.protocol=SASL_PLAINTEXT&librdkafka.sasl.mechanism=PLAIN&librdkafka.sasl.username=perdure"
        right, _ = open_log(f"kafka://{guarded.bootstrap}?{options}&librdkafka.sasl.password=right-s3cret")
        right.create_topics([TopicSpec("t", 1)], 60_000)
        append(right, "t", [b"x"])
        assert values(read_from(right, {("t", 0): 0}, 1)) == [b"x"]
        wrong, _ = open_log(f"kafka://{guarded.bootstrap}?{options}&librdkafka.sasl.password=wrong-s3cret")
        producer, consumer, member = wrong.producer(Delivery.PIPELINED), wrong.consumer(), wrong.membership("g", "t", 10_000)
        sharing = wrong.group_consumer("w", "t", 10_000)
        consumer.assign({("t", 0): 0})
        producer.append("t", 0, None, b"x", (), "token")
        for ask in (
            lambda: producer.poll(100),
            lambda: consumer.poll(1, 100),
            lambda: sharing.poll(1, 100),
            member.poll,
            lambda: wrong.describe_topics(["t"], 3000),
            lambda: wrong.end_offsets([("t", 0)], 3000),
        ):
            error: LogError = error_of(ask, 20)
            assert isinstance(error, LogUnauthorized), error
            assert "s3cret" not in str(error)
        member.leave()
        sharing.close()
    finally:
        guarded.close()
